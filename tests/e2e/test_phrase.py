"""The rules' phrase reaches a caller on hold, on a real Asterisk.

Caller 440 Hz, bot 1000, music 350, agent 600; the phrase as media of the PBX 1600.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.tones import write_tone
from voicefork_cli.measure.tones import is_pure, tones_of

from tests.e2e.ears import AGENT, BOT, INTRO, MUSIC, TONES, heard_between, tones, until_hears
from tests.e2e.story import Story, assert_seamless, assert_witness_agrees_with, nanoseconds, told
from tests.e2e.switchboard import Scene, Switchboard, asking, open_switchboard

pytestmark = pytest.mark.asyncio(loop_scope="module")

PHRASE_SECONDS = 1
SPOKEN_SECONDS = 10.0
LIMIT_SECONDS = 9.0  # a phrase that begins and never ends is waited for 10 s
PACKET_MS = 20
ONE = ["PJSIP/agent-1"]
TEXT = "One moment please, I am getting a colleague."


def rule(name: str, phrase: str, **actions: object) -> dict[str, object]:
    phrases = {"phrases": {"*": phrase}}
    return {"name": name, "when": {"intent": [name]}, "targets": ONE, **phrases, **actions}


RULES = {
    "default": {"pattern": "attended", "targets": ONE, "ring_seconds": 12},
    "rules": [
        rule("played", "sound:@PHRASE@"),
        rule("spoken", TEXT),
        rule("missing", "sound:there-is-no-such-file"),
        rule("queue", "sound:@PHRASE@", pattern="dialplan", fallbacks=[]),
    ],
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def board(stage_lab: Lab) -> AsyncIterator[Switchboard]:
    phrase = stage_lab.folder / "phrase"
    write_tone(phrase.with_suffix(".wav"), INTRO, seconds=PHRASE_SECONDS)
    rules = json.loads(json.dumps(RULES).replace("@PHRASE@", str(phrase)))
    async with open_switchboard(stage_lab, rules) as board:
        yield board


def wanting(intent: str) -> pb.EscalateRequest:
    return asking(intent=intent, pattern=pb.PATTERN_AUTO)


def phrase_ms(story: Story) -> int:
    """How much of the PBX's phrase the caller heard."""
    return sum(each == {INTRO} for each in tones(story.packets)) * PACKET_MS


async def test_the_caller_hears_the_phrase_and_then_music(board: Switchboard) -> None:
    board.behave(ring_seconds=2.5)
    async with board.calling() as scene:
        story = await told(scene, await scene.escalate(wanting("played")), spoke_first=True)
        # The music before it lasts a few milliseconds: maybe one packet.
        assert [each for each in story.order if each != {MUSIC}] == [{BOT}, {INTRO}, {AGENT}]
        assert story.order[-2] == {MUSIC}
        assert abs(phrase_ms(story) - PHRASE_SECONDS * 1000) <= 60
        assert_seamless(story)
        assert_witness_agrees_with(story)


async def test_an_agent_who_is_there_at_once_waits_for_its_end(board: Switchboard) -> None:
    board.behave(ring_seconds=0.0)
    async with board.calling() as scene:
        story = await told(scene, await scene.escalate(wanting("played")), spoke_first=True)
        assert abs(phrase_ms(story) - PHRASE_SECONDS * 1000) <= 60
        assert story.order[-1] == {AGENT}
        assert_seamless(story)


async def until_spoken(scene: Scene, from_ns: int) -> None:
    """A second of something else than music and agent."""
    async with asyncio.timeout(SPOKEN_SECONDS):
        while spoken_ms(scene, from_ns) < 1000:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


def spoken_ms(scene: Scene, from_ns: int) -> int:
    said = [
        packet
        for packet in heard_between(scene.caller, from_ns, time.time_ns())
        if not is_pure(packet, MUSIC) and tones_of(packet, TONES) != {AGENT}
    ]
    return len(said) * PACKET_MS


@pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")
async def test_a_text_is_spoken_over_the_music(board: Switchboard) -> None:
    board.behave(ring_seconds=7.0)
    async with board.calling() as scene:
        watch = await scene.escalate(wanting("spoken"))
        held = nanoseconds(await watch.until(pb.PHASE_CALLER_HELD))
        await watch.until(pb.PHASE_RINGING)
        await until_spoken(scene, held + 100_000_000)
        await until_hears(scene.caller, MUSIC)
        connected = nanoseconds(await watch.until(pb.PHASE_CONNECTED))
        await until_hears(scene.caller, AGENT)
        scene.assert_never_alone(connected)
        await scene.until_stands(["PJSIP/agent-1", "PJSIP/carrier"], ["mix"])


async def test_a_phrase_that_is_not_there_holds_nothing_up(board: Switchboard) -> None:
    board.behave(ring_seconds=0.3)
    async with board.calling() as scene:
        story = await told(scene, await scene.escalate(wanting("missing")))
        assert story.order == [{BOT}, {MUSIC}, {AGENT}]
        assert story.connected_ns - scene.escalated_ns < LIMIT_SECONDS * 1e9
        assert_seamless(story)


async def test_the_queue_has_the_caller_after_the_phrase(board: Switchboard) -> None:
    async with board.calling() as scene:
        watch = await scene.escalate(wanting("queue"))
        await until_hears(scene.caller, INTRO)
        final = await watch.final()
        assert (final.phase, final.outcome) == (pb.PHASE_QUEUED, pb.OUTCOME_QUEUED)
        await board.stage.wait_in_queue()
        await until_hears(scene.caller, MUSIC)
        scene.assert_never_alone(nanoseconds(final))
