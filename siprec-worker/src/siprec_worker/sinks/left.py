"""What a stream leaves to another worker's: messages as they were, or would have been, written.

Bounded: beyond MAX_BYTES the oldest audio stays behind, and is told as Gap RESUME_TOO_OLD.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import structlog
from google.protobuf.message import DecodeError
from voicefork.agent.v1 import agent_pb2 as pb

from siprec_worker.media.model import AudioFormat, GapCause, LegAudio
from siprec_worker.session.model import Repeated, ToAgent
from siprec_worker.sinks import wire
from siprec_worker.sinks.agreed_form import bytes_per_ms
from siprec_worker.sinks.audio_wire import AudioWriter
from siprec_worker.sinks.waiting_audio import Chunk, ShedGaps

log = structlog.get_logger(__name__)

MAX_BYTES = 1_000_000  # of audio: 10 s of two legs of 16-bit samples at 24 kHz
MAX_MESSAGES = 4096


def write_left(items: Sequence[Chunk | ToAgent], rate: int) -> tuple[bytes, ...]:
    """Serialised ConverseRequests without a number; `rate` in Hz is that of the positions."""
    too_much = sum(_size(item) for item in items) - MAX_BYTES
    writer, behind = AudioWriter(), ShedGaps()
    written: list[bytes] = []
    for item in items:
        if not isinstance(item, Chunk):
            written.append(wire.write_request(0, item))
        elif too_much > 0:
            too_much -= _size(item)
            behind.add(item, rate, GapCause.RESUME_TOO_OLD)
        else:
            written.append(b"".join(writer.pieces(0, item.pts, item.legs)[1]))
    gaps = [wire.write_request(0, gap) for gap in behind]
    return (*gaps, *written)


def read_left(messages: Iterable[bytes], uplink: AudioFormat) -> list[Chunk | ToAgent]:
    """To be said again, in order. What is no ConverseRequest is left out: it would end the call."""
    found: list[Chunk | ToAgent] = []
    for body in messages:
        try:
            request = pb.ConverseRequest.FromString(body)
        except DecodeError:
            log.warning("unreadable message of another worker", bytes=len(body))
            continue
        kind = request.WhichOneof("message")
        if kind == "audio":
            if chunk := _chunk(request.audio, uplink):
                found.append(chunk)
        elif kind is not None and kind not in _NOT_TO_BE_REPEATED:
            found.append(Repeated(body))
    return found[-MAX_MESSAGES:]


_NOT_TO_BE_REPEATED = frozenset({"open", "close", "ack", "pressure"})


def _size(item: object) -> int:
    return sum(len(leg.data) for leg in item.legs) if isinstance(item, Chunk) else 0


def _chunk(audio: pb.Audio, uplink: AudioFormat) -> Chunk | None:
    legs = [LegAudio(leg.handle, leg.data, leg.flags) for leg in audio.legs]
    ms = len(legs[0].data) // bytes_per_ms(uplink) if legs else 0
    return Chunk(audio.pts, legs, ms) if ms else None
