"""Who speaks when: WebRTC's voice detector over each leg's chunks, with hang-over.

The detector's C functions are called as they are: at 50 frames a second and leg, what webrtcvad has
around them counts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import _webrtcvad as _detect  # type: ignore[import-not-found]

from siprec_worker.media.decode import UNIT_RATE
from siprec_worker.media.g711 import alaw_to_linear, rms, ulaw_to_linear
from siprec_worker.media.level import rms_at
from siprec_worker.media.model import AudioFormat, Encoding, Speech
from siprec_worker.media.rate import RateChanger

AGGRESSIVENESS = 2  # of 0 to 3: noise of a telephone line passes for speech at 0 and 1
QUIET_DBM0 = -50.0
"""Nothing below is speech, whatever it sounds like: a far-away room, a line's hum."""
_QUIET_RMS = rms_at(QUIET_DBM0)
FRAME_UNITS = UNIT_RATE // 50
_is_speech = _detect.process
_LOOK_BACK, _ENOUGH = 5, 3  # speech has begun when 3 of the last 5 frames are voiced
HANG_OVER_MS = 400
_HANG_OVER = UNIT_RATE * HANG_OVER_MS // 1000
_STALE = FRAME_UNITS * _LOOK_BACK


class SpeechWatch:
    """Takes the chunks of one form of a call's audio."""

    def __init__(self, uplink: AudioFormat) -> None:
        self._uplink = uplink
        self._legs: dict[int, _Leg] = {}
        self.speaking = 0  # legs: while there are any, `idle` is to be asked

    def hear(self, handle: int, pts: int, data: bytes) -> Sequence[Speech]:
        """A chunk of a leg; its beginnings and ends of speech, usually none."""
        leg = self._legs.get(handle)
        if leg is None:
            leg = self._legs[handle] = _Leg(handle, self._uplink)
        news = leg.hear(pts, data)
        for speech in news:
            self.speaking += 1 if speech.started else -1
        return news

    def idle(self, position: int) -> list[Speech]:
        """Ends the speech of legs that have brought nothing for so long; ask once a tick."""
        news = [
            ended
            for leg in self._legs.values()
            if leg.speaking and (ended := leg.idle(position)) is not None
        ]
        self.speaking -= len(news)
        return news


class _Leg:
    __slots__ = (
        "_change", "_detector", "_frame_bytes", "_handle", "_linear", "_rate", "_recent",
        "_voiced_to", "speaking",
    )  # fmt: skip

    def __init__(self, handle: int, uplink: AudioFormat) -> None:
        self._handle = handle
        # The detector knows 8, 16, 32 and 48 kHz.
        awkward = uplink.sample_rate not in (8000, 16_000)
        self._change = RateChanger(uplink.sample_rate, 8000) if awkward else None
        self._rate = 8000 if awkward else uplink.sample_rate
        self._frame_bytes = 2 * self._rate // 50
        self._linear = self._to_linear(uplink.encoding)
        self._detector = _detect.create()
        _detect.init(self._detector)
        _detect.set_mode(self._detector, AGGRESSIVENESS)
        self._recent: deque[int] = deque(maxlen=_ENOUGH)  # where the last voiced frames began
        self._voiced_to = 0
        self.speaking = False

    def hear(self, pts: int, data: bytes) -> Sequence[Speech]:
        linear = self._linear
        pcm = data if linear is None else linear(data)
        size = self._frame_bytes
        if len(pcm) == size:
            told = self._frame(pts, pcm)
            return () if told is None else (told,)
        news = []
        for at in range(0, len(pcm) - size + 1, size):
            told = self._frame(pts, pcm[at : at + size])
            if told is not None:
                news.append(told)
            pts += FRAME_UNITS
        return news

    def idle(self, position: int) -> Speech | None:
        # Chunks come later than they were spoken, by the reorder buffer and their own length.
        return self._end() if position > self._voiced_to + _HANG_OVER + 2 * _STALE else None

    def _frame(self, pts: int, pcm: bytes) -> Speech | None:
        if rms(pcm) > _QUIET_RMS and _is_speech(self._detector, self._rate, pcm, len(pcm) // 2):
            self._recent.append(pts)
            self._voiced_to = pts + FRAME_UNITS
            begun = self._recent[0]
            if not self.speaking and len(self._recent) == _ENOUGH and pts - begun < _STALE:
                self.speaking = True
                return Speech(self._handle, True, begun)
        elif self.speaking and pts + FRAME_UNITS >= self._voiced_to + _HANG_OVER:
            return self._end()
        return None

    def _end(self) -> Speech:
        self.speaking = False
        self._recent.clear()
        return Speech(self._handle, False, self._voiced_to)

    def _to_linear(self, encoding: Encoding) -> Callable[[bytes], bytes] | None:
        match encoding:
            case Encoding.G711_ULAW:
                return ulaw_to_linear
            case Encoding.G711_ALAW:
                return alaw_to_linear
        return None if self._change is None else self._change.change
