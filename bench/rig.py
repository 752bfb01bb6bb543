"""One measurement: a worker on a core of its own; load, relay and AI on the other."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from statistics import median

import aiohttp
from voicefork_cli.lab.errors import NoPortLeftError
from voicefork_cli.lab.ours import ANY_PORT, READY_SECONDS, Service
from voicefork_cli.lab.ports import END_PORT, FIRST_PORT, PortRange
from voicefork_cli.lab.processes import Lab, open_lab

from bench.calls import LEGS, Calls, LoadMedia, attach_voices, open_calls
from bench.tools import (
    Tool,
    build,
    cpu_seconds,
    open_tool,
    pin,
    python,
    self_signed,
    waited_seconds,
)

WORKER_CORE, LOAD_CORE = 0, 1
PORTS_PER_CALL = 6  # RTP and RTCP of two legs and of the voice
SPARE_PORTS = 200
PACKETS_PER_SECOND = 50
OPEN_SECONDS = 15.0
CALLS_PER_SECOND = 100.0
TRIES = 5  # a core that others use too makes a worker refuse for a moment
WARM_SECONDS = 2.0
SETTLE_SECONDS = 0.6  # the last packets' way to the AI, a reorder delay included
DRAIN_SECONDS = 15.0  # of an AI whose core is not its own
READY = re.compile(r"\bready sip=.*")
ADDRESS = re.compile(r"\b([a-z]+)=['\"]?([\w.\[\]:-]+:\d+)")
COUNTERS = (
    *("packets", "lost", "late", "after_gap", "duplicates", "flooded"),
    *("drift_dropped_ms", "realigned"),
)
LOSE_EVERY, SWAP_EVERY = 500, 200  # 0.2 % lost on the way, 1 % out of order


class BenchError(Exception):
    """A measurement that cannot be made: its figures would mean nothing."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured. `seconds` of load count, after a warm-up."""

    name: str
    calls: int
    seconds: float
    scheme: str = "grpc"  # or grpc+aio; "discard" = no AI at all
    both_legs: bool = True  # what the AI asks for; else the customer's alone
    voice: bool = False  # talk-back sent, and Asterisk's return RTP received, on every call
    clean: bool = False  # nothing is lost or out of order on the way to the worker
    options: tuple[str, ...] = ()
    stalled: int = 0  # number of the call, from 1, that the AI opens and never reads
    check_every: int = 1  # of so many calls the AI looks at the content of one
    tls: bool = False  # between worker and AI
    may_refuse: bool = False  # a worker that is full may say so: the calls it took are measured


@dataclass(frozen=True, slots=True)
class Measured:
    """Of the worker's process; a packet is one that it received, whatever became of it."""

    name: str
    calls: int
    us_per_packet: float  # the median of windows of one second
    best_us: float  # the best window
    core_share: float  # CPU seconds a second
    packets_per_second: float
    lost_packets: int  # that reached the worker in time, and the AI not
    wrong: int  # frames in the wrong order, or with the wrong content
    p50_ms: float
    p99_ms: float
    max_ms: float
    load_late_ms: int  # the load's own worst delay: a stolen core
    voice_packets: int = 0  # received back from the worker
    shed_gaps: int = 0
    counted: dict[str, int] = field(default_factory=dict)  # by the worker's tracks
    refused: int = 0  # calls that the worker answered 503
    waited_share: float = 0.0  # of the time it could have run and others had its core
    unopened: int = 0  # of the calls it took: the AI did not come to them, its core being full

    @property
    def calls_per_core(self) -> int:
        return round(self.calls / self.core_share) if self.core_share else 0


@dataclass(slots=True)
class Rig:
    worker: Service
    load: Tool
    relay: Tool
    agent: Tool
    calls: Calls
    call_ids: list[str]
    ports: list[int]
    stalled: str = ""  # the call that the AI does not read
    unopened: int = 0  # calls that the AI did not come to, its own core being full

    @property
    def pid(self) -> int:
        return self.worker.program.pid

    async def heard(self) -> dict[str, int]:
        """What the AI has seen so far."""
        answer = json.loads(await self.agent.ask("count"))
        self.stalled = answer.pop("stalled")
        return dict(answer)


