"""What an operator does to a release with calls on it: the calls stay.

These need a cluster and were written against the chart, not against one cluster's habits: each asks
for what the documentation promises, within three minutes.
"""

from __future__ import annotations

import json

import pytest

from tests.cluster.conftest import Release

pytestmark = pytest.mark.timeout(900)
COST = "controller.kubernetes.io/pod-deletion-cost"


def names(release: Release) -> set[str]:
    return {pod["metadata"]["name"] for pod in release.workers()}


def test_it_is_installed_and_a_call_goes_through(release: Release) -> None:
    release.call(1)


def test_demand_is_the_calls_of_all_workers(release: Release) -> None:
    release.call(6)
    release.until(lambda: release.demand() == release.calls() >= 6)


def test_the_busier_worker_costs_more(release: Release) -> None:
    release.call(5)

    def told() -> bool:
        costs = [pod["metadata"].get("annotations", {}).get(COST) for pod in release.workers()]
        return all(cost is not None for cost in costs) and any(int(str(c)) > 0 for c in costs)

    release.until(told)


def test_an_upgrade_keeps_the_calls(release: Release) -> None:
    release.call(4)
    before = names(release)
    release.upgrade("worker.maxCalls=60")
    release.until(lambda: not names(release) & before)
    release.until(lambda: release.calls() >= 4)


def test_scaling_out_and_in_keeps_the_calls(release: Release) -> None:
    release.call(4)
    release.kubectl("scale", "deployment/voicefork-worker", "--replicas=3")
    release.until(lambda: len(names(release)) == 3)
    release.kubectl("scale", "deployment/voicefork-worker", "--replicas=1")
    release.until(lambda: len(names(release)) == 1 and release.calls() >= 4)
    release.kubectl("scale", "deployment/voicefork-worker", "--replicas=2")
    release.until(lambda: len(names(release)) == 2)


def test_a_killed_workers_calls_go_on_at_another(release: Release) -> None:
    release.call(4)
    victim = sorted(names(release))[0]
    release.kubectl("delete", "pod", victim, "--grace-period=0", "--force")
    release.until(lambda: victim not in names(release) and release.calls() >= 4)


def test_a_drained_node_gives_its_calls_away(release: Release) -> None:
    nodes = json.loads(release.kubectl("get", "nodes", "-o", "json"))["items"]
    if len(nodes) < 2:
        pytest.skip("a cluster of one node")
    release.call(4)
    node = release.workers()[0]["spec"]["nodeName"]
    selector = "app.kubernetes.io/component=worker"
    try:
        release.kubectl("drain", node, f"--pod-selector={selector}", "--timeout=180s")
        release.until(lambda: all(pod["spec"]["nodeName"] != node for pod in release.workers()))
        release.until(lambda: release.calls() >= 4)
    finally:
        release.kubectl("uncordon", node)


def test_rotated_secrets_are_taken_over(release: Release) -> None:
    release.upgrade("pbx.ari.password=rotated-ari", "redis.password=rotated-redis")
    for component in ("redis", "orchestrator", "worker", "asterisk"):
        kind = "statefulset" if component == "redis" else "deployment"
        release.kubectl("rollout", "restart", f"{kind}/voicefork-{component}")
        release.kubectl("rollout", "status", f"{kind}/voicefork-{component}", "--timeout=180s")
    release.call(1)
