"""Which replica has a call: ours, another one's, or one's that is just being adopted."""

from __future__ import annotations

import asyncio

import structlog
from voicefork.worker.v1 import worker_pb2

from orchestrator.errors import PeerError, StoreError
from orchestrator.fleet.book import CallBook
from orchestrator.fleet.calls import Calls
from orchestrator.fleet.peers import Peers
from orchestrator.fleet.tenure import Tenure
from orchestrator.handoff.registry import Registry
from orchestrator.model import CallId, HandoffId

log = structlog.stdlib.get_logger(__name__)

ADOPTION_SECONDS = 4.0
_LOOK_SECONDS = 0.05


class Whereabouts:
    """Asks memory first, then Redis. Never raises: who cannot be found is taken as ours."""

    def __init__(  # noqa: PLR0913, PLR0917 - all that may know a call
        self,
        calls: Calls,
        handoffs: Registry,
        book: CallBook,
        tenure: Tenure,
        peers: Peers,
        tenant: str,
    ) -> None:
        self._calls = calls
        self._handoffs = handoffs
        self._book = book
        self._tenure = tenure
        self._peers = peers
        self._tenant = tenant

    def is_here(self, call: CallId) -> bool:
        return self._calls.view(call) is not None or self._handoffs.in_progress(call) is not None

    async def elsewhere(self, call: CallId) -> str | None:
        """The gRPC address of the other replica that has the call; None = it is ours, or nobody's.

        It may be dead: then its call comes to us or to a third one soon.
        """
        if self.is_here(call):
            return None
        try:
            app = await self._book.owner(call)
        except StoreError as error:
            log.debug("owner of a call is not known", error=str(error))
            return None
        holder = self._tenure.others.get(app or "")
        return None if holder is None or app == self._tenure.app else holder.address

    async def pass_on(self, address: str, report: worker_pb2.ReportRequest) -> str:
        """A worker's report, to the replica there. Raises PeerError."""
        return await self._peers.report(address, report)

    async def call_of(self, handoff: HandoffId) -> CallId | None:
        """Whose handoff it is, by memory or store."""
        try:
            return (await self._handoffs.get(handoff, self._tenant))[0].call_id
        except PeerError:
            return None

    async def settled(self, call: CallId, dead: str) -> str | None:
        """Waits while the replica at `dead` is being buried; as `elsewhere`, then."""
        address: str | None = dead
        try:
            async with asyncio.timeout(ADOPTION_SECONDS):
                while address == dead:
                    await asyncio.sleep(_LOOK_SECONDS)
                    address = await self.elsewhere(call)
        except TimeoutError:
            log.warning("a dead replica's call was not adopted", call_id=call)
            return None
        return address
