"""One thing the AI says: the audio it has sent so far, and how much of it went out."""

from __future__ import annotations

from collections import deque

from siprec_worker.media.g711 import alaw_to_linear, ulaw_to_linear
from siprec_worker.media.model import AudioFormat, Encoding
from siprec_worker.media.rate import RateChanger

_SAMPLE = 2
_ENCODED = {24_000: 16_000}  # rates that no talk-back codec has, and what is made of them
_DELAY_SECONDS = 0.0027  # of the change: left out before the first sample, put behind the last
_FRAMES_PER_SECOND = 50
MAX_MARKS = 256


class _Change:
    """One utterance at another rate: as long as it was, without the filter's delay."""

    __slots__ = ("_changer", "_late", "_owed", "_rates")

    def __init__(self, from_rate: int, to_rate: int) -> None:
        self._rates = from_rate, to_rate
        self._changer = RateChanger(from_rate, to_rate)
        self._late = _SAMPLE * round(_DELAY_SECONDS * to_rate)  # bytes yet to be left out
        self._owed = 0  # samples at from_rate, times to_rate

    def changed(self, pcm: bytes, last: bool) -> bytes:
        from_rate, to_rate = self._rates
        self._owed += len(pcm) // _SAMPLE * to_rate
        if last:
            pcm += bytes(_SAMPLE * 2 * round(_DELAY_SECONDS * from_rate))
        pcm = self._changer.change(pcm)
        late, self._late = self._late, max(0, self._late - len(pcm))
        pcm = pcm[late : late + _SAMPLE * (self._owed // from_rate)]
        self._owed -= len(pcm) // _SAMPLE * from_rate
        return pcm


class Utterance:
    """A queue of 16-bit samples at the source's rate, or the nearest that can be encoded."""

    __slots__ = (
        "_at", "_change", "_marks", "_odd", "_pieces", "barge", "identifier", "last", "left",
        "played", "rate", "reported", "source", "started", "starved",
    )  # fmt: skip

    def __init__(self, identifier: str, source: AudioFormat, barge: int) -> None:
        self.identifier = identifier
        self.source = source
        self.rate = _ENCODED.get(source.sample_rate, source.sample_rate)
        self.barge = barge
        self.last = False  # nothing more will come
        self.started = False
        self.starved = False
        self.played = 0  # samples
        self.reported = 0  # ms that the last PROGRESS told
        self.left = 0  # bytes of PCM still to be played
        self._pieces: deque[bytes] = deque()
        self._at = 0  # bytes of the first piece that are gone
        self._odd = b""
        self._marks: deque[tuple[int, str]] = deque()  # (samples played by then, name)
        changed = self.rate != source.sample_rate
        self._change = _Change(source.sample_rate, self.rate) if changed else None

    @property
    def played_ms(self) -> int:
        return self.played * 1000 // self.rate

    @property
    def queued_ms(self) -> int:
        return self.left * 1000 // (_SAMPLE * self.rate)

    @property
    def frame_bytes(self) -> int:
        """20 ms of it."""
        return _SAMPLE * self.rate // _FRAMES_PER_SECOND

    def milliseconds(self, data: bytes) -> int:
        """How long a piece of the source lasts."""
        return len(data) * 1000 // (self.source.bytes_per_sample * self.source.sample_rate)

    def append(self, data: bytes) -> None:
        """Adds a piece in the source's encoding; half a sample waits for its other half."""
        match self.source.encoding:
            case Encoding.G711_ULAW:
                pcm = ulaw_to_linear(data)
            case Encoding.G711_ALAW:
                pcm = alaw_to_linear(data)
            case Encoding.PCM_S16LE:
                pcm = self._odd + data if self._odd else data
                self._odd = pcm[len(pcm) & ~1 :]
                if self._odd:
                    pcm = pcm[:-1]
        if self._change is not None:
            pcm = self._change.changed(pcm, self.last)
        if pcm:
            self._pieces.append(pcm)
            self.left += len(pcm)
            self.starved = False

    def take(self, size: int) -> bytes:
        """Up to `size` bytes of PCM, which count as played."""
        taken = []
        missing = min(size, self.left)
        self.left -= missing
        self.played += missing // _SAMPLE
        while missing:
            piece = self._pieces[0]
            part = piece[self._at : self._at + missing]
            taken.append(part)
            missing -= len(part)
            self._at += len(part)
            if self._at == len(piece):
                self._pieces.popleft()
                self._at = 0
        return b"".join(taken)

    def mark(self, name: str) -> bool:
        """Sets a mark behind what is queued now; false when there are too many."""
        if len(self._marks) >= MAX_MARKS:
            return False
        self._marks.append((self.played + self.left // _SAMPLE, name))
        return True

    def marks_reached(self) -> list[str]:
        reached = []
        while self._marks and self._marks[0][0] <= self.played:
            reached.append(self._marks.popleft()[1])
        return reached

    def marks_left(self) -> list[str]:
        """The marks of audio that will not be played any more."""
        left = [name for _, name in self._marks]
        self._marks.clear()
        return left
