"""One thing the AI says: the audio it has sent so far, and how much of it went out."""

from __future__ import annotations

from collections import deque

from siprec_worker.media.g711 import alaw_to_linear, ulaw_to_linear
from siprec_worker.media.model import AudioFormat, Encoding

_SAMPLE = 2
_FRAMES_PER_SECOND = 50
MAX_MARKS = 256


class Utterance:
    """A queue of 16-bit samples at the source's rate."""

    __slots__ = (
        "_at", "_marks", "_odd", "_pieces", "barge", "identifier", "last", "left", "played",
        "rate", "reported", "source", "started", "starved",
    )  # fmt: skip

    def __init__(self, identifier: str, source: AudioFormat, barge: int) -> None:
        self.identifier = identifier
        self.source = source
        self.rate = source.sample_rate
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
        return len(data) * 1000 // (self.source.bytes_per_sample * self.rate)

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
