"""Writes a handoff's revisions to the store, and never lets a slow store slow the handoff.

A write is waited for at most WRITE_SECONDS. Once one has failed, the handoff goes on in memory and
the latest state, with every view since, is written in the background until the store has it.
"""

from __future__ import annotations

import asyncio
import logging

from orchestrator.errors import StoreError
from orchestrator.handoff.cancellation import heed_cancellation
from orchestrator.handoff.owed import NOTHING, Owed
from orchestrator.handoff.ports import Fenced, Store, Tally
from orchestrator.handoff.state import State, view
from orchestrator.model import Context, Handoff

log = logging.getLogger(__name__)

WRITE_SECONDS = 0.1
RETRY_SECONDS = 0.5
LAST_TRIES = 4
HISTORY = 512  # views kept for a store that is away; a handoff makes a few dozen


class Journal:
    """One handoff's way into the store. `stored` is False when even its creation failed."""

    def __init__(
        self, store: Store, tally: Tally, state: State, context: Context, *, stored: bool
    ) -> None:
        self._store = store
        self._tally = tally
        self._latest = state
        self._stored_revision = state.revision if stored else 0
        self._pending: list[Handoff] = [] if stored else [view(state)]
        self._context = None if stored else context
        self._owed = NOTHING
        self._behind = asyncio.Event()
        self._writing = asyncio.Lock()
        if not stored:
            self._behind.set()

    def context_changed(self, context: Context) -> None:
        """Goes with the next write."""
        self._context = context

    def write_again(self, context: Context) -> None:
        """The store has lost its memory."""
        self._context = context
        self._pending.append(view(self._latest))
        self._behind.set()

    async def write(self, state: State, owed: Owed = NOTHING) -> None:
        """Returns when it is stored, or at once or after the limit when it cannot be.

        Raises Fenced: another replica has the handoff.
        """
        self._latest, self._owed = state, owed
        self._pending.append(view(state))
        if len(self._pending) > HISTORY:
            del self._pending[0]
            self._tally.count("handoff_history_dropped")
        if self._behind.is_set():
            self._tally.count("handoff_writes_deferred")
            return
        await self._flush()

    async def keep_up(self) -> None:
        """Writes later what could not be written; runs as long as the handoff does."""
        while True:
            heed_cancellation()
            await self._behind.wait()
            await asyncio.sleep(RETRY_SECONDS)
            await self._flush()

    async def close(self) -> None:
        """A last effort for what is not stored yet."""
        for _ in range(LAST_TRIES):
            if not self._pending:
                return
            await self._flush()
            if self._pending:
                await asyncio.sleep(RETRY_SECONDS)
        if self._pending:
            self._tally.count("handoff_writes_lost")
            log.warning("handoff %s ends unwritten", self._latest.request.handoff_id)

    async def _flush(self) -> None:
        async with self._writing:
            state, views, context = self._latest, tuple(self._pending), self._context
            owed = self._owed
            if not views:
                self._behind.clear()
                return
            try:
                async with asyncio.timeout(WRITE_SECONDS):
                    await self._store.save(state, views, self._stored_revision, context, owed)
            except Fenced:
                raise
            except (StoreError, TimeoutError) as error:
                if not self._behind.is_set():
                    log.warning("store is away, going on in memory: %s", error)
                self._tally.count("handoff_writes_failed")
                self._behind.set()
                return
            self._stored_revision = state.revision
            if self._context is context:
                self._context = None
            self._pending = [late for late in self._pending if late.revision > state.revision]
            if not self._pending:
                self._behind.clear()
