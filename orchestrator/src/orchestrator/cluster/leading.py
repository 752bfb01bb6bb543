"""One replica of several does what one should do: a Lease of coordination.k8s.io.

As Kubernetes' own clients do it: nobody compares clocks. A lease is free once it has not changed
for its duration by the watch of whoever looks, and every write names the version it is based on.
https://kubernetes.io/docs/concepts/architecture/leases/
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from orchestrator.errors import ClusterConflict

log = structlog.stdlib.get_logger(__name__)

LEASE_SECONDS = 15
DEADLINE_SECONDS = 10.0  # without a renewal for so long we have stopped, before another begins
RENEW_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """A Lease. `holder` "" : given back. `version`: of the store; "" = it does not exist yet."""

    holder: str
    seconds: int
    transitions: int
    version: str = ""


class LeaseStore(Protocol):
    """One Lease by name. Both raise ClusterError, a write ClusterConflict: another was quicker."""

    async def read_lease(self) -> LeaseRecord | None: ...

    async def write_lease(self, record: LeaseRecord) -> None:
        """Creates it where `version` is "", else replaces that version; the time is now."""
        ...


class Leadership:
    """Whether we lead. Times are a monotonic clock's, in seconds."""

    def __init__(self, store: LeaseStore, identity: str) -> None:
        self._store = store
        self._identity = identity
        self._seen: tuple[LeaseRecord, float] | None = None
        self._until = 0.0

    def leads(self, now: float) -> bool:
        return now < self._until

    async def step(self, now: float) -> None:
        """Renews, takes, or looks. Raises ClusterError: then we lead until the deadline only."""
        record = await self._store.read_lease()
        if record is None:
            await self._write(LeaseRecord(self._identity, LEASE_SECONDS, 0), now)
        elif record.holder == self._identity:
            await self._write(record, now)
        elif not record.holder or self._stale(record, now):
            ours = replace(record, holder=self._identity, seconds=LEASE_SECONDS)
            await self._write(replace(ours, transitions=record.transitions + 1), now)
        else:
            self._until = 0.0

    def _stale(self, record: LeaseRecord, now: float) -> bool:
        if self._seen is None or self._seen[0] != record:
            self._seen = (record, now)
        return now - self._seen[1] >= record.seconds

    async def _write(self, record: LeaseRecord, now: float) -> None:
        """`now` is from before the writing: others count from when it arrives, never earlier."""
        try:
            await self._store.write_lease(record)
        except ClusterConflict:
            self._until = 0.0
            return
        if not self.leads(now):
            log.info("this replica keeps the pool", identity=self._identity)
        self._until = now + DEADLINE_SECONDS

    async def resign(self, now: float) -> None:
        """Gives it back, so that another need not wait. Raises ClusterError."""
        if not self.leads(now):
            return
        self._until = 0.0
        record = await self._store.read_lease()
        if record is not None and record.holder == self._identity:
            await self._store.write_lease(replace(record, holder=""))
