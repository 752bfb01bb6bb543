"""RTP timestamps of any clock on the call's clock of 1/8000 s."""

from __future__ import annotations

UNIT_RATE = 8000
_TIMESTAMPS = 1 << 32


class UnitClock:
    """One RTP clock of one leg. Wraps are followed; results wrap at 2**32 as timestamps do."""

    __slots__ = ("_last", "_ticks", "rate")

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._last = 0
        self._ticks = 0

    def units(self, timestamp: int) -> int:
        """Where a timestamp lies; the next one is taken to be within half the range of it."""
        self._ticks += signed(timestamp - self._last)
        self._last = timestamp
        return self._ticks * UNIT_RATE // self.rate % _TIMESTAMPS

    def look(self, timestamp: int) -> int:
        """As `units`, of a packet that is not the stream's next."""
        ticks = self._ticks + signed(timestamp - self._last)
        return ticks * UNIT_RATE // self.rate % _TIMESTAMPS


def signed(difference: int) -> int:
    """A difference of timestamps modulo 2**32 as the nearer of its two values."""
    return (difference + (1 << 31)) % _TIMESTAMPS - (1 << 31)
