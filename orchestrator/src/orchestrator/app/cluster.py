"""Opens the pool's keeper: demand from Redis everywhere, and the rest where Kubernetes is."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import structlog
from redis.asyncio import Redis

from orchestrator.cluster.caretaker import Caretaker
from orchestrator.cluster.costs import Costs
from orchestrator.cluster.gauges import PoolGauges
from orchestrator.cluster.leading import Leadership
from orchestrator.cluster.pool import LIMIT_SECONDS, PoolReader
from orchestrator.cluster.watching import Watching
from orchestrator.config import Settings
from orchestrator.errors import ClusterError, StoreError
from orchestrator.telemetry import Metrics

log = structlog.stdlib.get_logger(__name__)

_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class Demand:
    """How many calls want workers, as /autoscale and /metrics say it."""

    def __init__(self, pool: PoolReader, gauges: PoolGauges) -> None:
        self.pool = pool
        self._gauges = gauges
        self.watching: Watching | None = None
        self.leadership: Leadership | None = None

    async def told(self) -> Mapping[str, object]:
        """Raises StoreError: Redis is away, or knows no worker."""
        gauges = self._gauges
        gauges.pods = self.watching.pods if self.watching else {}
        now = asyncio.get_running_loop().time()
        gauges.leads = self.leadership is not None and self.leadership.leads(now)
        try:
            gauges.standing = await self.pool.look()
        except StoreError:
            gauges.standing = None
            raise
        return gauges.standing.told()


@asynccontextmanager
async def open_demand(settings: Settings, metrics: Metrics, url: str = "") -> AsyncIterator[Demand]:
    """Keeps the pool while the block runs. `url`: a cluster's API in place of the pod's own."""
    redis: Redis = Redis.from_url(settings.redis, protocol=2, socket_connect_timeout=LIMIT_SECONDS)
    gauges = PoolGauges()
    metrics.registry.register(gauges)
    demand = Demand(PoolReader(redis), gauges)
    keeping: asyncio.Task[None] | None = None
    if settings.kubernetes_workers and (url or _in_a_pod()):
        keeping = asyncio.create_task(_keep(settings, metrics, demand, url), name="pool keeper")
    elif settings.kubernetes_workers:
        log.warning("not in a cluster: no EndpointSlices, no deletion costs, no Lease")
    try:
        yield demand
    finally:
        if keeping is not None:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
        await redis.aclose()


def _in_a_pod() -> bool:
    return _NAMESPACE.is_file()


async def _keep(settings: Settings, metrics: Metrics, demand: Demand, url: str) -> None:
    """A task of its own: whatever becomes of it, calls go on."""
    namespace, _, service = settings.kubernetes_workers.rpartition("/")
    try:
        # In a thread, as it takes seconds in which our leases would run out.
        kubernetes: Any = await asyncio.to_thread(import_module, "orchestrator.cluster.kubernetes")
        namespace = namespace or (await asyncio.to_thread(_NAMESPACE.read_text)).strip()
        opening = kubernetes.open_kubernetes(namespace, service, settings.kubernetes_lease, url)
        async with opening as api:
            identity = f"{socket.gethostname()}_{secrets.token_hex(4)}"

            def failed(what: str) -> None:
                metrics.cluster_errors.labels(what).inc()

            watching = Watching(api, lambda: failed("slices"))
            leadership = Leadership(api, identity)
            demand.watching, demand.leadership = watching, leadership
            keeper = Caretaker(demand.pool, watching, leadership, api, Costs(), failed)
            async with asyncio.TaskGroup() as work:
                work.create_task(watching.run())
                work.create_task(keeper.run())
    except (ClusterError, OSError) as error:
        log.warning("Kubernetes is not used", error=str(error))
    except Exception:
        log.exception("Kubernetes is not used any more")
