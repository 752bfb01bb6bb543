"""An agent is told what the call is about before they take it, on a real Asterisk.

Caller 440 Hz, bot 1000, music 350, agent 600; the AI's own briefing 1600.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import pytest_asyncio
from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork_cli.lab.processes import Lab
from voicefork_cli.measure.heard import is_silent
from voicefork_cli.measure.packets import Packet
from voicefork_cli.measure.pcm import tone
from voicefork_cli.measure.tones import tone_timeline, tones_of

from tests.e2e.ears import AGENT, BOT, CALLER, INTRO, MUSIC, TONES, until_hears
from tests.e2e.story import Story, assert_seamless, assert_witness_agrees_with, nanoseconds, told
from tests.e2e.switchboard import Switchboard, asking, open_switchboard
from tests.e2e.test_handoff_faults import redis_stopped
from tests.fakes.puppet_agent import story as words

pytestmark = pytest.mark.asyncio(loop_scope="module")

BRIEFING_SECONDS = 1.5
AGENTS_PHASES = ["ANSWERED", "BRIEFING", "ACCEPTED", "MERGING", "CONNECTED"]
"""The others are of the caller and the context, who go their own ways meanwhile."""
RULES = {
    "default": {"targets": ["PJSIP/agent-1"], "ring_seconds": 4, "accept_seconds": 5},
    "rules": [
        {
            "name": "whisper",
            "when": {"intent": ["whisper"]},
            "pattern": "warm_whisper",
            "accept_key": "1",
            "targets": ["PJSIP/agent-1"],
        },
        {
            "name": "two",
            "when": {"intent": ["two"]},
            "pattern": "warm_whisper",
            "accept_key": "1",
            "targets": ["PJSIP/agent-1", "PJSIP/agent-2"],
        },
        {
            "name": "no-key",
            "when": {"intent": ["no-key"]},
            "pattern": "warm_whisper",
            "targets": ["PJSIP/agent-1"],
        },
    ],
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def board(stage_lab: Lab) -> AsyncIterator[Switchboard]:
    async with open_switchboard(stage_lab, RULES) as board:
        yield board


def whispering(intent: str = "whisper", seconds: float = BRIEFING_SECONDS) -> pb.EscalateRequest:
    """A wish whose briefing is a tone of the AI's own."""
    context = words(account="4092")
    context.briefing_audio = tone(INTRO, round(8000 * seconds)).tobytes()
    return asking(intent=intent, pattern=pb.PATTERN_WARM_WHISPER, context=context)


def heard(packets: Sequence[Packet], to_ns: int) -> list[set[float]]:
    stretches = tone_timeline([p for p in packets if p.arrival_ns < to_ns], TONES)
    return [set(each.hz) for each in stretches if each.hz]


def milliseconds_of(packets: Sequence[Packet], hz: float) -> int:
    return sum(hz in tones_of(packet, TONES) for packet in packets) * 20


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told_story(board: Switchboard) -> Story:
    """The agent listens to the end, then presses the key."""
    board.behave(ring_seconds=0.2, keys="1", keys_after_seconds=BRIEFING_SECONDS + 1.5)
    async with board.calling() as scene:
        return await told(scene, await scene.escalate(whispering()))


async def test_the_caller_hears_bot_then_music_then_agent_and_nothing_of_the_briefing(
    told_story: Story,
) -> None:
    assert told_story.order == [{BOT}, {MUSIC}, {AGENT}]
    assert_seamless(told_story)


async def test_the_agent_hears_the_whole_briefing_and_not_the_caller(told_story: Story) -> None:
    merging = next(h for h in told_story.watch.seen if h.phase == pb.PHASE_MERGING)
    stretches = tone_timeline(
        [p for p in told_story.agent.heard if p.arrival_ns < nanoseconds(merging)], TONES
    )
    assert [set(each.hz) for each in stretches if each.hz] == [{INTRO}]
    briefing = next(each for each in stretches if each.hz)
    assert abs(briefing.packets * 20 - BRIEFING_SECONDS * 1000) <= 60


async def test_the_phases_tell_of_the_briefing(told_story: Story) -> None:
    agents = [phase for phase in told_story.watch.phases if phase in AGENTS_PHASES]
    assert agents == AGENTS_PHASES


async def test_the_witness_agrees_with_the_callers_own_count(told_story: Story) -> None:
    assert_witness_agrees_with(told_story)


