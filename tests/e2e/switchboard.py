"""A stage with agents' phones, an AI that does what the test tells it, and handoffs to watch."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
import grpc
from redis.asyncio import Redis as RedisClient
from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork_cli.lab.asterisk import AsteriskPlan, open_asterisk
from voicefork_cli.lab.ours import Service, WorkerPlan, open_worker
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.redis import open_redis
from voicefork_cli.lab.rtpengine import open_rtpengine
from voicefork_cli.sim.caller import CarrierCaller, Identity, open_caller
from voicefork_cli.sim.edge import Edge
from voicefork_cli.sim.phone import AgentPhone, Behaviour, PhoneCall, open_phone
from voicefork_cli.sim.source import Silence, Tone
from voicefork_sdk.escalation import Escalation
from voicefork_sdk.events import Close, HandoffUpdate
from voicefork_sdk.model import Phase

from tests.e2e.alone import assert_never_alone, unheard, unsaid
from tests.e2e.ears import BOT, CALLER, until_hears
from tests.e2e.stage import Stage
from tests.e2e.watch import PHASE_SECONDS, Handoffs, Watch
from tests.fakes.puppet_agent import Puppet, Vendor, open_puppet, story

NUMBER, MUSIC_NUMBER = "+14155550100", "901"
PHONES = ("agent-1", "agent-2")
NOWHERE = "agent-away"  # its contact is a port at which nobody listens
TENANT = "default"
FOUND_SECONDS = 15.0
AFTERWARDS_SECONDS = 2.0  # of what came of a handoff: the witness watches as long


def asking(**fields: Any) -> pb.EscalateRequest:
    """A wish for a human, to agent-1 unless it says otherwise."""
    usual: dict[str, Any] = {
        "request_id": f"r-{time.time_ns()}",
        "reason": "the caller disputes a charge",
        "pattern": pb.PATTERN_ATTENDED,
        "context": story(account="4092"),
    }
    if "intent" not in fields:
        usual["target"] = pb.Target(endpoint="PJSIP/agent-1")
    return pb.EscalateRequest(**{**usual, **fields})


@dataclass(slots=True)
class Scene:
    """A caller who talks with the bot, and a control call beside it that only hears music."""

    board: Switchboard
    caller: CarrierCaller
    puppet: Puppet
    control: CarrierCaller
    watching: asyncio.TaskGroup
    phoned: Mapping[str, int]
    escalated_ns: int = 0
    escalation: Escalation | None = None

    @property
    def call_id(self) -> str:
        return self.puppet.call_id

    async def escalate(self, request: pb.EscalateRequest, *, say_first: str = "") -> Watch:
        """By the call's own stream; returns once the handoff exists."""
        self.escalated_ns = time.time_ns()
        self.escalation = await self.puppet.escalate(request, say_first=say_first)
        return self.watch((await self.found(request.request_id)).handoff_id)

    async def escalate_by_service(self, request: pb.EscalateRequest) -> Watch:
        self.escalated_ns = time.time_ns()
        return self.watch((await self.ask(request)).handoff_id)

    async def ask(self, request: pb.EscalateRequest) -> pb.Handoff:
        """HandoffService.Escalate for this call."""
        asked = pb.EscalateRequest()
        asked.CopyFrom(request)
        asked.call_id = self.call_id
        answer: Any = self.board.service.Escalate(asked)
        return pb.Handoff.FromString((await answer).handoff.SerializeToString())

    async def result(self) -> HandoffUpdate:
        """How it ended, as the AI that asked for it was told."""
        assert self.escalation is not None
        async with asyncio.timeout(PHASE_SECONDS):
            return await self.escalation.result()

    def watch(self, handoff_id: str) -> Watch:
        watch = Watch(handoff_id)
        self.watching.create_task(watch.follow(self.board.service))
        return watch

    async def found(self, request_id: str) -> pb.Handoff:
        request = pb.GetHandoffRequest(call_id=self.call_id)
        async with asyncio.timeout(FOUND_SECONDS):
            while True:
                with suppress(grpc.aio.AioRpcError):
                    answer: Any = self.board.service.GetHandoff(request)
                    handoff = (await answer).handoff
                    if handoff.request_id == request_id:
                        return pb.Handoff.FromString(handoff.SerializeToString())
                await asyncio.sleep(0.01)

    def calls_to(self, phone: str = "agent-1") -> list[PhoneCall]:
        """Those of this scene."""
        return self.board.phones[phone].calls[self.phoned[phone] :]

    async def call_to(self, phone: str = "agent-1", nth: int = 0) -> PhoneCall:
        """Waits until the phone rings."""
        async with asyncio.timeout(FOUND_SECONDS):
            while len(self.calls_to(phone)) <= nth:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return self.calls_to(phone)[nth]

    async def until_answered(self, phone: str = "agent-1") -> PhoneCall:
        call = await self.call_to(phone)
        async with asyncio.timeout(FOUND_SECONDS):
            while call.answered_ns is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return call

    async def until_ended(self, phone: str = "agent-1", nth: int = 0) -> PhoneCall:
        """Waits until the phone's call is over."""
        call = await self.call_to(phone, nth)
        async with asyncio.timeout(FOUND_SECONDS):
            await call.ended.wait()
        return call

    async def until_closed(self) -> Close:
        """Waits until the bot is told that the call is over for it."""
        async with asyncio.timeout(FOUND_SECONDS):
            while self.puppet.close is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return self.puppet.close[1]

    async def until_told(self, phase: Phase) -> None:
        """Waits until that is the last that the bot was told of its handoff."""
        async with asyncio.timeout(FOUND_SECONDS):
            while not self.puppet.updates or self.puppet.updates[-1].phase is not phase:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    def assert_never_alone(self, to_ns: int = 0) -> None:
        """The caller heard somebody, or music, from the escalation on; to now, or to `to_ns`."""
        phones = [call for name in self.board.phones for call in self.calls_to(name)]
        others = [unheard(self.control), *map(unsaid, phones)]
        to_ns = to_ns or self.caller.ended_ns or time.time_ns()
        assert_never_alone(self.caller, self.escalated_ns, to_ns, others)

    async def channels(self) -> list[str]:
        """Whose channels there are, without the control call's."""
        found = [
            _whose(str(channel["name"]))
            for channel in await self.board.stage.ari("channels")
            if channel["dialplan"]["app_name"] != "MusicOnHold"
        ]
        return sorted(found)

    async def bridges(self) -> list[str]:
        """What the bridges are for: bot, hold, mix."""
        names = [str(bridge["id"]) for bridge in await self.board.stage.ari("bridges")]
        kinds = [name.rpartition("-")[2] for name in names]
        return sorted(kind if kind in {"hold", "mix"} else "bot" for kind in kinds)

    async def until_stands(self, channels: Sequence[str], bridges: Sequence[str]) -> None:
        """Until exactly these are up; fails with what is."""
        wanted, found = (sorted(channels), sorted(bridges)), ([""], [""])
        try:
            async with asyncio.timeout(FOUND_SECONDS):
                while found != wanted:
                    await asyncio.sleep(0.02)
                    found = (await self.channels(), await self.bridges())
        except TimeoutError:
            raise AssertionError(f"stands: {found}") from None


