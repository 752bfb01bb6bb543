"""A cancellation that a library swallowed ends the loop all the same."""

from __future__ import annotations

import asyncio

from orchestrator.handoff.cancellation import heed_cancellation
from orchestrator.handoff.lane import EffectLane

from tests.fakes.handoff_ports import Counts


async def swallows(_: str) -> None:
    """As redis-py does while it connects."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return


async def test_a_lane_whose_effect_swallows_the_cancel_still_ends() -> None:
    lane = EffectLane("telephony", swallows, Counts())
    lane.put("effect")
    task = asyncio.ensure_future(lane.run())
    await asyncio.sleep(0)
    task.cancel()
    (ended,) = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(ended, asyncio.CancelledError)
    assert lane.owed == 0


async def test_a_task_that_is_not_cancelled_goes_on() -> None:
    heed_cancellation()


async def test_a_full_lane_refuses_the_newest_and_counts_it() -> None:
    counts = Counts()
    lane = EffectLane("telephony", swallows, counts)
    for _ in range(257):
        lane.put("effect")
    assert lane.owed == 256
    assert counts["handoff_telephony_effects_dropped"] == 1
