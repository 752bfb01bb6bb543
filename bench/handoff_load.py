"""Handoffs at a steady rate: real callers and agents, a worker that only acknowledges.

Callers and agents are SIP phones of this process, with RTP both ways; the bots are silent channels
of the PBX (Local/), so that no call costs more than what is asked about: orchestrator, Redis and
Asterisk. Each call is dialled, escalated (ATTENDED) a second later, taken by an agent after 0.4 s
and hung up half a second later. A handoff is good when it is CONNECTED and the caller has heard
music and then the agent, without silence.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import grpc
from redis.asyncio import Redis
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork.handoff.v1 import handoff_pb2_grpc
from voicefork_cli.lab.asterisk import AsteriskPlan, open_asterisk
from voicefork_cli.lab.ours import OrchestratorPlan, open_orchestrator
from voicefork_cli.lab.processes import Lab, open_lab
from voicefork_cli.lab.redis import open_redis
from voicefork_cli.sim.caller import CarrierCaller, open_caller
from voicefork_cli.sim.endpoint import SipEndpoint, open_sip
from voicefork_cli.sim.errors import SimError
from voicefork_cli.sim.pacer import open_pacer
from voicefork_cli.sim.phone import AgentPhone, Behaviour, open_phone
from voicefork_cli.sim.source import Mute, Silence, Tone

from bench.handoff_calls import AGENT, RING_SECONDS
from bench.handoff_cpu import Spent
from bench.handoff_figures import Figures
from bench.handoff_rush import Rushed, figures_of
from bench.silent_worker import open_silent_worker

NUMBER, CONTROL_NUMBER = "931", "901"
DIALPLAN = f"""
[from-carrier](+)
exten => {NUMBER},1,Set(__VOICEFORK_HOSTED=Local/932@from-carrier)
 same => n,Goto(voicefork-in,${{EXTEN}},1)
exten => 932,1,Answer()
 same => n,Wait(60)