def _whose(name: str) -> str:
    """PJSIP/agent-1-00000003 is PJSIP/agent-1; UnicastRTP/127.0.0.1:30110-0x7f is UnicastRTP."""
    return "UnicastRTP" if name.startswith("UnicastRTP/") else name.rpartition("-")[0]


@dataclass(slots=True)
class Switchboard:
    """All that stays up for a module."""

    stage: Stage
    orchestrator: Service
    worker: Service
    edge: Edge
    vendor: Vendor
    phones: Mapping[str, AgentPhone]
    service: Handoffs

    @asynccontextmanager
    async def calling(self, identity: Identity | None = None) -> AsyncIterator[Scene]:
        """A caller who hears the bot. In the end everybody hangs up, and nothing is left."""
        phoned = {name: len(phone.calls) for name, phone in self.phones.items()}
        try:
            async with (
                open_caller() as control,
                open_caller(identity) as caller,
                asyncio.TaskGroup() as watching,
            ):
                await control.dial(f"sip:{MUSIC_NUMBER}@{self.stage.asterisk.sip}", Silence())
                await caller.dial(self.edge.uri.replace("sip:", f"sip:{NUMBER}@"), Tone(CALLER))
                call_id = self.edge.calls[caller.call_id].voicefork_call
                puppet = await self.vendor.puppet(call_id)
                await until_hears(caller, BOT)
                yield Scene(self, caller, puppet, control, watching, phoned)
                await caller.hang_up()
                await control.hang_up()
            await self.stage.wait_empty(self.orchestrator, self.worker)
        finally:
            for phone in self.phones.values():
                phone.behaviour = Behaviour()
                for call in phone.calls:
                    await call.hang_up()

    def behave(self, phone: str = "agent-1", **behaviour: Any) -> None:
        """What the phone does with its next call; back to usual after the scene."""
        self.phones[phone].behaviour = Behaviour(**behaviour)

    async def cancel(self, watch: Watch) -> None:
        """Raises grpc.aio.AioRpcError: too late."""
        request = pb.CancelHandoffRequest(handoff_id=watch.handoff_id)
        answer: Any = self.service.CancelHandoff(request)
        await answer

    async def contexts(self, call_id: str) -> list[tuple[int, dict[str, Any]]]:
        """(published at ns, envelope) of a call, from the Redis stream."""
        client = RedisClient.from_url(self.stage.redis.url, protocol=2)
        try:
            entries: Any = await client.xrange(f"voicefork:v1:{TENANT}:context")
        finally:
            await client.aclose()
        found = [
            (int(entry.partition(b"-")[0]) * 1_000_000, json.loads(fields[b"json"]))
            for entry, fields in entries
        ]
        return [(at, envelope) for at, envelope in found if envelope["call_id"] == call_id]