@asynccontextmanager
async def open_rig(plan: Plan, streams: int) -> AsyncIterator[Rig]:
    """Everything runs, no call yet. `streams`: of the load, two a call and one a voice."""
    async with AsyncExitStack() as opened:
        lab = await opened.enter_async_context(open_lab())  # its own: the ports go back with it
        legs = "both" if plan.both_legs else "customer"
        signed = opened.enter_context(self_signed()) if plan.tls else None
        tls = ["--tls", signed.certificate, signed.key] if signed else []
        command = python(
            *("bench.agent_sink", "--legs", legs, "--stall", plan.stalled),
            *("--check-every", plan.check_every, *tls),
        )
        agent = await opened.enter_async_context(open_tool("agent", command, LOAD_CORE))
        agent_port = (await agent.hear()).removeprefix("port ")
        relay = await opened.enter_async_context(
            open_tool("relay", [build("relay"), agent_port], LOAD_CORE)
        )
        relay_port = (await relay.hear()).removeprefix("port ")
        harm = (0, 0) if plan.clean else (LOSE_EVERY, SWAP_EVERY)
        load = await opened.enter_async_context(
            open_tool("load", [build("load"), streams, *harm], LOAD_CORE)
        )
        ports = [int(port) for port in (await load.hear()).split()[1:]]
        scheme = plan.scheme + ("s" if plan.tls else "")
        url = "discard:" if plan.scheme == "discard" else f"{scheme}://localhost:{relay_port}"
        if signed:
            plan = replace(plan, options=(*plan.options, "--agent-ca", str(signed.certificate)))
        worker = await opened.enter_async_context(_worker(lab, url, plan))
        calls = await opened.enter_async_context(
            open_calls(worker.addresses["sip"], CALLS_PER_SECOND, TRIES)
        )
        yield Rig(worker, load, relay, agent, calls, [], ports)


def _rtp_range(lab: Lab, ports: int) -> PortRange:
    """Ports of ours alone; or all there are, where others have cut up the range.

    A worker passes over a port that somebody else has.
    """
    try:
        return lab.ports.rtp_range(ports)
    except NoPortLeftError:
        return PortRange(FIRST_PORT, END_PORT - 1)


@asynccontextmanager
async def _worker(lab: Lab, url: str, plan: Plan) -> AsyncIterator[Service]:
    rtp = _rtp_range(lab, PORTS_PER_CALL * plan.calls + SPARE_PORTS)
    argv = [
        *(sys.executable, "-m", "siprec_worker", "--agent", url, "--log-level", "INFO"),
        *("--sip", ANY_PORT, "--admin", ANY_PORT, "--control", ANY_PORT),
        *("--rtp-ports", f"{rtp.first}-{rtp.last}", "--max-calls", plan.calls + 10),
        *plan.options,
    ]
    async with lab.program(f"worker-{plan.name}", argv, env={"PYTHONUNBUFFERED": "1"}) as program:

        async def addresses() -> dict[str, str] | None:
            ready = READY.search(program.log_text())
            return dict(ADDRESS.findall(ready[0])) if ready else None

        service = Service(await program.wait_until(addresses, READY_SECONDS), program)
        pin(program.pid, WORKER_CORE)
        yield service


async def begin_calls(rig: Rig, plan: Plan) -> None:
    """All calls of the plan, recorded and opened by the AI. Raises BenchError."""
    media = [
        LoadMedia(rig.load, LEGS * n, (rig.ports[LEGS * n], rig.ports[LEGS * n + 1]))
        for n in range(plan.calls)
    ]
    if plan.may_refuse:
        rig.calls.tries = 1
        rig.load.tell("go")  # each call sends from its beginning: the worker feels what it takes
    rig.call_ids = await rig.calls.begin(media)
    if len(rig.call_ids) != plan.calls and not plan.may_refuse:
        raise BenchError(f"{len(rig.call_ids)} of {plan.calls} calls: {rig.calls.failed[:3]}")
    if plan.scheme != "discard":
        deadline = asyncio.get_running_loop().time() + OPEN_SECONDS
        while (opened := (await rig.heard())["opened"]) < len(rig.call_ids):
            if asyncio.get_running_loop().time() > deadline:
                if plan.may_refuse:
                    rig.unopened = len(rig.call_ids) - opened
                    break
                raise BenchError(f"the AI has opened {opened} of {len(rig.call_ids)} calls")
            await asyncio.sleep(0.1)
    if plan.voice:
        await attach_voices(rig.worker, rig.call_ids, rig.ports[LEGS * plan.calls :], rig.load)


