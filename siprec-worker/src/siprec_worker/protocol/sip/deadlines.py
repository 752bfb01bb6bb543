"""Which of many timed objects wants to be woken next."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Deadlines(Generic[Key]):
    """Wake-up times by key, earliest first. An overtaken time is left in the heap until it is due
    (or until such leftovers are the most of it), which keeps setting one cheap.
    """

    def __init__(self) -> None:
        self._times: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._count = 0

    def set(self, key: Key, when: float | None) -> None:
        """Replaces the key's time; None takes it out."""
        if when is None:
            self._times.pop(key, None)
        elif self._times.get(key) != when:
            self._times[key] = when
            self._push(key, when)
        if len(self._heap) > 64 + 4 * len(self._times):
            self._heap.clear()
            for kept, time in self._times.items():
                self._push(kept, time)

    def _push(self, key: Key, when: float) -> None:
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, key))

    def earliest(self) -> float | None:
        while self._heap and self._times.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> Iterator[Key]:
        """Takes out and returns the keys whose time has come."""
        while (when := self.earliest()) is not None and when <= now:
            key = heapq.heappop(self._heap)[2]
            del self._times[key]
            yield key
