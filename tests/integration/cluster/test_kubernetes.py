"""The cluster's API behind its port, at an emulated API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from kmock import KubernetesEmulator, ResourceInfo, Server, action, resource
from orchestrator.cluster.kubernetes import COST, KubernetesApi, open_kubernetes
from orchestrator.cluster.leading import Leadership, LeaseRecord
from orchestrator.cluster.watching import Watching
from orchestrator.errors import ClusterConflict, ClusterError, ClusterExpired

NAMESPACE, SERVICE, LEASE = "calls", "x-voicefork-worker", "x-voicefork-orchestrator"
SLICES = resource("discovery.k8s.io/v1/endpointslices")
PODS = resource("v1/pods")
LEASES = resource("coordination.k8s.io/v1/leases")

# What a watch says whose version is too old; a tuple of them is a stream to the emulator.
GONE = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}}


def a_slice(name: str, *pods: str, **conditions: bool) -> dict[str, Any]:
    told = {"ready": True, "serving": True, "terminating": False, **conditions}
    return {
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": SERVICE},
        },
        "endpoints": [
            {"targetRef": {"kind": "Pod", "name": pod}, "conditions": told} for pod in pods
        ],
    }


@pytest.fixture
async def cluster() -> AsyncIterator[KubernetesEmulator]:
    async with KubernetesEmulator() as emulator:
        for each in (SLICES, PODS, LEASES):
            emulator.resources[each] = ResourceInfo()
        yield emulator


@pytest.fixture
async def api(cluster: KubernetesEmulator) -> AsyncIterator[KubernetesApi]:
    async with (
        Server(cluster) as server,
        open_kubernetes(NAMESPACE, SERVICE, LEASE, str(server.url)) as api,
    ):
        yield api


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - what is waited for is another task's state
            await asyncio.sleep(0.01)


async def test_slices_of_the_workers_service_are_listed(
    cluster: KubernetesEmulator, api: KubernetesApi
) -> None:
    cluster.objects[SLICES, NAMESPACE, "s1"] = a_slice("s1", "w1", "w2")
    listing = await api.list_slices()
    assert [end.pod for end in listing.slices[0].endpoints] == ["w1", "w2"]
    asked = next(iter(cluster[action.LIST]))
    assert asked.params["labelSelector"] == f"kubernetes.io/service-name={SERVICE}"


async def test_a_pod_that_ends_is_known_by_the_watch(
    cluster: KubernetesEmulator, api: KubernetesApi
) -> None:
    cluster.objects[SLICES, NAMESPACE, "s1"] = a_slice("s1", "w1")
    watching = Watching(api, lambda: None)
    task = asyncio.create_task(watching.run())
    await until(lambda: "w1" in watching.pods)
    changed = a_slice("s1", "w1", ready=False, terminating=True)
    await cluster.patch(
        f"/apis/{SLICES.group}/v1/namespaces/{NAMESPACE}/{SLICES.plural}/s1", json=changed
    )
    await until(lambda: watching.pods["w1"].terminating)
    assert watching.pods["w1"].serving
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_place_that_is_forgotten_is_told_as_expired(
    cluster: KubernetesEmulator, api: KubernetesApi
) -> None:
    cluster[action.WATCH] << (GONE,)
    with pytest.raises(ClusterExpired):
        async for _ in api.watch_slices("1", 5.0):
            pass


async def test_after_a_410_the_list_is_made_anew(
    cluster: KubernetesEmulator, api: KubernetesApi
) -> None:
    cluster[action.WATCH] << (GONE,)
    watching = Watching(api, lambda: None)
    task = asyncio.create_task(watching.run())
    await until(lambda: len(cluster[action.LIST]) >= 2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_cluster_that_is_away_leaves_the_last_list_in_force(
    cluster: KubernetesEmulator, api: KubernetesApi
) -> None:
    cluster.objects[SLICES, NAMESPACE, "s1"] = a_slice("s1", "w1")
    cluster[action.WATCH] << (GONE,)
    failures: list[str] = []
    watching = Watching(api, lambda: failures.append("slices"))
    task = asyncio.create_task(watching.run())
    await until(lambda: "w1" in watching.pods)
    cluster[action.LIST] << 503
    await until(lambda: bool(failures))
    assert "w1" in watching.pods
    assert not watching.current
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_pods_deletion_cost_is_an_annotation(
    cluster: KubernetesEmulator, api: KubernetesApi
) -> None:
    cluster.objects[PODS, NAMESPACE, "w1"] = {"metadata": {"name": "w1", "namespace": NAMESPACE}}
    await api.write_cost("w1", 120)
    assert cluster.objects[PODS, NAMESPACE, "w1"].raw["metadata"]["annotations"] == {COST: "120"}


async def test_the_cost_of_a_pod_that_is_gone_is_an_error_and_no_more(api: KubernetesApi) -> None:
    with pytest.raises(ClusterError):
        await api.write_cost("nobody", 1)


async def test_a_lease_is_made_where_there_is_none(
    cluster: KubernetesEmulator, api: KubernetesApi
) -> None:
    assert await api.read_lease() is None
    one = Leadership(api, "one")
    await one.step(0.0)
    assert one.leads(1.0)
    assert cluster.objects[LEASES, NAMESPACE, LEASE].raw["spec"]["holderIdentity"] == "one"


async def test_a_lease_is_replaced_at_the_version_that_was_read(
    cluster: KubernetesEmulator, api: KubernetesApi
) -> None:
    cluster.objects[LEASES, NAMESPACE, LEASE] = {
        "metadata": {"name": LEASE, "namespace": NAMESPACE, "resourceVersion": "7"},
        "spec": {"holderIdentity": "", "leaseDurationSeconds": 15, "leaseTransitions": 2},
    }
    path = f"/apis/{LEASES.group}/v1/namespaces/{NAMESPACE}/{LEASES.plural}/{LEASE}"
    cluster[f"put {path}"] << {"metadata": {"name": LEASE}, "spec": {}}
    await Leadership(api, "one").step(0.0)
    written = next(iter(cluster["put"])).data
    assert written["metadata"]["resourceVersion"] == "7"
    assert written["spec"]["leaseTransitions"] == 3


async def test_who_was_too_late_is_told(cluster: KubernetesEmulator, api: KubernetesApi) -> None:
    cluster.objects[LEASES, NAMESPACE, LEASE] = {"metadata": {"name": LEASE}, "spec": {}}
    with pytest.raises(ClusterConflict):
        await api.write_lease(LeaseRecord("one", 15, 0))
