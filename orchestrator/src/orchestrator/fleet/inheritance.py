"""Another replica's slot while we adopt its calls: renewed, and asked for after standing still.

Who stood still longer than a lease may have been replaced as heir, too: whatever an adoption
touches it asks `permit` for before, right before, so that of two heirs only one acts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from orchestrator.errors import StoreError
from orchestrator.fleet.slots import LEASE_SECONDS, Lease, Slots
from orchestrator.handoff.cancellation import heed_cancellation

log = structlog.stdlib.get_logger(__name__)

BEAT_SECONDS = 0.3

Permit = Callable[[], Awaitable[bool]]
"""Whether what was the dead replica's may be touched: False = another one is its heir."""


class Inheritance:
    """`keep` belongs in a task, for as long as the adoption takes."""

    def __init__(self, slots: Slots, lease: Lease) -> None:
        """Just after `lease` was taken."""
        self._slots = slots
        self.lease = lease
        self._beat = asyncio.get_running_loop().time()
        self._lost = False

    @property
    def app(self) -> str:
        return self.lease.app

    async def keep(self) -> None:
        """Returns when another replica has the slot."""
        while not self._lost:
            heed_cancellation()
            await asyncio.sleep(BEAT_SECONDS)
            await self._renew()

    async def permit(self) -> bool:
        """Asks Redis only where the lease may have run out; answers at once else."""
        if not self._lost and asyncio.get_running_loop().time() - self._beat > LEASE_SECONDS:
            await self._renew()
        return not self._lost

    async def _renew(self) -> None:
        begun = asyncio.get_running_loop().time()
        try:
            kept = await self._slots.renew(self.lease)
        except StoreError as error:  # nobody can have taken it without Redis
            log.debug("inherited lease is not renewed", app=self.app, error=str(error))
            return
        if kept:
            self._beat = begun  # not now: we may have stood still while it was asked
        elif not self._lost:
            log.error("another replica goes on with the adoption", app=self.app)
            self._lost = True


async def always() -> bool:
    """The permit for what is our own."""
    return True
