"""The clock of the handoffs: seconds since the epoch that never step back within a process."""

from __future__ import annotations

import time


class SteadyClock:
    """Wall time at its birth, monotonic from there: comparable across machines as far as NTP is."""

    def __init__(self) -> None:
        self._epoch = time.time() - time.monotonic()

    def now(self) -> float:
        return self._epoch + time.monotonic()
