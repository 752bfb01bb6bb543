"""A call that was placed is handed over, and goes its ways out, as one that came in.

Callee 440 Hz, bot 1000, music 350, agent 600; the AI's own briefing 1600.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork_cli.lab.processes import Lab
from voicefork_cli.measure.pcm import tone
from voicefork_cli.measure.tones import tone_timeline
from voicefork_cli.sim.phone import Behaviour, PhoneCall

from tests.e2e.alone import assert_never_alone, unsaid
from tests.e2e.carrier_side import OTHER, Outside, open_outside
from tests.e2e.ears import AGENT, BOT, CALLER, INTRO, MUSIC, TONES
from tests.e2e.watch import Watch
from tests.e2e.witnessed import assert_witness_agrees
from tests.fakes.puppet_agent import story

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOON = 20.0
RULES = {
    "default": {
        "targets": ["PJSIP/agent-1"],
        "ring_seconds": 4,
        "voicemail": "2000@voicefork-voicemail",
    },
    "queues": {"voicefork": {}},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outside(stage_lab: Lab) -> AsyncIterator[Outside]:
    async with open_outside(stage_lab, RULES) as outside:
        yield outside


async def hears(call: PhoneCall, hz: int, after: int = 0) -> None:
    """`after`: how many packets are not looked at."""
    async with asyncio.timeout(SOON):
        while not any(  # noqa: ASYNC110
            each.hz == {hz} and each.packets >= 10
            for each in tone_timeline(call.heard[after:], TONES)
        ):
            await asyncio.sleep(0.05)


@asynccontextmanager
async def placed(outside: Outside, **escalation: Any) -> AsyncIterator[tuple[PhoneCall, Watch]]:
    """A callee who talks with the bot and is to be handed over; in the end nothing is left."""
    outside.behave(ring_seconds=0.2)
    call_id = await outside.place(f"p-{time.time_ns()}")
    callee = await outside.callee.next_call()
    await hears(callee, BOT)
    handoff = await outside.escalate(
        request_id=f"r-{time.time_ns()}", call_id=call_id, **escalation
    )
    watch = Watch(handoff.handoff_id)
    begun = time.time_ns()
    try:
        async with asyncio.TaskGroup() as work:
            work.create_task(watch.follow(outside.service))
            yield callee, watch
        over = (await watch.final()).changed_at.ToNanoseconds()
        assert_never_alone(callee, begun, callee.ended_ns or over, map(unsaid, outside.agent.calls))
    finally:
        await outside.clear(callee, *outside.agent.calls)


async def test_an_agent_who_is_called_first_and_the_callee_hear_each_other(
    outside: Outside,
) -> None:
    outside.agent.behaviour = Behaviour(ring_seconds=0.3)
    async with placed(outside, pattern=pb.PATTERN_ATTENDED) as (callee, watch):
        agent = await outside.agent.next_call()
        assert (await watch.final()).outcome == pb.OUTCOME_CONNECTED
        await asyncio.gather(hears(callee, AGENT), hears(agent, CALLER))
        begun = watch.seen[0].created_at.ToNanoseconds()
        last, over = await watch.settled(), callee.heard[-1].arrival_ns
        assert_witness_agrees(last.timing.dead_air_ms, callee.heard, begun, over)


async def test_the_agent_is_briefed_and_the_callee_hears_nothing_of_it(outside: Outside) -> None:
    outside.agent.behaviour = Behaviour(ring_seconds=0.3)
    context = story(account="4092")
    context.briefing_audio = tone(INTRO, 8000).tobytes()
    pattern = pb.PATTERN_WARM_WHISPER
    async with placed(outside, pattern=pattern, context=context) as (callee, watch):
        agent = await outside.agent.next_call()
        await hears(agent, INTRO)
        assert (await watch.final()).outcome == pb.OUTCOME_CONNECTED
        await asyncio.gather(hears(callee, AGENT), hears(agent, CALLER))
        told = {hz for each in tone_timeline(callee.heard, TONES) for hz in each.hz}
        assert INTRO not in told


async def test_the_queue_takes_the_callee(outside: Outside) -> None:
    outside.agent.behaviour = Behaviour(ring_seconds=0.3)
    async with placed(outside, pattern=pb.PATTERN_DIALPLAN) as (callee, watch):
        assert (await watch.final()).outcome == pb.OUTCOME_QUEUED
        await hears(callee, AGENT)


@pytest.mark.parametrize(
    ("status", "outcome"), [(486, pb.OUTCOME_BUSY), (603, pb.OUTCOME_DECLINED)]
)
async def test_with_nobody_to_take_the_callee_the_bot_has_them_again(
    outside: Outside, status: int, outcome: pb.Outcome.ValueType
) -> None:
    outside.agent.behaviour = Behaviour(ring_seconds=0.3, status=status)
    way = [pb.FALLBACK_RETURN_TO_BOT]
    async with placed(outside, pattern=pb.PATTERN_ATTENDED, fallbacks=way) as (callee, watch):
        await hears(callee, MUSIC)
        await watch.because_of(outcome)
        assert (await watch.final()).outcome == pb.OUTCOME_RETURNED_TO_BOT
        await hears(callee, BOT, len(callee.heard))


async def test_a_callee_who_hangs_up_ends_it(outside: Outside) -> None:
    outside.agent.behaviour = Behaviour(status=None)
    async with placed(outside, pattern=pb.PATTERN_ATTENDED) as (callee, watch):
        await watch.until(pb.PHASE_RINGING)
        await callee.hang_up()
        assert (await watch.final()).outcome == pb.OUTCOME_CALLER_HUNG_UP


async def test_an_extension_that_is_not_there_leads_to_the_next_way_out(outside: Outside) -> None:
    """An AI named it, and the rules allow it: `continue` there would hang the callee up."""
    target = pb.Target(extension="404@internal")
    way = [pb.FALLBACK_VOICEMAIL]
    async with placed(outside, pattern=pb.PATTERN_DIALPLAN, target=target, fallbacks=way) as (
        callee,
        watch,
    ):
        await watch.because_of(pb.OUTCOME_UNREACHABLE)
        assert (await watch.final()).outcome == pb.OUTCOME_VOICEMAIL
        assert "!voicefork-voicemail!2000!" in await outside.stage.asterisk.cli(
            "core show channels concise"
        )
        assert not callee.ended.is_set()


async def test_an_extension_that_is_there_gets_the_callee(outside: Outside) -> None:
    target = pb.Target(extension="901@from-carrier")
    async with placed(outside, pattern=pb.PATTERN_DIALPLAN, target=target) as (callee, watch):
        assert (await watch.final()).outcome == pb.OUTCOME_QUEUED
        await hears(callee, MUSIC)


async def test_who_asks_for_a_route_gets_its_vendor(outside: Outside) -> None:
    outside.behave(ring_seconds=0.2)
    call_id = await outside.place(f"p-{time.time_ns()}", route=OTHER)
    callee = await outside.callee.next_call()
    async with asyncio.timeout(SOON):
        await outside.other.puppet(call_id)
    await hears(callee, BOT)
    await outside.clear(callee)
