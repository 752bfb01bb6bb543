"""Takes back the caller whom a queue gave up: a new handoff goes on with the old one's ways out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from orchestrator.errors import StoreError
from orchestrator.handoff.causes import outcome_of_queue
from orchestrator.handoff.machine import begin
from orchestrator.handoff.ports import Created, Ports, Record
from orchestrator.handoff.roster import Roster
from orchestrator.handoff.runner import HandoffRunner
from orchestrator.handoff.state import Request, State
from orchestrator.model import BridgeId, ChannelId, Context, HandoffId, Outcome

log = logging.getLogger(__name__)

STORE_SECONDS = 0.5  # the caller hears music meanwhile


@dataclass(frozen=True, slots=True)
class Comebacks:
    """Of this replica, whichever replica sent the caller into the queue."""

    roster: Roster
    ports: Ports
    new_id: Callable[[], HandoffId]

    async def take(self, handoff: HandoffId, tenant: str, caller: ChannelId, status: str) -> bool:
        """`status`: Asterisk's QUEUESTATUS. False: no such handoff left this caller in a queue."""
        known = await self._find(handoff, tenant)
        if known is None or known[0].outcome is not Outcome.QUEUED:
            return False
        before, context = known
        if before.request.caller != caller:
            return False
        state = begin(self._request(before, status), self.ports.clock.now())
        stored = await self._create(Record(state, context, ""))
        runner = HandoffRunner(state, context, self.ports, stored=stored)
        self.roster.launch(runner, "", self.roster.of_call(before.request.call_id))
        return True

    async def _find(self, handoff: HandoffId, tenant: str) -> tuple[State, Context] | None:
        if (here := self.roster.queued(handoff)) is not None:
            return here
        try:
            async with asyncio.timeout(STORE_SECONDS):
                return await self.ports.store.load(tenant, handoff)
        except (StoreError, TimeoutError) as error:
            log.warning("handoff %s is not to be had: %s", handoff, error or "store timed out")
            return None

    def _request(self, before: State, status: str) -> Request:
        """The ways that are left; the bot is gone, and with it the way back to it."""
        request, new = before.request, self.new_id()
        return replace(
            request,
            handoff_id=new,
            request_id=f"{request.request_id}~{new}",
            place=replace(request.place, bot=ChannelId(""), bridge=BridgeId("")),
            plan=replace(request.plan, fallbacks=before.ways, freeze_bot=False),
            say_first="",
            leftovers=(),
            came_back=outcome_of_queue(status),
        )

    async def _create(self, record: Record) -> bool:
        try:
            async with asyncio.timeout(STORE_SECONDS):
                return isinstance(await self.ports.store.create(record), Created)
        except (StoreError, TimeoutError) as error:
            self.ports.tally.count("handoff_creates_unstored")
            log.warning("handoff is not durable: %s", error or "store timed out")
            return False
