"""A replica is killed while somebody is told something: the other one goes on."""

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
from voicefork_cli.measure.pcm import tone

from tests.e2e.ears import INTRO, MUSIC, heard_between, tones, until_hears
from tests.e2e.replicas import (
    Company,
    a_pair,
    assert_never_alone,
    connected,
    open_company,
)
from tests.e2e.switchboard import Scene, asking
from tests.fakes.puppet_agent import story

pytestmark = pytest.mark.asyncio(loop_scope="module")

PHRASE_SECONDS = 5
PACKET_MS = 20
TOLD_SECONDS = 12.0  # accept_seconds begin after it
TEXT = "One moment please, I am getting a colleague who can help you with that right away."
ONE = ["PJSIP/agent-1"]


def rule(name: str, **actions: object) -> dict[str, object]:
    return {"name": name, "when": {"intent": [name]}, "targets": ONE, **actions}


RULES = {
    "default": {"targets": ONE, "ring_seconds": 12},
    "rules": [
        rule("played", phrases={"*": "sound:@SAID@"}),
        rule("spoken", phrases={"*": TEXT}),
        rule("briefed", pattern="warm_whisper", accept_key="1", accept_seconds=15),
    ],
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def company(stage_lab: Lab) -> AsyncIterator[Company]:
    said = stage_lab.folder / "said"
    write_tone(said.with_suffix(".wav"), INTRO, seconds=PHRASE_SECONDS)
    rules = json.loads(json.dumps(RULES).replace("@SAID@", str(said)))
    async with open_company(stage_lab, rules) as company:
        yield company


def wanting(intent: str, **fields: object) -> pb.EscalateRequest:
    return asking(intent=intent, pattern=pb.PATTERN_AUTO, **fields)


def said_ms(scene: Scene) -> int:
    """How much of the PBX's phrase the caller has heard."""
    packets = heard_between(scene.caller, scene.escalated_ns, time.time_ns())
    return sum(each == {INTRO} for each in tones(packets)) * PACKET_MS


async def test_the_rules_phrase_is_heard_out_once_and_the_agent_follows(company: Company) -> None:
    async with a_pair(company) as pair, pair.board.calling() as scene:
        pair.board.behave(ring_seconds=0.3)
        watch = await scene.escalate_by_service(wanting("played"))
        await until_hears(scene.caller, INTRO)
        await pair.kill(scene)
        await connected(scene, watch)
        assert abs((said := said_ms(scene)) - PHRASE_SECONDS * 1000) <= 100, said


@pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")
async def test_a_spoken_phrase_is_said_again_by_the_heir(company: Company) -> None:
    async with a_pair(company) as pair, pair.board.calling() as scene:
        pair.board.behave(ring_seconds=0.3)
        watch = await scene.escalate_by_service(wanting("spoken"))
        await watch.until(pb.PHASE_CALLER_HELD)
        await asyncio.sleep(1.0)  # in the middle of it
        await pair.kill(scene)
        await connected(scene, watch)


async def test_an_agent_who_was_being_briefed_is_briefed_again_and_takes_the_call(
    company: Company,
) -> None:
    context = story(account="4092")
    context.briefing_audio = tone(INTRO, 8000 * PHRASE_SECONDS).tobytes()
    async with a_pair(company) as pair, pair.board.calling() as scene:
        pair.board.behave(ring_seconds=0.3)
        watch = await scene.escalate_by_service(wanting("briefed", context=context))
        await watch.until(pb.PHASE_BRIEFING)
        await asyncio.sleep(1.0)
        await pair.kill(scene)
        await until_hears(scene.caller, MUSIC)
        (call,) = scene.calls_to()
        before = len(call.heard)
        async with asyncio.timeout(TOLD_SECONDS):
            while tones(call.heard[before:]).count(frozenset({INTRO})) < 1000 // PACKET_MS:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await call.press("1")
        await connected(scene, watch)
        await scene.until_stands(["PJSIP/agent-1", "PJSIP/carrier"], ["mix"])
        await assert_never_alone(scene)
