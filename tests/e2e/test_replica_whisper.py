"""A whisper that reaches a replica which does not have the call is said by the one that has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork_cli.lab.processes import Lab
from voicefork_cli.measure.pcm import tone
from voicefork_cli.measure.tones import tones_of

from tests.e2e.ears import INTRO, TONES
from tests.e2e.replicas import RULES, Company, a_pair, connected, open_company
from tests.e2e.switchboard import asking

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECONDS = 4.0  # longer than any other request that is passed on may last
SLACK_MS = 60


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def company(stage_lab: Lab) -> AsyncIterator[Company]:
    async with open_company(stage_lab, RULES) as company:
        yield company


async def test_it_is_passed_on_and_answered_when_it_has_been_said(company: Company) -> None:
    async with a_pair(company) as pair, pair.board.calling() as scene:
        pair.board.behave(ring_seconds=0.0)
        await connected(scene, await scene.escalate_by_service(asking()))
        audio = tone(INTRO, round(8000 * SECONDS)).tobytes()
        request = pb.WhisperRequest(call_id=scene.call_id, audio=audio)
        answer: Any = pair.board.service.Whisper(request)  # the heir's
        assert (await answer).lasted.ToMilliseconds() == SECONDS * 1000
        heard = sum(INTRO in tones_of(packet, TONES) for packet in scene.calls_to()[0].heard) * 20
        assert abs(heard - SECONDS * 1000) <= SLACK_MS
        assert not any(INTRO in tones_of(packet, TONES) for packet in scene.caller.heard)