ANYBODY = {"allow": {"endpoint": "PJSIP/*", "queue": "*", "extension": "*@*", "sip": "*@*"}}


@asynccontextmanager
async def open_switchboard(
    lab: Lab,
    rules: Mapping[str, Any],
    *,
    record: bool = False,
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[Switchboard]:
    """Every program and phone. `rules`: the orchestrator's routing; `record`: by MixMonitor.

    `env`: the orchestrator's.
    """
    async with AsyncExitStack() as opened:
        enter: Callable[[Any], Awaitable[Any]] = opened.enter_async_context
        vendor = await enter(open_puppet())
        phones = {name: await enter(open_phone(name)) for name in PHONES}
        away = lab.ports.single()
        contacts = {name: phone.uri for name, phone in phones.items()}
        agents = {**contacts, NOWHERE: f"sip:{NOWHERE}@127.0.0.1:{away}"}
        plan = AsteriskPlan(agents=agents, record=record)
        stage = Stage(
            lab,
            await enter(open_redis(lab)),
            await enter(open_rtpengine(lab)),
            await enter(open_asterisk(lab, plan)),
            {},
            {},
            await enter(aiohttp.ClientSession()),
        )
        routing = lab.folder / "routing.yaml"
        routing.write_text(json.dumps({"destinations": ANYBODY, **rules}))  # JSON is YAML
        orchestrator = await enter(stage.orchestrator("--routing", str(routing), env=env))
        worker_plan = WorkerPlan(
            agent=f"grpc://{vendor.address}",
            redis=stage.redis.url,
            orchestrator=orchestrator.addresses["grpc"],
        )
        worker = await enter(open_worker(lab, worker_plan))
        edge = await enter(stage.edge(worker))
        channel = await enter(grpc.aio.insecure_channel(orchestrator.addresses["grpc"]))
        yield Switchboard(stage, orchestrator, worker, edge, vendor, phones, Handoffs(channel))