async def test_only_caller_agent_and_their_bridge_stand_afterwards(told_story: Story) -> None:
    assert told_story.channels == ["PJSIP/agent-1", "PJSIP/carrier"]
    assert told_story.bridges == ["mix"]


async def test_a_key_during_the_briefing_ends_it_and_takes_the_call(board: Switchboard) -> None:
    board.behave(ring_seconds=0.2, keys="1", keys_after_seconds=0.8)
    async with board.calling() as scene:
        story = await told(scene, await scene.escalate(whispering(seconds=6.0)))
        assert story.order == [{BOT}, {MUSIC}, {AGENT}]
        assert heard(story.agent.heard, story.to_ns)[-1] == {CALLER}
        assert milliseconds_of(story.agent.heard, INTRO) < 5_000  # of 6: it was cut short
        assert_seamless(story)
        assert story.bridges == ["mix"]


async def test_without_a_key_the_end_of_the_briefing_takes_the_call(board: Switchboard) -> None:
    board.behave(ring_seconds=0.2)
    async with board.calling() as scene:
        story = await told(scene, await scene.escalate(whispering("no-key")))
        assert story.agent.answered_ns is not None
        assert story.connected_ns - story.agent.answered_ns > BRIEFING_SECONDS * 1e9
        assert story.order == [{BOT}, {MUSIC}, {AGENT}]
        assert_seamless(story)


async def test_an_agent_who_hangs_up_while_being_briefed_is_followed_by_the_next(
    board: Switchboard,
) -> None:
    board.behave(ring_seconds=0.0, hang_up_after_seconds=0.7)
    board.behave("agent-2", ring_seconds=0.0, keys="1", keys_after_seconds=0.5)
    async with board.calling() as scene:
        watch = await scene.escalate(whispering("two", seconds=4.0))
        await watch.because_of(pb.OUTCOME_AGENT_HUNG_UP)
        final = await watch.final()
        assert final.outcome == pb.OUTCOME_CONNECTED
        await until_hears(scene.caller, AGENT)
        scene.assert_never_alone(nanoseconds(final))
        await scene.until_stands(["PJSIP/agent-2", "PJSIP/carrier"], ["mix"])


async def test_a_caller_who_hangs_up_during_the_briefing_leaves_nothing_behind(
    board: Switchboard,
) -> None:
    board.behave(ring_seconds=0.0)
    async with board.calling() as scene:
        watch = await scene.escalate(whispering(seconds=4.0))
        await watch.until(pb.PHASE_BRIEFING)
        await scene.caller.hang_up()
        assert (await watch.final()).outcome == pb.OUTCOME_CALLER_HUNG_UP
        await scene.until_stands([], [])


@pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")
async def test_a_text_is_spoken_and_may_change_until_it_is(board: Switchboard) -> None:
    board.behave(ring_seconds=1.0, keys="1", keys_after_seconds=4.5)
    async with board.calling() as scene:
        context = words(account="4092")
        context.briefing_text = "No."
        request = asking(intent="whisper", pattern=pb.PATTERN_WARM_WHISPER, context=context)
        watch = await scene.escalate(request)
        later = pb.Context(briefing_text="Escalating account 4092. Caller disputes a charge.")
        patch = pb.PatchContextRequest(handoff_id=watch.handoff_id, context=later)
        patched: Any = board.service.PatchContext(patch)
        await patched
        await watch.until(pb.PHASE_BRIEFING)
        merging = nanoseconds(await watch.until(pb.PHASE_MERGING))
        (call,) = scene.calls_to()
        spoken = [p for p in call.heard if p.arrival_ns < merging and not is_silent(p)]
        assert len(spoken) > 50  # 1 s at least: the longer text
        await watch.final()


async def test_a_briefing_and_the_merge_go_on_while_redis_stands_still(board: Switchboard) -> None:
    board.behave(ring_seconds=0.2, keys="1", keys_after_seconds=1.0)
    async with board.calling() as scene:
        watch = await scene.escalate(whispering())
        await watch.until(pb.PHASE_BRIEFING)
        with redis_stopped(board):
            await watch.until(pb.PHASE_CONNECTED)
            await until_hears(scene.caller, AGENT)
        assert (await watch.settled()).outcome == pb.OUTCOME_CONNECTED
        await scene.until_stands(["PJSIP/agent-1", "PJSIP/carrier"], ["mix"])