async def measure(plan: Plan) -> Measured:
    """One worker, its calls, `plan.seconds` of load."""
    streams = (LEGS + plan.voice) * plan.calls
    async with open_rig(plan, streams) as rig:
        await begin_calls(rig, plan)
        rig.load.tell("go")
        await asyncio.sleep(WARM_SECONDS)
        await rig.relay.ask("report")
        before = await rig.load.figures("count")
        waited, began = waited_seconds(rig.pid), time.monotonic()
        costs = await _costs(rig, plan.seconds)
        waited_share = (waited_seconds(rig.pid) - waited) / (time.monotonic() - began)
        after = await rig.load.figures("count")
        latency = await rig.relay.figures("report")
        rig.load.tell("stop")
        seen = await _settled(rig)
        packets = after["sent"] - before["sent"]
        us_per_packet = median(costs)
        measured = Measured(
            name=plan.name,
            calls=len(rig.call_ids),
            us_per_packet=us_per_packet,
            best_us=min(costs),
            core_share=us_per_packet * packets / plan.seconds / 1e6,
            packets_per_second=packets / plan.seconds,
            lost_packets=await _lost(rig, plan, seen),
            wrong=seen["wrong_order"] + seen["wrong_content"],
            p50_ms=latency["p50_us"] / 1000,
            p99_ms=latency["p99_us"] / 1000,
            max_ms=latency["max_us"] / 1000,
            load_late_ms=after["late_ms"],
            shed_gaps=seen["shed_gaps"],
            refused=plan.calls - len(rig.call_ids),
            waited_share=round(waited_share, 3),
            unopened=rig.unopened,
        )
        return replace(
            measured,
            voice_packets=after["received"] - before["received"],
            counted=await _counted(rig),
        )


async def _settled(rig: Rig) -> dict[str, int]:
    """What the AI has seen once nothing is on its way to it any more."""
    deadline = asyncio.get_running_loop().time() + DRAIN_SECONDS
    frames = -1
    while True:
        await asyncio.sleep(SETTLE_SECONDS)
        seen = await rig.heard()
        if seen["frames"] == frames or asyncio.get_running_loop().time() > deadline:
            return seen
        frames = seen["frames"]


async def _costs(rig: Rig, seconds: float) -> list[float]:
    """Microseconds a packet, of windows of one second."""
    costs = []
    for _ in range(max(1, round(seconds))):
        packets, cpu = (await rig.load.figures("count"))["sent"], cpu_seconds(rig.pid)
        await asyncio.sleep(1.0)
        after = (await rig.load.figures("count"))["sent"]
        costs.append(1e6 * (cpu_seconds(rig.pid) - cpu) / (after - packets))
    return costs


async def _counted(rig: Rig) -> dict[str, int]:
    """What the worker's tracks say of all legs together."""
    total: Counter[str] = Counter()
    async with aiohttp.ClientSession(f"http://{rig.worker.addresses['admin']}") as admin:
        for call_id in rig.call_ids:
            async with admin.get(f"/calls/{call_id}") as answer:
                for leg in (await answer.json())["legs"]:
                    for name in COUNTERS:
                        total[name] += leg["counters"].get(name, 0)
    return dict(total)


async def _lost(rig: Rig, plan: Plan, seen: dict[str, int]) -> int:
    """Packets that were sent and never reached the AI: those of legs that it hears."""
    if plan.scheme == "discard":
        return 0
    if plan.may_refuse:  # what a leg brought before the AI had asked for it is not sent: no loss
        return (await _counted(rig))["lost"] + seen["shed_gaps"]
    step = 1 if plan.both_legs else LEGS  # the customer's leg is the first of each pair
    sent = await rig.load.figures(f"sum 0 {LEGS * plan.calls} {step}")
    counted = await _counted(rig)
    # What came too late in its turn was lost on its way to the worker, not by it.
    return sent["sent"] - seen["frames"] - counted["late"]


async def measure_limit(calls: int, seconds: float, message_bytes: int) -> float:
    """Microseconds a packet of the C program that does nothing else."""
    async with AsyncExitStack() as opened:
        relay = await opened.enter_async_context(open_tool("relay", [build("relay"), 0], LOAD_CORE))
        port = (await relay.hear()).removeprefix("port ")
        streams = LEGS * calls
        limit = await opened.enter_async_context(
            open_tool("limit", [build("limit"), streams, port, message_bytes, 20], WORKER_CORE)
        )
        there = (await limit.hear()).split()[1:]
        load = await opened.enter_async_context(
            open_tool("load", [build("load"), streams, LOSE_EVERY, SWAP_EVERY], LOAD_CORE)
        )
        await load.hear()
        for stream, to in enumerate(there):
            load.tell(f"to {stream} {to}")
        load.tell("go")
        await asyncio.sleep(1.0)
        before, cpu_before = await limit.figures("count"), cpu_seconds(limit.pid)
        await asyncio.sleep(seconds)
        after, cpu_after = await limit.figures("count"), cpu_seconds(limit.pid)
        return 1e6 * (cpu_after - cpu_before) / (after["packets"] - before["packets"])
