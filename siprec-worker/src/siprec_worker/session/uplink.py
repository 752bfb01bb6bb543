"""Positions of the call on their way to an AI whose audio has another rate than 8 kHz."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from siprec_worker.media.model import AudioFormat, Dtmf, Gap, LegAudio, Speech
from siprec_worker.session.model import ClockAnchor, Close, PartyChange, ToAgent
from siprec_worker.session.ports import AgentStream


class ScaledStream:
    """An AgentStream that is told positions in 1/8000 s and tells them in samples."""

    def __init__(self, stream: AgentStream, factor: int) -> None:
        self._stream = stream
        self._factor = factor

    def send_audio(self, pts: int, legs: Sequence[LegAudio]) -> None:
        self._stream.send_audio(pts * self._factor, legs)

    def send(self, message: ToAgent) -> None:
        factor = self._factor
        match message:
            case Gap(_, start, end):
                message = replace(message, from_pts=start * factor, to_pts=end * factor)
            case Dtmf() | Speech() | ClockAnchor() | PartyChange():
                message = replace(message, pts=message.pts * factor)
        self._stream.send(message)

    def close(self, close: Close) -> None:
        self._stream.close(close)

    def abandon(self) -> None:
        self._stream.abandon()

    @property
    def outstanding(self) -> tuple[int, int]:
        return self._stream.outstanding

    def left(self) -> tuple[bytes, ...]:
        return self._stream.left()


def in_samples_of(uplink: AudioFormat, stream: AgentStream) -> AgentStream:
    """The stream as the call may use it."""
    return stream if uplink.pts_factor == 1 else ScaledStream(stream, uplink.pts_factor)
