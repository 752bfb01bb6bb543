"""An AI hands its caller to a human on a real Asterisk; what the caller hears proves each step.

Caller 440 Hz, bot 1000, its last phrase 1600, music 350, agent 600.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.tones import write_tone
from voicefork_cli.measure.heard import is_silent
from voicefork_cli.measure.tones import tone_timeline, tones_of
from voicefork_sdk.model import CloseReason, Phase

from tests.e2e.ears import AGENT, BOT, CALLER, INTRO, MUSIC, TONES
from tests.e2e.story import Story, assert_seamless, assert_witness_agrees_with, nanoseconds, told
from tests.e2e.switchboard import Switchboard, asking, open_switchboard

pytestmark = pytest.mark.asyncio(loop_scope="module")

HELD_TOLERANCE_MS = 20.0
RING_SECONDS = 0.6
AGENTS_PHASES = ["DIALLING", "RINGING", "ACCEPTED", "MERGING", "CONNECTED"]
"""The others are of the caller and the context, who go their own ways meanwhile."""
PHRASE, PHRASE_MS = "goodbye", 800
LONG_PHRASE_MS = 2_000
RULES = {
    "default": {"targets": ["PJSIP/agent-1"], "ring_seconds": 6},
    "rules": [
        # By intent alone: the words of the story here would fit it, too.
        {"name": "frozen", "use": "dispute", "when": {"intent": ["dispute"]}},
        {"name": "key", "when": {"intent": ["key"]}, "accept_key": "1", "accept_seconds": 5},
    ],
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def board(stage_lab: Lab) -> AsyncIterator[Switchboard]:
    async with open_switchboard(stage_lab, RULES) as board:
        yield board


def phrases(story: Story) -> list[int]:
    """How many packets long each was that the caller heard."""
    stretches = tone_timeline(story.scene.caller.heard, TONES)
    return [each.packets for each in stretches if each.hz == {INTRO}]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def story(board: Switchboard) -> Story:
    """The plain one: escalated in the stream, answered after a while, no phrase, no freeze."""
    board.behave(ring_seconds=RING_SECONDS)
    async with board.calling() as scene:
        return await told(scene, await scene.escalate(asking()))


async def test_the_caller_hears_bot_then_music_then_agent_and_nothing_else(story: Story) -> None:
    assert story.order == [{BOT}, {MUSIC}, {AGENT}]


async def test_no_frame_is_silent_from_the_escalation_on(story: Story) -> None:
    assert [p.seq for p in story.packets if is_silent(p)] == []
    assert_seamless(story)


async def test_the_agent_hears_the_caller_alone(story: Story) -> None:
    talking = [p for p in story.agent.heard if p.arrival_ns > story.connected_ns + 100_000_000]
    assert len(talking) > 80
    assert {frozenset(each.hz) for each in tone_timeline(talking, TONES)} == {frozenset({CALLER})}


async def test_the_bot_knows_it_is_connected_and_is_closed(story: Story) -> None:
    assert (await story.scene.until_closed()).reason is CloseReason.HUMAN_CONNECTED
    assert story.scene.puppet.updates[-1].phase is Phase.CONNECTED


async def test_only_caller_agent_and_their_bridge_stand_afterwards(story: Story) -> None:
    assert story.channels == ["PJSIP/agent-1", "PJSIP/carrier"]
    assert story.bridges == ["mix"]


async def test_the_agent_is_dialled_once_and_gets_no_ai_of_its_own(story: Story) -> None:
    assert len(story.scene.calls_to()) == 1
    assert story.agent.invite.get("X-Voicefork-Fork") == "no"
    assert story.forks == 1


async def test_the_context_is_in_redis_before_the_phone_rings(story: Story) -> None:
    ((published_ns, envelope),) = story.contexts
    assert published_ns < story.agent.events[0].at_ns
    assert envelope["context"]["summary"] == "The caller disputes a charge."
    assert envelope["context"]["slots"] == {"account": "4092"}
    assert envelope["handoff_id"] == story.watch.handoff_id
    assert story.last.timing.context_lead_ms >= RING_SECONDS * 1e3


async def test_the_witness_agrees_with_the_callers_own_count(story: Story) -> None:
    assert_witness_agrees_with(story)
    held = next(each for each in tone_timeline(story.packets, TONES) if each.hz == {MUSIC})
    held_ms = (held.from_ns - story.scene.escalated_ns) / 1e6
    # It counts from when the wish has come, and its watch begins once it was told to.
    assert 0 < story.last.timing.request_to_hold_ms <= held_ms + HELD_TOLERANCE_MS


async def test_every_step_is_told_in_order_and_once(story: Story) -> None:
    revisions = [handoff.revision for handoff in story.watch.seen]
    assert revisions == list(range(1, len(revisions) + 1))
    phases = story.watch.phases
    assert len(phases) == len(set(phases))
    assert phases[0] == "RECEIVED"
    agents = [phase for phase in phases if phase in AGENTS_PHASES]
    assert agents == AGENTS_PHASES


async def test_a_handoff_can_be_watched_from_its_middle_and_after_its_end(
    board: Switchboard, story: Story
) -> None:
    request = pb.WatchHandoffRequest(handoff_id=story.watch.handoff_id, from_revision=5)
    changes: Any = board.service.WatchHandoff(request)
    late = [change.handoff async for change in changes]
    assert late == story.watch.seen[5:]


async def test_the_same_handoff_by_the_service_connects_too(board: Switchboard) -> None:
    board.behave(ring_seconds=RING_SECONDS)
    async with board.calling() as scene:
        story = await told(scene, await scene.escalate_by_service(asking()))
        assert story.order == [{BOT}, {MUSIC}, {AGENT}]
        assert_seamless(story)
        await scene.until_told(Phase.CONNECTED)


async def test_the_last_phrase_is_heard_to_its_end_and_then_the_music(board: Switchboard) -> None:
    board.behave(ring_seconds=1.5)
    async with board.calling() as scene:
        await scene.puppet.say(PHRASE, INTRO, PHRASE_MS)
        story = await told(
            scene, await scene.escalate(asking(), say_first=PHRASE), spoke_first=True
        )
        assert phrases(story) == [PHRASE_MS // 20]
        assert story.order[-3:] == [{INTRO}, {MUSIC}, {AGENT}]
        assert story.last.timing.HasField("say_first_to_hold_ms")
        assert_seamless(story)


async def test_a_frozen_bot_says_its_phrase_and_nothing_more(board: Switchboard) -> None:
    board.behave(ring_seconds=1.5)
    async with board.calling() as scene:
        await scene.puppet.say(PHRASE, INTRO, PHRASE_MS)
        scene.puppet.talks = True  # it would go on after its phrase
        story = await told(
            scene,
            await scene.escalate(asking(intent="dispute"), say_first=PHRASE),
            spoke_first=True,
        )
        assert [freeze.except_utterance_id for freeze in scene.puppet.froze] == [PHRASE]
        assert story.order[-3:] == [{INTRO}, {MUSIC}, {AGENT}]
        assert_seamless(story)


async def test_an_agent_who_answers_during_the_phrase_gets_the_caller_after_it(
    board: Switchboard,
) -> None:
    board.behave(ring_seconds=0.0)
    async with board.calling() as scene:
        await scene.puppet.say(PHRASE, INTRO, LONG_PHRASE_MS)
        story = await told(
            scene, await scene.escalate(asking(), say_first=PHRASE), spoke_first=True
        )
        spoken = [p.arrival_ns for p in scene.caller.heard if INTRO in tones_of(p, TONES)]
        assert story.agent.answered_ns is not None
        assert story.agent.answered_ns < spoken[-1] < story.connected_ns
        assert phrases(story) == [LONG_PHRASE_MS // 20]
        assert story.order[-1] == {AGENT}
        assert_seamless(story)


async def test_an_agent_who_must_accept_by_key_hears_no_caller_before(board: Switchboard) -> None:
    board.behave(ring_seconds=0.0, keys="51", keys_after_seconds=0.5)
    async with board.calling() as scene:
        story = await told(scene, await scene.escalate(asking(intent="key")))
        agents = [phase for phase in story.watch.phases if phase != "CONTEXT_PUBLISHED"]
        assert agents[-4:] == ["ANSWERED", "ACCEPTED", "MERGING", "CONNECTED"]
        # From MERGING on the caller is being moved: the audio may be there before the answer is.
        moved_ns = nanoseconds(await story.watch.until(pb.PHASE_MERGING))
        early = [p for p in story.agent.heard if p.arrival_ns < moved_ns]
        assert not any(CALLER in each.hz for each in tone_timeline(early, TONES))
        assert story.agent.answered_ns is not None
        assert story.connected_ns - story.agent.answered_ns > 0.5e9
        assert story.order[-2:] == [{MUSIC}, {AGENT}]
        assert_seamless(story)


async def test_what_the_ai_learns_later_reaches_the_agents_screen_too(board: Switchboard) -> None:
    board.behave(ring_seconds=RING_SECONDS)
    async with board.calling() as scene:
        watch = await scene.escalate(asking())
        patch = pb.PatchContextRequest(
            handoff_id=watch.handoff_id, context=pb.Context(sentiment="angry")
        )
        patched: Any = board.service.PatchContext(patch)
        assert (await patched).handoff.context_revision == 2
        await watch.until(pb.PHASE_CONNECTED)
        envelopes = [envelope for _, envelope in await board.contexts(scene.call_id)]
        assert [each["revision"] for each in envelopes] == [1, 2]
        assert envelopes[1]["context"]["sentiment"] == "angry"
        assert envelopes[1]["context"]["summary"] == envelopes[0]["context"]["summary"]


async def test_a_request_asked_twice_is_one_handoff(board: Switchboard) -> None:
    board.behave(ring_seconds=RING_SECONDS)
    async with board.calling() as scene:
        request = asking()
        watch = await scene.escalate(request)
        again = await scene.ask(request)
        assert again.handoff_id == watch.handoff_id
        changed = pb.EscalateRequest()
        changed.CopyFrom(request)
        changed.reason = "another one"
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await scene.ask(changed)
        assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS
        with pytest.raises(grpc.aio.AioRpcError) as second:
            await scene.ask(asking())
        assert second.value.code() is grpc.StatusCode.ABORTED
        await watch.until(pb.PHASE_CONNECTED)
        assert len(scene.calls_to()) == 1


@contextmanager
def music(board: Switchboard, *, silent: bool) -> Iterator[None]:
    """The hold music is a file of silence, or is not there at all."""
    tone: Path = board.stage.asterisk.etc.parent / "music" / "tone.wav"
    kept = tone.read_bytes()
    tone.unlink()
    if silent:
        write_tone(tone, 0, seconds=30)
    try:
        yield
    finally:
        tone.write_bytes(kept)


@pytest.mark.parametrize("silent", [True, False], ids=["silent music", "no music"])
async def test_dead_air_is_seen_by_the_witness(board: Switchboard, silent: bool) -> None:
    board.behave(ring_seconds=1.0)
    async with board.calling() as scene:
        with music(board, silent=silent):
            story = await told(scene, await scene.escalate(asking()))
        timing = story.last.timing
        assert timing.dead_air_ms > 400  # while the phone rang; nothing where there is music
        assert (timing.silent_ms > timing.missing_ms) is silent
        assert_witness_agrees_with(story)
        with pytest.raises(AssertionError, match=r"alone|silent"):
            assert_seamless(story)
