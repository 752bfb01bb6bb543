"""A leg's samples cut into slots of chunk_ms, on the grid all legs of the call share."""

from __future__ import annotations

from collections import deque

from siprec_worker.media.model import AudioFlag, Dtmf, Gap, GapCause

LegEvent = Gap | Dtmf
Slot = tuple[int, bytes | None, int, LegEvent | None]
"""(pts, audio, flags, None) or (pts, None, 0, event), in the order to be sent."""


class ChunkGrid:
    """Takes audio and holes of any length, gives whole slots.

    `start` is where the unfinished slot begins, `part` what it already has, `ready` the finished
    ones; the track's fast path moves `start` and fills `ready` itself while `part` is empty.
    A muted grid only keeps the position.
    """

    __slots__ = (
        "_flags",
        "_gaps",
        "_handle",
        "chunk_bytes",
        "chunk_samples",
        "muted",
        "part",
        "ready",
        "sample_bytes",
        "silence",
        "start",
    )

    def __init__(self, handle: int, chunk_samples: int, silence: bytes) -> None:
        """`silence` is one sample of it in the uplink's encoding."""
        self._handle = handle
        self.silence = silence
        self.sample_bytes = len(silence)
        self._flags = 0
        self._gaps: list[Gap] = []  # inside the unfinished slot: told behind it
        self.chunk_samples = chunk_samples
        self.chunk_bytes = chunk_samples * len(silence)
        self.muted = True
        self.start = 0
        self.part = b""
        self.ready: deque[Slot] = deque()

    @property
    def frontier(self) -> int:
        """The pts of the next sample."""
        return self.start + len(self.part) // self.sample_bytes

    def mute(self, muted: bool) -> None:
        """A muted grid forgets what it has and keeps no more."""
        if muted:
            self.ready.clear()
            self._gaps.clear()
        elif self.muted and self.part:
            self._flags = int(AudioFlag.CONCEALED)  # the slot's beginning was not kept
        self.muted = muted

    def append(self, audio: bytes) -> None:
        """Audio that follows what came before, in the uplink's encoding."""
        part = self.part + audio if self.part else audio
        size = self.chunk_bytes
        while len(part) >= size:
            self._finish(part[:size])
            part = part[size:]
        self.part = part

    def conceal(self, audio: bytes) -> None:
        """Audio that was made up for what was lost: its slots say so."""
        while audio:
            room = self.chunk_bytes - len(self.part)
            self._flags |= int(AudioFlag.CONCEALED)
            self.append(audio[:room])
            audio = audio[room:]

    def skip(self, samples: int, cause: GapCause, packets: int = 0) -> None:
        """`samples` that will not come: a Gap, and silence only where a slot has audio as well.

        None: `packets` had no place here.
        """
        begin = self.frontier
        end = begin + samples
        gap = Gap(self._handle, begin, end, cause, packets)
        if not samples:
            if not self.part:
                self.tell(gap)
            elif not self.muted:
                self._gaps.append(gap)
            return
        flag = int(
            AudioFlag.COMFORT_NOISE
            if cause is GapCause.SILENCE_SUPPRESSED
            else AudioFlag.CONCEALED
        )  # fmt: skip
        if self.part:
            fill = min(samples, self.start + self.chunk_samples - begin)
            self._flags |= flag
            self._gaps.append(gap)
            self.append(self.silence * fill)
        else:
            self.tell(gap)
        if self.part or end <= self.start:
            return
        self.start = end - end % self.chunk_samples
        if end > self.start:
            self.part = self.silence * (end - self.start)
            self._flags |= flag

    def tell(self, event: LegEvent) -> None:
        """An event at the place reached."""
        if not self.muted:
            self.ready.append((self.start, None, 0, event))

    def _finish(self, audio: bytes) -> None:
        if not self.muted:
            self.ready.append((self.start, audio, self._flags, None))
            for gap in self._gaps:
                self.ready.append((gap.from_pts, None, 0, gap))
        self._gaps.clear()
        self._flags = 0
        self.start += self.chunk_samples
