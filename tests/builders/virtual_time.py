"""An event loop whose clock jumps to the next timer when nothing else is to be done."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable

_IDLE_SECONDS = 0.01  # real time, only while nothing at all is scheduled


class _JumpingSelector(selectors.SelectSelector):
    """Never waits for a timer: tells the loop instead how long it would have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.jumped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(_IDLE_SECONDS if timeout is None else 0)
        if not ready and timeout is not None and timeout > 0:
            self.jumped += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Starts at 1000 s; `time()` moves only by jumps."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return 1000.0 + self._jumping.jumped


class LoopClock:
    """Implements handoff.ports.Clock on the running loop, so that it jumps with it."""

    def now(self) -> float:
        return 1_800_000_000.0 + asyncio.get_running_loop().time()


async def eventually(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Returns once the condition holds. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - conditions of fakes make no events
            await asyncio.sleep(0.01)
