"""What one replica does for the pool in the cluster: pods' deletion costs, and dead entries.

All of it is best effort: calls never wait for it, and whatever fails is tried again next time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from orchestrator.cluster.costs import Costs, CostWriter
from orchestrator.cluster.leading import RENEW_SECONDS, Leadership
from orchestrator.cluster.pool import Standing
from orchestrator.cluster.watching import Watching
from orchestrator.errors import ClusterError, StoreError

log = structlog.stdlib.get_logger(__name__)

ROUND_SECONDS = RENEW_SECONDS
DEAD_MS = 30_000  # silent for so long, and without a pod: nobody comes back under this name
_RESIGN_SECONDS = 2.0


class Pool(Protocol):
    """The workers in Redis. Both raise StoreError."""

    async def look(self) -> Standing: ...

    async def forget(self, worker_id: str, silent_ms: int) -> bool: ...


@dataclass(frozen=True, slots=True)
class Caretaker:
    """Works a round every few seconds, while this replica leads. `failed` counts failures."""

    pool: Pool
    watching: Watching
    leadership: Leadership
    writer: CostWriter
    costs: Costs
    failed: Callable[[str], None]

    async def run(self) -> None:
        """Until cancelled; then gives the Lease back."""
        clock = asyncio.get_running_loop().time
        try:
            while True:
                try:
                    await self.round(clock())
                except Exception:
                    # A bug in here must cost no call: whoever runs us would end all of them.
                    log.exception("keeping the pool failed")
                    self.failed("bug")
                await asyncio.sleep(ROUND_SECONDS)
        finally:
            try:
                async with asyncio.timeout(_RESIGN_SECONDS):
                    await self.leadership.resign(clock())
            except (ClusterError, TimeoutError) as error:
                log.info("the lease runs out by itself", error=str(error))

    async def round(self, now: float) -> None:
        try:
            await self.leadership.step(now)
        except ClusterError as error:
            log.debug("lease", error=str(error))
            self.failed("lease")
        if not self.leadership.leads(now):
            self.costs.forget()
            return
        try:
            standing = await self.pool.look()
            await self._write_costs(standing, now)
            await self._forget_dead(standing)
        except StoreError as error:
            log.debug("pool", error=str(error))
            self.failed("redis")

    async def _write_costs(self, standing: Standing, now: float) -> None:
        pods = self.watching.pods
        self.costs.keep(pods)
        calls = {
            worker.worker_id: worker.calls
            for worker in standing.workers
            if worker.state == "live"
            and worker.worker_id in pods
            and not pods[worker.worker_id].terminating
        }
        for pod, cost in self.costs.due(calls, now):
            self.costs.wrote(pod, cost, now)  # also where it fails: not more often than that
            try:
                await self.writer.write_cost(pod, cost)
            except ClusterError as error:
                log.debug("deletion cost", pod=pod, error=str(error))
                self.failed("cost")
                return  # the next one would fail as well; the others' turn comes next time

    async def _forget_dead(self, standing: Standing) -> None:
        """Workers whose pods are gone; only while the cluster's list is a fresh one."""
        if not self.watching.current or not self.watching.pods:
            return
        for worker in standing.workers:
            gone = worker.silent_ms >= DEAD_MS and worker.worker_id not in self.watching.pods
            if gone and await self.pool.forget(worker.worker_id, DEAD_MS):
                log.info("dead worker taken off the pool", worker_id=worker.worker_id)
