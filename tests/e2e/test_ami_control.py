"""A node without Stasis: its dialplan connects a hosted bot, and AMI hands the caller over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork_cli.lab.processes import Lab
from voicefork_cli.sim.phone import Behaviour

from tests.e2e.ears import AGENT, BOT, MUSIC, until_hears
from tests.e2e.hosted import AMI, SOON, House, assert_seamless, open_house, order
from tests.e2e.old_asterisk import GENERATIONS, generation
from tests.e2e.watch import Watch

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=GENERATIONS)
async def house(stage_lab: Lab, request: pytest.FixtureRequest) -> AsyncIterator[House]:
    installation = generation(request.param)
    async with open_house(
        stage_lab, "core", name=request.param, installation=installation
    ) as house:
        yield house


async def live(house: House) -> dict[str, Any]:
    """The one call, once its bot was heard of."""
    async with asyncio.timeout(SOON):
        while True:
            calls = await house.stage.calls_of_orchestrator(house.orchestrator)
            if calls and calls[0]["state"] == "talking":
                return calls[0]
            await asyncio.sleep(0.02)


async def handed_over(house: House, pattern: pb.Pattern.ValueType) -> pb.Handoff:
    call = await live(house)
    request = pb.EscalateRequest(
        request_id=f"r-{time.time_ns()}", call_id=str(call["call_id"]), pattern=pattern
    )
    answer: Any = house.service.Escalate(request)
    watch = Watch((await answer).handoff.handoff_id)
    await watch.follow(house.service)
    return watch.seen[-1]


@pytest.mark.parametrize("pattern", [pb.PATTERN_DIALPLAN, pb.PATTERN_ATTENDED])
async def test_the_queue_takes_the_caller_without_a_silent_frame(
    house: House, pattern: pb.Pattern.ValueType
) -> None:
    """Whatever pattern is asked for: without bridges there is only the dialplan's."""
    house.agent.behaviour = Behaviour(ring_seconds=0.8)
    async with house.talking(AMI) as (caller, bot):
        assert "Stasis" not in await house.stage.applications()
        begun = time.time_ns()
        handoff = await handed_over(house, pattern)
        assert (handoff.phase, handoff.outcome) == (pb.PHASE_QUEUED, pb.OUTCOME_QUEUED)
        await until_hears(caller, AGENT)
        assert order(caller)[-3:] == [{BOT}, {MUSIC}, {AGENT}]
        assert_seamless(caller, begun)
        assert handoff.timing.dead_air_ms == 0
        async with asyncio.timeout(SOON):
            await bot.ended.wait()


async def test_the_queue_is_told_what_the_call_is_about(house: House) -> None:
    house.agent.behaviour = Behaviour(ring_seconds=0.2)
    async with house.talking(AMI) as (caller, _):
        handoff = await handed_over(house, pb.PATTERN_DIALPLAN)
        await until_hears(caller, AGENT)
        channels = await house.stage.ari("channels")
        (name,) = [c["name"] for c in channels if c["name"].startswith("PJSIP/carrier")]
        shown = await house.stage.asterisk.cli(f"core show channel {name}")
        assert f"VOICEFORK_HANDOFF={handoff.handoff_id}" in shown


async def test_a_caller_who_hangs_up_is_gone_everywhere(house: House) -> None:
    async with house.talking(AMI) as (caller, _):
        await live(house)
        await caller.hang_up()
        async with asyncio.timeout(SOON):
            while await house.stage.calls_of_orchestrator(house.orchestrator):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
