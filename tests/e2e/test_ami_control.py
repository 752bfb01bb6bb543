"""A node without Stasis: its dialplan connects a hosted bot, and AMI hands the caller over."""

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
from voicefork_cli.sim.phone import AgentPhone, Behaviour
from voicefork_cli.sim.source import Mute

from tests.e2e.alone import assert_never_alone
from tests.e2e.ears import AGENT, BOT, INTRO, MUSIC, until_hears
from tests.e2e.hosted import (
    AMI,
    SOON,
    House,
    an_impatient_queue,
    assert_seamless,
    open_house,
    order,
)
from tests.e2e.old_asterisk import GENERATIONS, generation
from tests.e2e.watch import Watch
from tests.e2e.witnessed import assert_witness_agrees

pytestmark = pytest.mark.asyncio(loop_scope="module")

AGENTS = ("RINGING", "ACCEPTED", "CONNECTED")  # the context comes between them
CENTRES = ("DIALLING", "RINGING", "ACCEPTED", "MERGING", "CONNECTED")


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


@asynccontextmanager
async def escalated(house: House, **fields: Any) -> AsyncIterator[Watch]:
    """The call's handoff, followed while the block runs."""
    call = await live(house)
    answer: Any = house.service.Escalate(
        pb.EscalateRequest(request_id=f"r-{time.time_ns()}", call_id=call["call_id"], **fields)
    )
    watch = Watch((await answer).handoff.handoff_id)
    async with asyncio.TaskGroup() as work:
        work.create_task(watch.follow(house.service))
        yield watch


async def handed_over(house: House, pattern: pb.Pattern.ValueType) -> pb.Handoff:
    async with escalated(house, pattern=pattern) as watch:
        return await watch.settled()


@pytest.mark.parametrize("pattern", [pb.PATTERN_DIALPLAN, pb.PATTERN_ATTENDED])
async def test_an_agent_of_the_queue_gets_the_caller_without_a_silent_frame(
    house: House, pattern: pb.Pattern.ValueType
) -> None:
    """Whatever pattern is asked for: without bridges there is only the dialplan's."""
    house.agent.behaviour = Behaviour(ring_seconds=0.8)
    async with house.talking(AMI) as (caller, bot):
        assert "Stasis" not in await house.stage.applications()
        begun = time.time_ns()
        async with escalated(house, pattern=pattern) as watch:
            await until_hears(caller, AGENT)
            handoff = await watch.settled()
        assert (handoff.phase, handoff.outcome) == (pb.PHASE_CONNECTED, pb.OUTCOME_CONNECTED)
        phases = [phase for phase in watch.phases if phase in AGENTS]
        assert phases == list(AGENTS)
        assert handoff.target.queue == "voicefork"
        assert 700 <= handoff.timing.ring_ms <= 2000
        assert handoff.timing.merge_ms <= 500
        assert order(caller)[-3:] == [{BOT}, {MUSIC}, {AGENT}]
        assert_seamless(caller, begun)
        settled = handoff.changed_at.ToNanoseconds()
        assert_witness_agrees(handoff.timing.dead_air_ms, caller.heard, begun, settled)
        async with asyncio.timeout(SOON):
            await bot.ended.wait()


async def test_a_caller_who_hangs_up_in_the_queue_is_told_as_one(house: House) -> None:
    house.agent.behaviour = Behaviour(status=None)
    async with house.talking(AMI) as (caller, _), escalated(house) as watch:
        await watch.until(pb.PHASE_RINGING)
        await until_hears(caller, MUSIC)
        await caller.hang_up()
        final = await watch.final()
        assert (final.phase, final.outcome) == (pb.PHASE_FAILED, pb.OUTCOME_CALLER_HUNG_UP)


async def test_who_is_given_up_by_the_queue_takes_the_next_way_out(house: House) -> None:
    house.agent.behaviour = Behaviour(status=None)
    async with an_impatient_queue(house), house.talking(AMI) as (caller, _):
        begun = time.time_ns()
        async with escalated(house, fallbacks=[pb.FALLBACK_VOICEMAIL]) as watch:
            await watch.because_of(pb.OUTCOME_NO_ANSWER)
            final = await watch.final()
            assert (final.phase, final.outcome) == (pb.PHASE_QUEUED, pb.OUTCOME_VOICEMAIL)
            shown = await house.stage.asterisk.cli("core show channels concise")
            assert "!voicefork-voicemail!2000!" in shown
        assert_never_alone(caller, begun, final.changed_at.ToNanoseconds())


async def rings(phone: AgentPhone, before: int) -> None:
    """For one more call than before."""
    async with asyncio.timeout(SOON):
        while len(phone.calls) <= before:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_the_next_target_is_called_for_whom_the_queue_gave_up(house: House) -> None:
    house.agent.behaviour = Behaviour(status=None)
    before = len(house.agent.calls)
    async with an_impatient_queue(house, 1), house.talking(AMI) as (caller, _):
        begun = time.time_ns()
        async with escalated(house) as watch:
            await rings(house.agent, before)
            house.agent.behaviour = Behaviour(ring_seconds=0.3)  # of the next one
            await watch.because_of(pb.OUTCOME_NO_ANSWER)
            final = await watch.final()
            assert (final.phase, final.outcome) == (pb.PHASE_CONNECTED, pb.OUTCOME_CONNECTED)
            await until_hears(caller, AGENT)
        assert final.target.endpoint == "PJSIP/agent-1"
        assert_seamless(caller, begun)


