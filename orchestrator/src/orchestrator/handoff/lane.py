"""One lane of a handoff's effects: performed one after the other, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Generic, TypeVar

from orchestrator.handoff.cancellation import heed_cancellation
from orchestrator.handoff.ports import Tally

T = TypeVar("T")

CAPACITY = 256  # a whole handoff makes a few dozen effects


class EffectLane(Generic[T]):
    """A bounded queue and its consumer. `perform` must turn its failures into events itself."""

    def __init__(self, name: str, perform: Callable[[T], Awaitable[None]], tally: Tally) -> None:
        self._name = name
        self._perform = perform
        self._tally = tally
        self._queue: asyncio.Queue[T] = asyncio.Queue(CAPACITY)
        self.owed = 0

    def put(self, effect: T) -> None:
        """Drop policy: a full lane refuses the newest, counted: no handoff makes that many."""
        try:
            self._queue.put_nowait(effect)
        except asyncio.QueueFull:
            self._tally.count(f"handoff_{self._name}_effects_dropped")
            return
        self.owed += 1

    async def run(self) -> None:
        while True:
            heed_cancellation()
            effect = await self._queue.get()
            try:
                await self._perform(effect)
            finally:
                self.owed -= 1
                self._queue.task_done()

    async def drained(self) -> None:
        """Returns when everything put so far has been performed."""
        await self._queue.join()

    async def goes_first(self, seconds: float) -> None:
        """Returns when it is drained, or that much later: another lane's turn."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.drained()
