"""Lanes side by side, and where one lets another go first."""

from __future__ import annotations

import asyncio

import pytest
from orchestrator.handoff.lane import EffectLane
from orchestrator.handoff.state import State
from orchestrator.model import Context

from tests.builders.running import running
from tests.builders.virtual_time import eventually
from tests.fakes.handoff_ports import Counts, FakeBus


class SlowBus(FakeBus):
    """Takes its time."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    async def publish(self, state: State, context: Context) -> None:
        await asyncio.sleep(self.seconds)
        await super().publish(state, context)


@pytest.mark.parametrize(("takes", "waited"), [(0.0, 0.0), (0.04, 0.04), (5.0, 0.1)])
async def test_a_lane_goes_first_until_it_is_drained_or_takes_too_long(
    takes: float, waited: float
) -> None:
    loop = asyncio.get_running_loop()
    lane = EffectLane("test", asyncio.sleep, Counts())
    async with asyncio.TaskGroup() as work:
        running_lane = work.create_task(lane.run())
        lane.put(takes)
        began = loop.time()
        await lane.goes_first(0.1)
        assert loop.time() - began == pytest.approx(waited, abs=0.001)
        running_lane.cancel()


@pytest.mark.parametrize(("takes", "published"), [(0.05, 1), (0.5, 0)])
async def test_the_agents_phone_is_dialled_after_the_context_unless_that_is_slow(
    takes: float, published: int
) -> None:
    bus = SlowBus(takes)
    async with running(bus=bus) as lab:
        await lab.escalate()
        await eventually(lambda: any(step.startswith("dial ") for step in lab.pbx.steps))
        assert len(bus.published) == published
