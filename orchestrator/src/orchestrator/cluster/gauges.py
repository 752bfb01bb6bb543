"""The pool as Prometheus sees it. What is not known is left out: a 0 would scale calls away."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from orchestrator.cluster.pool import Standing
from orchestrator.cluster.slices import Endpoint


class PoolGauges(Collector):
    """Shows the last look at the pool; `standing` None: Redis is away."""

    def __init__(self) -> None:
        self.standing: Standing | None = None
        self.pods: Mapping[str, Endpoint] = {}
        self.leads = False

    def collect(self) -> Iterable[Metric]:
        demand = GaugeMetricFamily(
            "voicefork_demand_calls",
            "Calls on workers that stay, and places kept; each replica says the same: take the max",
        )
        workers = GaugeMetricFamily(
            "voicefork_workers",
            "Workers in the pool; every replica says the same",
            labels=["state"],
        )
        if self.standing is not None:
            if self.standing.demand is not None:
                demand.add_metric([], self.standing.demand)
            for state, count in self.standing.states.items():
                workers.add_metric([state], count)
        pods = GaugeMetricFamily(
            "voicefork_worker_pods", "Workers' pods as the cluster sees them", labels=["state"]
        )
        for state, count in self._pods().items():
            pods.add_metric([state], count)
        leads = GaugeMetricFamily(
            "voicefork_pool_keeper", "1 = this replica writes deletion costs", value=self.leads
        )
        return demand, workers, pods, leads

    def _pods(self) -> Mapping[str, int]:
        """`unheard`: ready, but without a beat in Redis; the edge gives it no calls."""
        heard = {
            worker.worker_id
            for worker in (self.standing.workers if self.standing else ())
            if worker.state != "silent"
        }
        told = list(self.pods.values())
        return {
            "ready": sum(pod.ready for pod in told),
            "unready": sum(not pod.ready and not pod.terminating for pod in told),
            "terminating": sum(pod.terminating for pod in told),
            "unheard": sum(
                pod.ready and pod.pod not in heard for pod in told if self.standing is not None
            ),
        }
