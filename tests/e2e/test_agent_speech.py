"""The AI's own voice for the human alone, on a real Asterisk: the agent hears it, the caller not.

Caller 440 Hz, bot 1000, music 350, agent 600; what the AI says to the agent 1600.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import pytest
import pytest_asyncio
from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork_cli.lab.processes import Lab
from voicefork_cli.measure.packets import Packet
from voicefork_cli.measure.pcm import tone
from voicefork_cli.measure.tones import tone_timeline, tones_of
from voicefork_sdk.events import PlayState
from voicefork_sdk.model import Phase, PlayStatus

from tests.e2e.ears import AGENT, BOT, CALLER, INTRO, MUSIC, TONES, until_hears
from tests.e2e.story import Story, assert_seamless, nanoseconds, told
from tests.e2e.switchboard import Scene, Switchboard, asking, open_switchboard
from tests.fakes.puppet_agent import story as words

pytestmark = pytest.mark.asyncio(loop_scope="module")

RATE = 8000
SECONDS = 1.5
AGENTS_PHASES = ["ANSWERED", "BRIEFING", "ACCEPTED", "MERGING", "CONNECTED"]
"""The others are of the caller and the context, who go their own ways meanwhile."""
SLACK_MS = 60
ANSWER_SECONDS = 20.0
PRE_RECORDED = 500
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


def sound(hz: int = INTRO, seconds: float = SECONDS) -> bytes:
    return tone(hz, round(RATE * seconds)).tobytes()


def whispering(intent: str = "no-key", **context: Any) -> pb.EscalateRequest:
    told = words(account="4092")
    told.MergeFrom(pb.Context(**context))
    return asking(intent=intent, pattern=pb.PATTERN_WARM_WHISPER, context=told)


async def until_agent_answers(scene: Scene) -> None:
    """As the AI is told it."""
    async with asyncio.timeout(ANSWER_SECONDS):
        while not any(update.phase is Phase.ANSWERED for update in scene.puppet.updates):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def heard(packets: Sequence[Packet], to_ns: int) -> list[tuple[set[float], int]]:
    """The tones in their order, and how many milliseconds each sounded."""
    stretches = tone_timeline([p for p in packets if p.arrival_ns < to_ns], TONES)
    return [(set(each.hz), each.packets * 20) for each in stretches if each.hz]


def milliseconds_of(packets: Sequence[Packet], hz: float) -> int:
    """How long a tone sounds in it, alone or with others."""
    return sum(hz in tones_of(packet, TONES) for packet in packets) * 20


def merged_ns(story: Story) -> int:
    return nanoseconds(next(h for h in story.watch.seen if h.phase == pb.PHASE_MERGING))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told_story(board: Switchboard) -> Story:
    """The AI speaks to the agent when it is told that they have answered."""
    board.behave(ring_seconds=0.2)
    async with board.calling() as scene:
        watch = await scene.escalate(whispering(briefing_spoken=True))
        await until_agent_answers(scene)
        assert await scene.puppet.call.tell_agent("briefing", sound())
        return await told(scene, watch)


async def test_the_agent_hears_all_that_the_ai_says_to_them(told_story: Story) -> None:
    ((tones, lasted),) = heard(told_story.agent.heard, merged_ns(told_story))
    assert tones == {INTRO}
    assert abs(lasted - SECONDS * 1000) <= SLACK_MS


async def test_the_caller_hears_not_one_frame_of_it(told_story: Story) -> None:
    assert milliseconds_of(told_story.scene.caller.heard, INTRO) == 0
    assert told_story.order == [{BOT}, {MUSIC}, {AGENT}]
    assert_seamless(told_story)


async def test_the_ai_is_told_that_it_was_handed_on(told_story: Story) -> None:
    states = [event for _, event in told_story.scene.puppet.told if isinstance(event, PlayState)]
    briefing = [each for each in states if each.utterance_id == "briefing"]
    assert briefing[-1].status is PlayStatus.FINISHED
    assert briefing[-1].played_ms == SECONDS * 1000


async def test_the_phases_tell_of_the_briefing(told_story: Story) -> None:
    agents = [phase for phase in told_story.watch.phases if phase in AGENTS_PHASES]
    assert agents == AGENTS_PHASES
    assert told_story.bridges == ["mix"]


async def test_what_is_said_while_the_phone_rings_is_kept_and_goes_before_the_text(
    board: Switchboard,
) -> None:
    board.behave(ring_seconds=1.0)
    async with board.calling() as scene:
        watch = await scene.escalate(whispering(briefing_audio=sound(PRE_RECORDED)))
        await scene.puppet.call.tell_agent("one", sound(seconds=0.5))
        await scene.puppet.call.tell_agent("two", sound(seconds=0.5))
        story = await told(scene, watch)
        both = heard(story.agent.heard, merged_ns(story))
        assert {hz for tones, _ in both for hz in tones} == {INTRO}
        assert abs(sum(lasted for _, lasted in both) - 1000) <= SLACK_MS
        assert milliseconds_of(scene.caller.heard, INTRO) == 0


async def test_an_ai_that_stays_silent_is_replaced_by_its_recording(board: Switchboard) -> None:
    board.behave(ring_seconds=0.0)
    async with board.calling() as scene:
        request = whispering(briefing_spoken=True, briefing_audio=sound())
        story = await told(scene, await scene.escalate(request))
        ((tones, lasted),) = heard(story.agent.heard, merged_ns(story))
        assert tones == {INTRO}
        assert abs(lasted - SECONDS * 1000) <= SLACK_MS


async def test_what_the_ai_clears_is_silent_at_once(board: Switchboard) -> None:
    board.behave(ring_seconds=0.0)
    async with board.calling() as scene:
        watch = await scene.escalate(whispering(briefing_spoken=True))
        await until_agent_answers(scene)
        await scene.puppet.call.tell_agent("long", sound(seconds=20.0))
        await watch.until(pb.PHASE_BRIEFING)
        await asyncio.sleep(0.5)
        scene.puppet.call.clear("long")
        story = await told(scene, watch)
        assert milliseconds_of(story.agent.heard, INTRO) < 10_000  # of 20 s
        assert story.order == [{BOT}, {MUSIC}, {AGENT}]


async def test_a_key_in_the_middle_of_it_takes_the_call(board: Switchboard) -> None:
    board.behave(ring_seconds=0.0, keys="1", keys_after_seconds=1.0)
    async with board.calling() as scene:
        watch = await scene.escalate(whispering("whisper"))
        await scene.puppet.call.tell_agent("long", sound(seconds=20.0))
        story = await told(scene, watch)
        assert heard(story.agent.heard, story.to_ns)[-1][0] == {CALLER}
        assert milliseconds_of(scene.caller.heard, INTRO) == 0


async def test_without_a_handoff_nobody_hears_it(board: Switchboard) -> None:
    async with board.calling() as scene:
        await scene.puppet.call.tell_agent("aside", sound())
        await asyncio.sleep(SECONDS)
        assert milliseconds_of(scene.caller.heard, INTRO) == 0
        await until_hears(scene.caller, BOT)


async def test_a_whisper_by_the_service_is_heard_by_the_agent_alone(board: Switchboard) -> None:
    board.behave(ring_seconds=0.0)
    async with board.calling() as scene:
        watch = await scene.escalate(asking())
        await watch.until(pb.PHASE_CONNECTED)
        await until_hears(scene.caller, AGENT)
        request = pb.WhisperRequest(call_id=scene.call_id, audio=sound())
        answer: Any = board.service.Whisper(request)
        assert (await answer).lasted.ToMilliseconds() == SECONDS * 1000
        agent = scene.calls_to()[0]
        assert abs(milliseconds_of(agent.heard, INTRO) - SECONDS * 1000) <= SLACK_MS
        assert milliseconds_of(scene.caller.heard, INTRO) == 0
        scene.assert_never_alone()
        await scene.until_stands(["PJSIP/agent-1", "PJSIP/carrier"], ["mix"])


async def test_a_whisper_to_nobody_or_of_another_tenant_is_refused(board: Switchboard) -> None:
    board.behave(ring_seconds=2.0)
    async with board.calling() as scene:
        watch = await scene.escalate(asking())
        handoff = watch.handoff_id
        for request, code in (
            (pb.WhisperRequest(handoff_id=handoff, text="Hello."), "FAILED_PRECONDITION"),
            (pb.WhisperRequest(handoff_id=handoff, text="x", tenant="other"), "PERMISSION_DENIED"),
            (pb.WhisperRequest(handoff_id="nobody", text="Hello."), "NOT_FOUND"),
            (pb.WhisperRequest(handoff_id=handoff), "INVALID_ARGUMENT"),
        ):
            answer: Any = board.service.Whisper(request)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await answer
            assert refused.value.code().name == code
        await watch.settled()
