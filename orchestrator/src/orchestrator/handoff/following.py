"""Handoffs as they are told outside: of this replica from memory, of the others from the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from orchestrator.errors import StoreError
from orchestrator.handoff.ports import Ports
from orchestrator.handoff.refusals import UnknownHandoff
from orchestrator.handoff.roster import Roster
from orchestrator.handoff.runner import HandoffRunner
from orchestrator.handoff.state import view
from orchestrator.model import CallId, Context, Handoff, HandoffId

LOAD_SECONDS = 1.0
FOLLOW_SECONDS = 1.0
HISTORY_SECONDS = 0.01  # of what is stored already; Redis reads 0 as for ever


class Following:
    """Part of handoff.registry.Registry."""

    _ports: Ports
    _roster: Roster

    async def get(self, handoff: HandoffId, tenant: str = "") -> tuple[Handoff, Context]:
        """As it stands now. Raises UnknownHandoff."""
        if (runner := self._roster.live(handoff)) is not None:
            return view(runner.state), runner.context
        ended = self._roster.known(handoff)
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                loaded = await self._ports.store.load(ended.tenant if ended else tenant, handoff)
        except (StoreError, TimeoutError):
            loaded = None
        if loaded is not None:
            return view(loaded[0]), loaded[1]
        if ended is not None:
            return ended, Context()
        raise UnknownHandoff(f"no handoff {handoff}")

    async def get_of_call(self, call: CallId, tenant: str = "") -> tuple[Handoff, Context]:
        """The latest handoff of the call. Raises UnknownHandoff."""
        handoff = self._roster.latest(call)
        if handoff is None:
            try:
                async with asyncio.timeout(LOAD_SECONDS):
                    handoff = await self._ports.store.latest_of_call(tenant, call)
            except (StoreError, TimeoutError):
                handoff = None
        if handoff is None:
            raise UnknownHandoff(f"no handoff of call {call}")
        return await self.get(handoff, tenant)

    async def follow(
        self, handoff: HandoffId, after: int, tenant: str = ""
    ) -> AsyncIterator[Handoff]:
        """Every change with a revision above `after`, in order, until nothing changes any more.

        A live handoff is followed in memory, another one in the store. Raises UnknownHandoff,
        StoreError.
        """
        if (runner := self._roster.live(handoff)) is not None:
            async for change in self._before(runner, after):
                after = change.revision
                yield change
            async for change in runner.follow(after):
                yield change
            return
        last, _ = await self.get(handoff, tenant)
        while True:
            changes = await self._ports.store.history(last.tenant, handoff, after, FOLLOW_SECONDS)
            for change in changes:
                after = change.revision
                yield change
                if change.settled:
                    return
            if not changes and last.settled:
                return

    async def _before(self, runner: HandoffRunner, after: int) -> AsyncIterator[Handoff]:
        """What happened to a handoff before it was adopted; nothing when the store is away."""
        request, first = runner.state.request, runner.first_revision
        if after + 1 >= first:
            return
        try:
            past = await self._ports.store.history(
                request.place.tenant, request.handoff_id, after, HISTORY_SECONDS
            )
        except StoreError:
            return
        for change in past:
            if change.revision < first:
                yield change
