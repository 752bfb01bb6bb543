"""Which number a caller's channel has: for the routes, and for nothing that is written anywhere."""

from __future__ import annotations

from collections import OrderedDict

MOST = 10_000


class Callers:
    """By channel id; the oldest go when there are too many."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._numbers: OrderedDict[str, str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._numbers)

    def note(self, channel_id: str, number: str) -> None:
        if number:
            self._numbers[channel_id] = number
            if len(self._numbers) > self._most:
                self._numbers.popitem(last=False)

    def forget(self, channel_id: str) -> None:
        self._numbers.pop(channel_id, None)

    def number(self, channel_id: str) -> str:
        """Empty where it is withheld or not known."""
        return self._numbers.get(channel_id, "")
