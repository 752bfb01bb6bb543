"""Audio of one moment on its way to an AI, what becomes of it, and what a broken stream leaves.

Pure. A slot is what one tick brought; several go into one message under pressure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from siprec_worker.media.model import AudioFlag, Gap, GapCause, LegAudio
from siprec_worker.session.model import ToAgent

_MAX_GAPS = 64  # told one by one; beyond it they are told as one, the samples between included


@dataclass(frozen=True, slots=True)
class Chunk:
    """Legs that begin at `pts` and hold `ms` each."""

    pts: int
    legs: Sequence[LegAudio]
    ms: int

    @property
    def late(self) -> bool:
        return bool(self.legs[0].flags & AudioFlag.LATE)

    def replayed(self) -> Chunk:
        """The same, flagged LATE."""
        late = AudioFlag.LATE
        return replace(self, legs=[leg._replace(flags=leg.flags | late) for leg in self.legs])


def follows(chunk: Chunk, before: Chunk, rate: int) -> bool:
    """They may be one message: same legs, same truth about them, no sample between.

    What is replayed stays as it was cut: the AI knows by whole messages what it has already.
    """
    return (
        chunk.pts == before.pts + before.ms * rate // 1000
        and not chunk.late
        and [(leg.handle, leg.flags) for leg in chunk.legs]
        == [(leg.handle, leg.flags) for leg in before.legs]
    )


def head_of(queue: Iterable[object], most_ms: int, rate: int) -> tuple[list[Chunk], bool]:
    """The chunks that begin the queue and may be one message of `most_ms`; True: it may yet fill.

    At least one, whatever its length. The first in the queue is a chunk.
    """
    run: list[Chunk] = []
    ms = 0
    for item in queue:
        if not isinstance(item, Chunk):
            return run, False
        if run and (ms + item.ms > most_ms or not follows(item, run[-1], rate)):
            return run, False
        run.append(item)
        ms += item.ms
    return run, ms < most_ms and not run[-1].late


def joined(chunks: Sequence[Chunk]) -> Chunk:
    """One chunk of several of which each follows the one before."""
    first = chunks[0]
    if len(chunks) == 1:
        return first
    legs = [
        leg._replace(data=b"".join(chunk.legs[place].data for chunk in chunks))
        for place, leg in enumerate(first.legs)
    ]
    return Chunk(first.pts, legs, sum(chunk.ms for chunk in chunks))


@dataclass(frozen=True, slots=True)
class Backlog:
    """What the AI may not have of a broken stream, in order, and how the stream is named to it."""

    token: str
    acked_seq: int
    items: Sequence[Chunk | ToAgent]

    @property
    def audio_ms(self) -> int:
        return sum(item.ms for item in self.items if isinstance(item, Chunk))


class ShedGaps:
    """What was dropped and is not told yet: `waiting`, which every message looks at."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting: list[Gap] = []

    def __iter__(self) -> Iterator[Gap]:
        return iter(self.waiting)

    def __len__(self) -> int:
        return len(self.waiting)

    def add(self, chunk: Chunk, rate: int, cause: GapCause) -> None:
        end = chunk.pts + chunk.ms * rate // 1000
        for leg in chunk.legs:
            self._extend(Gap(leg.handle, chunk.pts, end, cause))

    def _extend(self, gap: Gap) -> None:
        for place in range(len(self.waiting) - 1, -1, -1):
            told = self.waiting[place]
            if told.leg == gap.leg:
                full = len(self.waiting) >= _MAX_GAPS
                if (told.to_pts == gap.from_pts and told.cause == gap.cause) or full:
                    self.waiting[place] = replace(told, to_pts=gap.to_pts)
                    return
                break
        self.waiting.append(gap)

    def pop(self) -> Gap:
        """The oldest."""
        return self.waiting.pop(0)

    def take(self) -> list[Gap]:
        gaps, self.waiting = self.waiting, []
        return gaps

    def keep(self, gaps: Sequence[Gap]) -> None:
        self.waiting = list(gaps)
