"""What a call costs besides its audio: memory, set-up and tear-down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from siprec_worker.session.registry import REMEMBERED_CALLS

from bench.calls import LEGS, LoadMedia
from bench.rig import Plan, Rig, begin_calls, open_rig
from bench.tools import cpu_seconds, resident_kb, waited_seconds

GROUP = 250  # calls that get audio at a time: all at once would measure the AI, not the worker
GROUP_SECONDS = 2.0
LIFE_SECONDS = 1.0
SET_UPS_PER_SECOND = 200.0
PORTS_FOR = 1000  # calls: those that live, and the resting ports of those that have ended
SAMPLES = 20
PAST_REMEMBERED = 1.2
SIP_REMEMBERS_SECONDS = 36.0


async def kb_per_call(calls: int) -> float:
    """Resident memory a call of `calls` that are all up, and have all had audio."""
    plan = Plan(f"memory-{calls}", calls, 0.0)
    async with open_rig(plan, LEGS * calls) as rig:
        empty = resident_kb(rig.pid)
        await begin_calls(rig, plan)
        rig.load.tell("go")
        for first in range(0, calls, GROUP):
            rig.load.tell(f"only {LEGS * first} {LEGS * (first + GROUP)}")
            await asyncio.sleep(GROUP_SECONDS)
        return (resident_kb(rig.pid) - empty) / calls


@dataclass(slots=True)
class SetUps:
    """`resident_kb`: at as many moments, evenly spread over the run."""

    done: int = 0
    failed: list[str] = field(default_factory=list)
    seconds: float = 0.0
    waited_share: float = 0.0  # of the time the worker could have run and others had its core
    cpu_ms: float = 0.0  # of the worker, a call: INVITE, ACK, the AI's opening, BYE
    resident_kb: list[int] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return self.done / self.seconds if self.seconds else 0.0

    @property
    def growth_kb_per_call(self) -> float:
        """From when the pools of the beginning are full to the end.

        A worker remembers the last REMEMBERED_CALLS that ended, 1.3 kB each: growth until then is
        theirs, and so is what SIP remembers of a transaction for 32 s. Samples are evenly spread.
        """
        steps = len(self.resident_kb) - 1
        full = int(steps * PAST_REMEMBERED * REMEMBERED_CALLS / max(1, self.done))
        remembered = int(steps * SIP_REMEMBERS_SECONDS / self.seconds) if self.seconds else 0
        settled = self.resident_kb[min(max(full, remembered, steps // 2), steps) :]
        calls = self.done * (len(settled) - 1) / max(1, steps)
        return (settled[-1] - settled[0]) / calls if calls > 0 else 0.0


class _Silent(LoadMedia):
    """A fork that never sends: only its signalling is wanted."""

    async def answered(self, sdp: bytes) -> None:
        """Nobody sends there."""


async def set_ups(calls: int) -> SetUps:
    """Begins 200 calls a second, each for a second, `calls` in all."""
    plan = Plan("set-ups", PORTS_FOR, 0.0)
    figures = SetUps()
    async with open_rig(plan, LEGS) as rig:
        rig.calls.rate, rig.calls.tries = SET_UPS_PER_SECOND, 1
        loop = asyncio.get_running_loop()
        cpu, waited, began = cpu_seconds(rig.pid), waited_seconds(rig.pid), loop.time()
        async with _sampled(rig, calls / SET_UPS_PER_SECOND / SAMPLES, figures):
            async with asyncio.TaskGroup() as tasks:
                for number in range(calls):
                    due = began + number / SET_UPS_PER_SECOND
                    await asyncio.sleep(max(0.0, due - loop.time()))
                    tasks.create_task(_one(rig, figures))
            figures.seconds = loop.time() - began - LIFE_SECONDS
        figures.waited_share = (waited_seconds(rig.pid) - waited) / (loop.time() - began)
        figures.cpu_ms = 1000 * (cpu_seconds(rig.pid) - cpu) / calls
        figures.failed = rig.calls.failed
    return figures


async def _one(rig: Rig, figures: SetUps) -> None:
    media = _Silent(rig.load, 0, (rig.ports[0], rig.ports[1]))
    call_id = await rig.calls.start(media)
    if call_id:
        await asyncio.sleep(LIFE_SECONDS)
        await rig.calls.end(call_id)
        figures.done += 1


@asynccontextmanager
async def _sampled(rig: Rig, every: float, figures: SetUps) -> AsyncIterator[None]:
    async def sample() -> None:
        while True:
            figures.resident_kb.append(resident_kb(rig.pid))
            await asyncio.sleep(every)

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(sample())
        yield
        figures.resident_kb.append(resident_kb(rig.pid))
        task.cancel()
