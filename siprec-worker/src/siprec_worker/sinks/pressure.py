"""How far an AI is behind, and how large its audio messages are because of it.

Pure. Above half of the limit messages grow, in stages, to 2, 3 and 5 slots: at most 200 ms, the
contract's largest, and an eighth of the limit. They are back to one slot when no more than a
quarter is un-acked. Between these marks nothing changes, so that acknowledgements, which come by
the half second, do not make it go up and down.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

_LARGEST_MS = 200
_STAGES = ((1 / 2, 2), (5 / 8, 3), (3 / 4, 5))  # share of the limit, slots in a message
_LARGEST_SHARE = 1 / 8  # of the limit
_RELIEVED = 1 / 4
_NOT_SHEDDING = 3 / 4


class Level(IntEnum):
    """The values of voicefork.agent.v1.Pressure.Level."""

    NONE = 1
    LARGER_CHUNKS = 2
    SHEDDING = 3


@dataclass(frozen=True, slots=True)
class Pressure:
    """What the AI is told of it. `shed_ms` counts since the stream began."""

    level: Level
    unacked_ms: int
    shed_ms: int
    chunk_ms: int


class Gauge:
    """One stream's pressure; `limit_ms` is what may be un-acked, `slot_ms` what one chunk holds."""

    __slots__ = ("_limit_ms", "_slot_ms", "_stages", "chunk_ms", "level")

    def __init__(self, limit_ms: int, slot_ms: int) -> None:
        self._limit_ms, self._slot_ms = limit_ms, slot_ms
        self._stages = [
            (share * limit_ms, slots * slot_ms)
            for share, slots in _STAGES
            if slots * slot_ms <= min(_LARGEST_MS, limit_ms * _LARGEST_SHARE)
        ]
        self.level = Level.NONE
        self.chunk_ms = slot_ms  # what a message holds now

    @property
    def calm_ms(self) -> int:
        """Up to so much un-acked nothing changes; below 0 under pressure."""
        return self._limit_ms // 2 if self.level is Level.NONE else -1

    def weigh(self, unacked_ms: int, *, shed: bool = False) -> bool:
        """True when level or size changed, and the AI is to be told."""
        before = (self.level, self.chunk_ms)
        if shed:
            self.level = Level.SHEDDING
            self.chunk_ms = self._stages[-1][1] if self._stages else self._slot_ms
        elif unacked_ms <= self._limit_ms * _RELIEVED:
            self.level, self.chunk_ms = Level.NONE, self._slot_ms
        else:
            sizes = [size for above_ms, size in self._stages if unacked_ms > above_ms]
            self.chunk_ms = max(self.chunk_ms, *sizes) if sizes else self.chunk_ms
            calmer = self.level is Level.SHEDDING and unacked_ms <= self._limit_ms * _NOT_SHEDDING
            if self.level is Level.NONE or calmer:
                grown = self.chunk_ms > self._slot_ms
                self.level = Level.LARGER_CHUNKS if grown else Level.NONE
        return before != (self.level, self.chunk_ms)