async def test_the_backup_centre_outside_talks_to_whom_the_queue_gave_up(house: House) -> None:
    house.agent.behaviour = Behaviour(status=None)
    house.centre.behaviour = Behaviour(ring_seconds=0.5)
    async with an_impatient_queue(house, 1), house.talking(AMI) as (caller, _):
        begun = time.time_ns()
        async with escalated(house, intent="backup") as watch:
            await watch.because_of(pb.OUTCOME_NO_ANSWER)
            final = await watch.final()
            assert (final.phase, final.outcome) == (pb.PHASE_CONNECTED, pb.OUTCOME_BACKUP_CENTRE)
            await until_hears(caller, AGENT)
            handoff = await watch.settled()
        assert [phase for phase in watch.phases if phase in CENTRES][-5:] == list(CENTRES)
        assert handoff.target.sip_uri == house.centre.uri
        assert handoff.timing.ring_ms >= 400
        assert_seamless(caller, begun)
        call = house.centre.calls[-1]
        assert call.invite.get("X-Voicefork-Fork") == "no"
        await call.hang_up()
        async with asyncio.timeout(SOON):
            await caller.ended.wait()


@pytest.mark.parametrize(
    ("intent", "behaviour", "outcome"),
    [
        ("backup", Behaviour(status=603, ring_seconds=0.2), pb.OUTCOME_DECLINED),
        ("hasty", Behaviour(status=None), pb.OUTCOME_NO_ANSWER),
    ],
)
async def test_a_backup_centre_that_does_not_answer_says_why_and_the_next_way_is_taken(
    house: House, intent: str, behaviour: Behaviour, outcome: pb.Outcome.ValueType
) -> None:
    house.agent.behaviour = Behaviour(status=None)
    house.centre.behaviour = behaviour
    async with an_impatient_queue(house, 1), house.talking(AMI) as (caller, _):
        begun = time.time_ns()
        async with escalated(house, intent=intent) as watch:
            final = await watch.final()
        assert final.target.sip_uri == house.centre.uri
        assert [each.outcome for each in watch.seen if each.phase != final.phase][-1] == outcome
        assert (final.phase, final.outcome) == (pb.PHASE_QUEUED, pb.OUTCOME_VOICEMAIL)
        assert_never_alone(caller, begun, final.changed_at.ToNanoseconds())


async def test_a_backup_centre_that_is_not_heard_is_left_for_the_next_way(house: House) -> None:
    house.agent.behaviour = Behaviour(status=None)
    house.centre.behaviour = Behaviour(ring_seconds=0.2, source=Mute())
    async with an_impatient_queue(house, 1), house.talking(AMI):
        async with escalated(house, intent="backup") as watch:
            await watch.because_of(pb.OUTCOME_ONE_WAY_AUDIO)
            final = await watch.final()
        assert (final.phase, final.outcome) == (pb.PHASE_QUEUED, pb.OUTCOME_VOICEMAIL)
        assert house.centre.calls[-1].ended.is_set()


async def test_a_caller_on_hold_chooses_to_try_again(house: House) -> None:
    house.agent.behaviour = Behaviour(status=None)
    async with an_impatient_queue(house, 1), house.talking(AMI) as (caller, _):
        begun = time.time_ns()
        async with escalated(house, intent="menu") as watch:
            await until_hears(caller, INTRO)
            await until_hears(caller, MUSIC)
            house.agent.behaviour = Behaviour(ring_seconds=0.3)
            await caller.press("9")  # leads nowhere
            await caller.press("1")
            final = await watch.final()
            assert (final.phase, final.outcome) == (pb.PHASE_CONNECTED, pb.OUTCOME_CONNECTED)
            await until_hears(caller, AGENT)
        assert_seamless(caller, begun)


async def test_who_chooses_during_the_announcement_need_not_hear_it_out(house: House) -> None:
    house.agent.behaviour = Behaviour(status=None)
    async with an_impatient_queue(house, 1), house.talking(AMI) as (caller, _):
        async with escalated(house, intent="menu") as watch:
            await until_hears(caller, INTRO)
            await caller.press("2")
            final = await watch.final()
        assert (final.phase, final.outcome) == (pb.PHASE_QUEUED, pb.OUTCOME_VOICEMAIL)


async def test_a_menu_in_which_nobody_chooses_gives_way_to_the_next(house: House) -> None:
    house.agent.behaviour = Behaviour(status=None)
    async with an_impatient_queue(house, 1), house.talking(AMI) as (caller, _):
        begun = time.time_ns()
        async with escalated(house, intent="menu") as watch:
            await watch.because_of(pb.OUTCOME_TIMED_OUT)
            final = await watch.final()
        assert (final.phase, final.outcome) == (pb.PHASE_QUEUED, pb.OUTCOME_VOICEMAIL)
        assert_never_alone(caller, begun, final.changed_at.ToNanoseconds())


async def test_without_a_way_out_the_dialplan_says_goodbye(house: House) -> None:
    house.agent.behaviour = Behaviour(status=None)
    async with an_impatient_queue(house), house.talking(AMI) as (caller, _):
        async with escalated(house, fallbacks=[pb.FALLBACK_RETURN_TO_BOT]) as watch:
            final = await watch.final()
            assert (final.phase, final.outcome) == (pb.PHASE_FAILED, pb.OUTCOME_NO_ANSWER)
        async with asyncio.timeout(10.0):
            await caller.ended.wait()


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
