"""Who keeps the pool: one replica at a time, another soon after the first has gone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from orchestrator.cluster.leading import (
    DEADLINE_SECONDS,
    LEASE_SECONDS,
    Leadership,
    LeaseRecord,
)
from orchestrator.errors import ClusterConflict, ClusterError


@dataclass
class Store:
    """The cluster's store: every write is a new version, and one based on an old one is refused."""

    record: LeaseRecord | None = None
    away: bool = False
    writes: int = 0

    async def read_lease(self) -> LeaseRecord | None:
        if self.away:
            raise ClusterError("away")
        return self.record

    async def write_lease(self, record: LeaseRecord) -> None:
        if self.away:
            raise ClusterError("away")
        if record.version != (self.record.version if self.record else ""):
            raise ClusterConflict("another was quicker", 409)
        self.writes += 1
        self.record = replace(record, version=str(self.writes))


@pytest.fixture
def store() -> Store:
    return Store()


async def test_of_two_the_first_leads(store: Store) -> None:
    one, other = Leadership(store, "one"), Leadership(store, "other")
    await one.step(0.0)
    await other.step(0.0)
    assert (one.leads(1.0), other.leads(1.0)) == (True, False)


async def test_one_that_renews_stays(store: Store) -> None:
    one, other = Leadership(store, "one"), Leadership(store, "other")
    for now in range(0, 100, 5):
        await one.step(float(now))
        await other.step(float(now))
        assert one.leads(now + 4.0)
        assert not other.leads(now + 4.0)


async def test_another_takes_over_when_the_lease_has_run_out(store: Store) -> None:
    one, other = Leadership(store, "one"), Leadership(store, "other")
    await one.step(0.0)
    await other.step(1.0)
    await other.step(LEASE_SECONDS + 0.5)
    assert not other.leads(LEASE_SECONDS + 0.5)  # seen unchanged for less than its duration
    await other.step(LEASE_SECONDS + 1.0)
    assert other.leads(LEASE_SECONDS + 1.0)
    assert store.record is not None
    assert store.record.transitions == 1


async def test_who_cannot_renew_has_stopped_before_another_begins(store: Store) -> None:
    one = Leadership(store, "one")
    await one.step(0.0)
    store.away = True
    with pytest.raises(ClusterError):
        await one.step(5.0)
    assert one.leads(DEADLINE_SECONDS - 0.1)
    assert not one.leads(DEADLINE_SECONDS)
    assert DEADLINE_SECONDS < LEASE_SECONDS


async def test_of_two_who_write_at_once_one_is_refused(store: Store) -> None:
    other = Leadership(store, "other")

    class Slow(Store):
        async def read_lease(self) -> LeaseRecord | None:
            found = await store.read_lease()
            await other.step(0.0)  # between our look and our write
            return found

        async def write_lease(self, record: LeaseRecord) -> None:
            await store.write_lease(record)

    one = Leadership(Slow(), "one")
    await one.step(0.0)
    assert (one.leads(1.0), other.leads(1.0)) == (False, True)


async def test_who_resigns_need_not_be_waited_for(store: Store) -> None:
    one, other = Leadership(store, "one"), Leadership(store, "other")
    await one.step(0.0)
    await one.resign(1.0)
    await other.step(1.0)
    assert (one.leads(1.0), other.leads(1.0)) == (False, True)
