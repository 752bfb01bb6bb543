"""A keeper's round: what it writes, what it forgets, and what it leaves alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest
from orchestrator.cluster.caretaker import DEAD_MS, Caretaker
from orchestrator.cluster.costs import Costs
from orchestrator.cluster.leading import Leadership, LeaseRecord
from orchestrator.cluster.pool import PoolWorker, Standing
from orchestrator.cluster.slices import Change, Endpoint, Listing, Slice
from orchestrator.cluster.watching import Watching
from orchestrator.errors import ClusterError, StoreError


def worker(name: str, calls: int, *, draining: bool = False, silent_ms: int = 100) -> PoolWorker:
    return PoolWorker(name, calls, 300, draining, silent_ms)


@dataclass
class Cluster:
    """API and Redis in one: what they hold, and what was done to them."""

    pods: Sequence[Endpoint] = ()
    workers: Sequence[PoolWorker] = ()
    holder: str = ""
    redis_away: bool = False
    refuses: bool = False
    written: list[tuple[str, int]] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    async def list_slices(self) -> Listing:
        return Listing("1", (Slice("s", tuple(self.pods)),))

    async def watch_slices(self, version: str, seconds: float) -> AsyncIterator[Change]:
        del version, seconds
        for _ in ():
            yield Change(Slice("s", ()), gone=False)
        raise ClusterError("the watch has ended")

    async def write_cost(self, pod: str, cost: int) -> None:
        if self.refuses:
            raise ClusterError("403", 403)
        self.written.append((pod, cost))

    async def read_lease(self) -> LeaseRecord | None:
        return LeaseRecord(self.holder, 15, 0, "1")

    async def write_lease(self, record: LeaseRecord) -> None:
        self.holder = record.holder

    async def look(self) -> Standing:
        if self.redis_away:
            raise StoreError("away")
        return Standing(self.workers, 0)

    async def forget(self, worker_id: str, silent_ms: int) -> bool:
        del silent_ms
        self.forgotten.append(worker_id)
        return True


@pytest.fixture
def cluster() -> Cluster:
    pods = [Endpoint(name, True, True, False) for name in ("a", "b")]
    return Cluster([*pods, Endpoint("c", False, True, True)])


async def keeper(cluster: Cluster) -> Caretaker:
    watching = Watching(cluster, lambda: None)
    with pytest.raises(ClusterError):  # the list is made, then the watch ends
        await watching.follow()
    failed = cluster.failures.append
    return Caretaker(cluster, watching, Leadership(cluster, "me"), cluster, Costs(), failed)


async def test_costs_are_written_for_pods_that_stay(cluster: Cluster) -> None:
    cluster.workers = [worker("a", 40), worker("b", 3), worker("c", 9), worker("elsewhere", 1)]
    await (await keeper(cluster)).round(0.0)
    assert cluster.written == [("b", 3), ("a", 40)]


async def test_who_does_not_lead_writes_nothing(cluster: Cluster) -> None:
    cluster.workers, cluster.holder = [worker("a", 40)], "another"
    await (await keeper(cluster)).round(0.0)
    assert cluster.written == []


async def test_a_refused_cost_is_not_tried_again_at_once(cluster: Cluster) -> None:
    cluster.workers, cluster.refuses = [worker("a", 40)], True
    keeping = await keeper(cluster)
    await keeping.round(0.0)
    cluster.refuses = False
    await keeping.round(5.0)
    assert (cluster.failures, cluster.written) == (["cost"], [])


async def test_the_dead_whose_pods_are_gone_are_forgotten(cluster: Cluster) -> None:
    cluster.workers = [
        worker("a", 1, silent_ms=DEAD_MS),  # its pod is there: it may come back
        worker("gone", 1, silent_ms=DEAD_MS),
        worker("lately", 1, silent_ms=DEAD_MS - 1),
    ]
    await (await keeper(cluster)).round(0.0)
    assert cluster.forgotten == ["gone"]


async def test_without_a_fresh_list_nobody_is_forgotten(cluster: Cluster) -> None:
    cluster.workers = [worker("gone", 1, silent_ms=DEAD_MS)]
    keeping = await keeper(cluster)
    keeping.watching.current = False
    await keeping.round(0.0)
    assert cluster.forgotten == []


async def test_redis_away_is_counted_and_no_more(cluster: Cluster) -> None:
    cluster.redis_away = True
    await (await keeper(cluster)).round(0.0)
    assert cluster.failures == ["redis"]
