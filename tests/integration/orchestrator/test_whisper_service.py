"""HandoffService.Whisper over gRPC: what it takes, whom it reaches, how it is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Literal

import grpc
import pytest
from orchestrator.api.whispering import TEXT_CHARACTERS
from orchestrator.handoff.ports import Sound
from orchestrator.model import BRIEFING_AUDIO_BYTES
from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork_sdk.whispering import whisper

from tests.builders.handoffs import ALICE
from tests.builders.running import CALL
from tests.fakes.telephony import Phone
from tests.integration.orchestrator.conftest import FAILURE_SECONDS
from tests.integration.orchestrator.test_handoff_service import (
    TENANT,
    Scene,
    reason,
    refused,
    serving,
)

SECOND = bytes(16_000)


@pytest.fixture
async def scene(redis_url: str) -> AsyncIterator[Scene]:
    async with serving(redis_url) as scene:
        yield scene


async def talking(scene: Scene) -> pb.Handoff:
    handoff = await scene.escalate()
    await scene.until(handoff, pb.PHASE_CONNECTED)
    return handoff


async def test_the_longest_audio_is_said_and_answered_with_its_length(scene: Scene) -> None:
    handoff = await talking(scene)
    audio = bytes(BRIEFING_AUDIO_BYTES)
    request = pb.WhisperRequest(handoff_id=handoff.handoff_id, tenant=TENANT, audio=audio)
    answer = await scene.stub.Whisper(request)
    assert answer.lasted.ToSeconds() == 30
    assert scene.lab.pbx.said == [Sound(audio, 8000)]


async def test_the_latest_handoff_of_a_call_is_meant(scene: Scene) -> None:
    await talking(scene)
    await scene.stub.Whisper(pb.WhisperRequest(call_id=CALL, audio=SECOND))
    assert scene.lab.pbx.said == [Sound(SECOND, 8000)]


async def test_the_sdk_asks_for_it(scene: Scene) -> None:
    handoff = await talking(scene)
    seconds = await whisper(scene.channel, handoff_id=handoff.handoff_id, audio=SECOND)
    assert seconds == 1.0
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await whisper(scene.channel, call_id=CALL, text="Hello.")
    assert reason(error.value) == "NO_SPEECH"


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"audio": SECOND}, "which"),
        ({"call_id": CALL}, "said"),
        ({"call_id": CALL, "text": "  "}, "said"),
        ({"call_id": CALL, "text": "x" * (TEXT_CHARACTERS + 1)}, "text"),
        ({"call_id": CALL, "audio": bytes(BRIEFING_AUDIO_BYTES + 2)}, "audio"),
        ({"call_id": CALL, "audio": b"odd"}, "audio"),
        ({"call_id": "x" * 201, "text": "x"}, "call_id"),
        ({"handoff_id": "x" * 201, "text": "x"}, "handoff_id"),
        ({"call_id": CALL, "text": "x", "tenant": "x" * 201}, "tenant"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_wrong_field_is_named(scene: Scene, fields: Any, wrong: str) -> None:
    error = await refused(scene.stub.Whisper(pb.WhisperRequest(**fields)))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (error.details() or "").startswith(f"{wrong}:")


@pytest.mark.parametrize(
    ("fields", "code", "why"),
    [
        ({"handoff_id": "nobody"}, grpc.StatusCode.NOT_FOUND, "UNKNOWN_HANDOFF"),
        ({"call_id": "nobody"}, grpc.StatusCode.NOT_FOUND, "UNKNOWN_HANDOFF"),
        ({"call_id": CALL, "tenant": "x"}, grpc.StatusCode.PERMISSION_DENIED, "OTHER_TENANT"),
        ({"call_id": CALL}, grpc.StatusCode.FAILED_PRECONDITION, "TOO_LATE"),
    ],
    ids=["no such handoff", "no such call", "another tenant's", "nobody talks"],
)
async def test_each_refusal_has_its_type(
    scene: Scene, fields: Any, code: grpc.StatusCode, why: str
) -> None:
    scene.lab.pbx.phones = {ALICE: Phone(answers=False)}
    await scene.escalate()
    error = await refused(scene.stub.Whisper(pb.WhisperRequest(audio=SECOND, **fields)))
    assert (error.code(), reason(error)) == (code, why)


class Gate(asyncio.Event):
    """Tells who waits at it, and that they have gone."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = asyncio.Event()
        self.left = asyncio.Event()

    async def wait(self) -> Literal[True]:
        self.reached.set()
        try:
            return await super().wait()
        finally:
            self.left.set()


async def test_who_gives_it_up_silences_it(scene: Scene) -> None:
    await talking(scene)
    scene.lab.pbx.slow["whisper"] = gate = Gate()
    asked = scene.stub.Whisper(pb.WhisperRequest(call_id=CALL, audio=SECOND))
    async with asyncio.timeout(FAILURE_SECONDS):
        await gate.reached.wait()
        asked.cancel()
        await gate.left.wait()
    scene.lab.pbx.slow.clear()
    await scene.stub.Whisper(pb.WhisperRequest(call_id=CALL, audio=SECOND))
    assert scene.lab.pbx.said == [Sound(SECOND, 8000)]
