"""The latest of many names: what is remembered of channels and bridges whose end is not told."""

from __future__ import annotations

MOST = 10_000


class Recent:
    """A set of at most `most` names: the one that came first is forgotten first."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._names: dict[str, None] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def add(self, name: str) -> None:
        self._names[name] = None
        if len(self._names) > self._most:
            del self._names[next(iter(self._names))]

    def discard(self, name: str) -> None:
        self._names.pop(name, None)

    def clear(self) -> None:
        self._names.clear()