"""
TALK_SECONDS, LATER_SECONDS, LIMIT_SECONDS = 1.0, 0.5, 10.0
CALLERS_PORTS = 8  # SIP sockets the callers share


@dataclass(slots=True)
class Load:
    """Everything that runs while it is measured."""

    service: handoff_pb2_grpc.HandoffServiceStub
    redis: Redis
    fork: str  # what a worker writes of each call
    pbx: str
    endpoints: list[SipEndpoint]
    phone: AgentPhone
    control: CarrierCaller
    pids: Mapping[str, int]  # of what is measured
    done: list[Rushed] = field(default_factory=list)

    async def one(self, number: int, finished: Callable[[], None]) -> None:
        rushed = Rushed()
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                await self._call(number, rushed)
        except grpc.aio.AioRpcError as error:
            rushed.error = f"{rushed.step}: {error.code().name}"
        except (SimError, TimeoutError, OSError) as error:
            rushed.error = f"{rushed.step}: {type(error).__name__} {error}".partition("\n")[0]
        self.done.append(rushed)
        finished()

    async def _call(self, number: int, rushed: Rushed) -> None:
        call_id = str(uuid4())
        key = f"voicefork:v1:default:call:{call_id}"
        await self.redis.hset(key, "fork", self.fork)
        endpoint = self.endpoints[number % len(self.endpoints)]
        async with open_caller(endpoint=endpoint, speaks=False) as caller:
            rushed.heard = caller.heard
            headers = {"X-Voicefork-Call": call_id}
            await caller.dial(f"sip:{NUMBER}@{self.pbx}", Mute(), headers=headers)
            await asyncio.sleep(TALK_SECONDS)
            rushed.step, rushed.escalated_ns = "escalating", time.time_ns()
            request = pb.EscalateRequest(
                request_id="1",
                call_id=call_id,
                reason="billing",
                pattern=pb.PATTERN_ATTENDED,
                target=pb.Target(endpoint="PJSIP/agent-1"),
                context=pb.Context(summary="A charge of 150 dollars."),
            )
            answer: Any = self.service.Escalate(request)
            handoff = (await answer).handoff
            rushed.ack_ms = (time.time_ns() - rushed.escalated_ns) / 1e6
            rushed.step = "waiting for the agent"
            await self._connected(handoff.handoff_id, rushed)
            rushed.step = "with the agent"
            await asyncio.sleep(LATER_SECONDS)
            rushed.ended_ns = time.time_ns()

    async def _connected(self, handoff_id: str, rushed: Rushed) -> None:
        changes: Any = self.service.WatchHandoff(pb.WatchHandoffRequest(handoff_id=handoff_id))
        async for change in changes:
            phase = change.handoff.phase
            if phase == pb.PHASE_CONNECTED:
                rushed.timing = change.handoff.timing
                return
            if phase in (pb.PHASE_FAILED, pb.PHASE_QUEUED, pb.PHASE_RETURNED):
                outcome = pb.Outcome.Name(change.handoff.outcome)
                raise SimError(f"{pb.Phase.Name(phase)} ({outcome})")
        raise SimError("the handoff's changes ended before it was connected")


@asynccontextmanager
async def open_load(lab: Lab) -> AsyncIterator[Load]:
    """Raises LabError, SimError."""
    async with AsyncExitStack() as opened:
        enter: Callable[[Any], Awaitable[Any]] = opened.enter_async_context
        pacer = opened.enter_context(open_pacer())
        phone = await enter(open_phone("agent-1", pacer=pacer))
        phone.behaviour = Behaviour(ring_seconds=RING_SECONDS, source=Tone(AGENT))
        store = await enter(open_redis(lab))
        plan = AsteriskPlan(agents={"agent-1": phone.uri}, quiet=True)
        asterisk = await enter(open_asterisk(lab, plan))
        with (asterisk.etc / "extensions.conf").open("a") as dialplan:
            dialplan.write(DIALPLAN)
        await asterisk.cli("dialplan reload")
        worker = await enter(open_silent_worker())
        options = ("--target", "PJSIP/agent-1", "--max-calls", "2000")
        orchestrator = await enter(
            open_orchestrator(lab, OrchestratorPlan(store.url, asterisk, options=options))
        )
        channel = await enter(grpc.aio.insecure_channel(orchestrator.addresses["grpc"]))
        redis = Redis.from_url(store.url, protocol=2)
        opened.push_async_callback(redis.aclose)
        half = {"worker_id": "silent", "control": worker}
        fork = json.dumps({**half, "talkback_host": "127.0.0.1", "talkback_port": 9})
        endpoints = [await enter(open_sip("127.0.0.1")) for _ in range(CALLERS_PORTS)]
        control = await enter(open_caller(pacer=pacer))
        await control.dial(f"sip:{CONTROL_NUMBER}@{asterisk.sip}", Silence())
        service = handoff_pb2_grpc.HandoffServiceStub(channel)
        running = (orchestrator.program, asterisk.program, store.program)
        pids = {program.name: program.pid for program in running}
        yield Load(service, redis, fork, asterisk.sip, endpoints, phone, control, pids)


async def bench_load(rate: float, count: int, console: Console) -> Figures:
    """`count` handoffs, `rate` of them begun each second whatever becomes of the others."""
    columns = (TextColumn(f"{rate:g} a second"), BarColumn(), MofNCompleteColumn())
    async with open_lab() as lab, open_load(lab) as load:
        with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
            bar = progress.add_task("", total=count)
            begun, spent = time.monotonic(), Spent(load.pids)
            async with asyncio.TaskGroup() as calls:
                for number in range(count):
                    calls.create_task(load.one(number, lambda: progress.advance(bar)))
                    due = begun + (number + 1) / rate
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                offered = time.monotonic() - begun
            spending = spent.per(count)
        figures = figures_of(load.done, load.control.heard, rate, count / offered)
        return {**figures, "cpu": spending}
