"""A word in the agent's ear, from outside the call's own stream: HandoffService.Whisper."""

from __future__ import annotations

from typing import Any

import grpc
from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork.handoff.v1 import handoff_pb2_grpc

SAID_SECONDS = 180.0  # with what was there before it


async def whisper(  # noqa: PLR0913 - the fields of the message
    orchestrator: grpc.aio.Channel,
    *,
    call_id: str = "",
    handoff_id: str = "",
    text: str = "",
    audio: bytes = b"",
    tenant: str = "",
) -> float:
    """Tells the agent who talks with the caller something; the caller hears none of it.

    One of `call_id` and `handoff_id`; one of `text` (1,000 characters) and `audio` (PCM_S16LE at
    8 kHz, 30 s). Returns how many seconds were said, when they have been; cancelled, it is silent
    at once. Raises grpc.aio.AioRpcError: the contract lists its codes; DEADLINE_EXCEEDED where
    nobody answers.
    """
    request = pb.WhisperRequest(tenant=tenant)
    if handoff_id:
        request.handoff_id = handoff_id
    else:
        request.call_id = call_id
    if audio:
        request.audio = audio
    else:
        request.text = text
    stub: Any = handoff_pb2_grpc.HandoffServiceStub(orchestrator)
    answer: pb.WhisperResponse = await stub.Whisper(request, timeout=SAID_SECONDS)
    return answer.lasted.ToNanoseconds() / 1e9
