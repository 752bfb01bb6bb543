"""HandoffService.Whisper: what it may hold, and whom it reaches."""

from __future__ import annotations

from google.protobuf import duration_pb2
from voicefork.handoff.v1 import handoff_pb2 as pb

from orchestrator.api.handoff_wire import ID_CHARACTERS, InvalidRequest
from orchestrator.handoff.ports import Sound
from orchestrator.handoff.registry import Registry
from orchestrator.model import BRIEFING_AUDIO_BYTES, CallId, HandoffId

TEXT_CHARACTERS = 1000
_RATE = 8000  # of `audio`


async def whisper(
    registry: Registry, tenant: str, request: pb.WhisperRequest
) -> pb.WhisperResponse:
    """Returns when it has been said. `tenant`: where the request names none.

    Raises InvalidRequest, Refused.
    """
    if wrong := _wrong(request):
        raise InvalidRequest(wrong)
    tenant = request.tenant or tenant
    handoff = HandoffId(request.handoff_id)
    if request.call_id:
        latest, _ = await registry.get_of_call(CallId(request.call_id), tenant)
        handoff = latest.handoff_id
    said = Sound(request.audio, _RATE) if request.audio else request.text
    sound = await registry.whisper(handoff, said, tenant)
    lasted = duration_pb2.Duration()
    lasted.FromMilliseconds(round(sound.seconds * 1000))
    return pb.WhisperResponse(lasted=lasted)


def _wrong(request: pb.WhisperRequest) -> list[tuple[str, str]]:
    """(field, what is wrong with it)"""
    wrong = [
        (field, f"at most {ID_CHARACTERS} characters")
        for field in ("handoff_id", "call_id", "tenant")
        if len(getattr(request, field)) > ID_CHARACTERS
    ]
    if not (request.handoff_id or request.call_id):
        wrong.append(("which", "handoff_id or call_id is required"))
    if not (request.text.strip() or request.audio):
        wrong.append(("said", "text or audio is required"))
    if len(request.text) > TEXT_CHARACTERS:
        wrong.append(("text", f"at most {TEXT_CHARACTERS} characters"))
    if len(request.audio) > BRIEFING_AUDIO_BYTES:
        wrong.append(("audio", f"at most {BRIEFING_AUDIO_BYTES} bytes"))
    if len(request.audio) % 2:
        wrong.append(("audio", "half a sample"))
    return wrong
