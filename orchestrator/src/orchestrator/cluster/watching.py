"""Keeps the list of the workers' pods: listed, then watched, and listed anew after every break."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Protocol

import structlog

from orchestrator.cluster.slices import MAX_SLICES, Change, Endpoint, Listing, Slice, merged
from orchestrator.errors import ClusterError, ClusterExpired

log = structlog.stdlib.get_logger(__name__)

RESYNC_SECONDS = 30.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0


class SliceSource(Protocol):
    """Where slices come from. Both raise ClusterError; ClusterExpired: list anew at once."""

    async def list_slices(self) -> Listing: ...

    def watch_slices(self, version: str, seconds: float) -> AsyncIterator[Change]:
        """Changes since `version`; ends by itself after about `seconds`."""
        ...


class Watching:
    """What the cluster said last. While it is away, that stays in force."""

    def __init__(self, source: SliceSource, failed: Callable[[], None]) -> None:
        self._source = source
        self._failed = failed
        self._slices: dict[str, Slice] = {}
        self._pods: Mapping[str, Endpoint] = {}
        self.current = False

    @property
    def pods(self) -> Mapping[str, Endpoint]:
        """By name, as last told."""
        return self._pods

    async def run(self) -> None:
        """Until cancelled; raises nothing else that the cluster could cause."""
        pause = FIRST_PAUSE
        while True:
            try:
                await self.follow()
                pause = FIRST_PAUSE
            except ClusterExpired:  # our place in its history is forgotten: usual
                self.current = False
                await asyncio.sleep(FIRST_PAUSE)
            except ClusterError as error:
                if self.current or pause == FIRST_PAUSE:
                    log.warning("the cluster does not tell of workers", error=str(error))
                self.current = False
                self._failed()
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(2 * pause, LONGEST_PAUSE)

    async def follow(self) -> None:
        """One list and the watch after it, both together the resync. Raises ClusterError."""
        listing = await self._source.list_slices()
        self._slices = {each.name: each for each in listing.slices[:MAX_SLICES]}
        self._told()
        async for change in self._source.watch_slices(listing.version, RESYNC_SECONDS):
            if change.gone:
                self._slices.pop(change.slice.name, None)
            elif change.slice.name in self._slices or len(self._slices) < MAX_SLICES:
                self._slices[change.slice.name] = change.slice
            self._told()

    def _told(self) -> None:
        self._pods = merged(self._slices.values())
        self.current = True
