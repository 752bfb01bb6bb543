"""A hundred calls of a real worker; the AI of one of them reads nothing. Only that one suffers."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator

import pytest

from bench.calls import LEGS
from bench.rig import Plan, Rig, begin_calls, open_rig

CALLS = 100
SECONDS = 8.0  # several times what may be un-acknowledged
SETTLE_SECONDS = 1.0

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler for the load"),
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="load and worker need a core each"),
]


@pytest.fixture
async def loaded() -> AsyncIterator[Rig]:
    """The calls after some seconds of audio, with nothing on its way any more."""
    plan = Plan("stalled", CALLS, SECONDS, clean=True, stalled=CALLS // 2)
    async with open_rig(plan, LEGS * CALLS) as rig:
        await begin_calls(rig, plan)
        rig.load.tell("go")
        await asyncio.sleep(SECONDS)
        rig.load.tell("stop")
        await asyncio.sleep(SETTLE_SECONDS)
        yield rig


async def sent_to_others(rig: Rig) -> int:
    """Packets of every call but the stalled one."""
    first = LEGS * rig.call_ids.index(rig.stalled)
    everybody = await rig.load.figures(f"sum 0 {LEGS * CALLS} 1")
    stalled = await rig.load.figures(f"sum {first} {first + LEGS} 1")
    return everybody["sent"] - stalled["sent"]


async def test_one_stalled_vendor_leaves_the_other_calls_untouched(loaded: Rig) -> None:
    seen = await loaded.heard()
    assert seen["opened"] == CALLS
    assert loaded.stalled
    sent = await sent_to_others(loaded)
    async with asyncio.timeout(20):
        while seen["frames"] < sent:
            await asyncio.sleep(0.2)
            seen = await loaded.heard()
    assert seen["frames"] == sent
    # Gaps of another cause are the load's: it, too, may have to wait for a processor.
    assert (seen["shed_gaps"], seen["wrong_order"], seen["wrong_content"]) == (0, 0, 0)
    latency = await loaded.relay.figures("report")
    assert latency["p50_us"] < 1_000_000  # who waited for the stalled one would wait for ever
