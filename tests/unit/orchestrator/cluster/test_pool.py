"""What the pool's state means for an autoscaler."""

from __future__ import annotations

import pytest
from orchestrator.cluster.gauges import PoolGauges
from orchestrator.cluster.pool import LIVE_MS, PoolWorker, Standing
from orchestrator.cluster.slices import Endpoint
from orchestrator.errors import StoreError
from prometheus_client import CollectorRegistry, generate_latest


def worker(name: str, calls: int, *, draining: bool = False, silent_ms: int = 100) -> PoolWorker:
    return PoolWorker(name, calls, 300, draining, silent_ms)


def test_demand_is_the_calls_on_workers_that_stay_and_the_places_kept() -> None:
    standing = Standing([worker("a", 10), worker("b", 20), worker("c", 40, draining=True)], 3)
    assert standing.demand == 33


def test_a_worker_that_is_silent_counts_no_more() -> None:
    standing = Standing([worker("a", 10), worker("b", 20, silent_ms=LIVE_MS)], 0)
    assert standing.demand == 10
    assert standing.states == {"live": 1, "draining": 0, "silent": 1}


def test_where_no_worker_is_heard_nobody_says_that_none_is_needed() -> None:
    with pytest.raises(StoreError):
        Standing([worker("a", 10, silent_ms=9000)], 0).told()


def shown(gauges: PoolGauges) -> str:
    registry = CollectorRegistry()
    registry.register(gauges)
    return generate_latest(registry).decode()


def test_what_is_not_known_is_not_shown() -> None:
    assert "\nvoicefork_demand_calls " not in shown(PoolGauges())


def test_a_pod_that_is_ready_and_does_not_beat_is_shown_as_unheard() -> None:
    gauges = PoolGauges()
    gauges.standing = Standing([worker("a", 5)], 1)
    gauges.pods = {name: Endpoint(name, True, True, False) for name in ("a", "b")}
    text = shown(gauges)
    assert "voicefork_demand_calls 6.0" in text
    assert 'voicefork_worker_pods{state="unheard"} 1.0' in text
    assert 'voicefork_worker_pods{state="ready"} 2.0' in text
