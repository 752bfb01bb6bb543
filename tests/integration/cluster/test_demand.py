"""The pool in a real Redis, as the workers' own functions write it, and what is made of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from kmock import KubernetesEmulator, ResourceInfo, Server, action
from orchestrator.app.cluster import open_demand
from orchestrator.cluster.kubernetes import COST
from orchestrator.cluster.pool import PoolReader
from orchestrator.config import Settings
from orchestrator.errors import StoreError
from orchestrator.telemetry import Metrics
from prometheus_client import generate_latest
from redis.asyncio import Redis as Client
from siprec_worker.net.pool import Pool
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.redis import Redis, open_redis

from tests.integration.cluster.test_kubernetes import (
    LEASE,
    LEASES,
    NAMESPACE,
    PODS,
    SERVICE,
    SLICES,
    a_slice,
)


@pytest.fixture
async def server(lab: Lab) -> AsyncIterator[Redis]:
    async with open_redis(lab) as server:
        yield server


@pytest.fixture
async def redis(server: Redis) -> AsyncIterator[Client]:
    async with Client.from_url(server.url, protocol=2) as client:
        yield client


@pytest.fixture(params=["library", "script"])
async def pool(request: pytest.FixtureRequest, redis: Client) -> Pool:
    pool = Pool(redis, 2.0, library=request.param == "library")
    await pool.load()
    return pool


async def beat(pool: Pool, worker: str, calls: int, *, draining: bool = False) -> None:
    uri = f"sip:{worker}:5080"
    await pool.call("vf_beat", worker, uri, "-", calls, 300, int(draining), f"{worker}:7080")


async def test_calls_and_places_are_demand_and_draining_workers_calls_are_not(
    redis: Client, pool: Pool
) -> None:
    await beat(pool, "w1", 12)
    await beat(pool, "w2", 30)
    await beat(pool, "w3", 50, draining=True)
    await pool.call("vf_pick", 1, "-", "call-1")
    told = (await PoolReader(redis).look()).told()
    assert told == {
        "demand": 43,
        "calls": 42,
        "reserved": 1,
        "capacity": 600,
        "workers": {"live": 2, "draining": 1, "silent": 0},
    }


async def test_a_place_that_has_run_out_is_no_demand(redis: Client, pool: Pool) -> None:
    await beat(pool, "w1", 0)
    await pool.call("vf_pick", 1, "-", "call-1", 1)
    await asyncio.sleep(0.01)
    assert (await PoolReader(redis).look()).demand == 0


async def test_an_empty_pool_is_no_answer(redis: Client) -> None:
    with pytest.raises(StoreError):
        (await PoolReader(redis).look()).told()


async def test_a_dead_worker_is_forgotten_but_not_one_that_beats(redis: Client, pool: Pool) -> None:
    await beat(pool, "w1", 0)
    reader = PoolReader(redis)
    assert not await reader.forget("w1", 60_000)
    await asyncio.sleep(0.05)
    assert await reader.forget("w1", 20)
    assert (await reader.look()).workers == []


async def test_a_dead_worker_whose_forks_nobody_has_adopted_stays(
    redis: Client, pool: Pool
) -> None:
    await beat(pool, "w1", 1)
    await pool.call("vf_put", "w1", "dialog-1", "0", "state")
    await asyncio.sleep(0.01)
    assert not await PoolReader(redis).forget("w1", 0)


async def test_redis_away_is_no_demand_of_nobody(server: Redis) -> None:
    settings = Settings(redis="redis://127.0.0.1:9/0")
    async with open_demand(settings, Metrics()) as demand:
        with pytest.raises(StoreError):
            await demand.told()


async def test_outside_of_a_cluster_demand_is_known_all_the_same(server: Redis, pool: Pool) -> None:
    await beat(pool, "w1", 7)
    settings = Settings(redis=server.url, kubernetes_workers="calls/workers")
    async with open_demand(settings, Metrics()) as demand:
        assert (await demand.told())["demand"] == 7


async def test_in_a_cluster_the_pods_of_the_pool_get_their_costs(server: Redis, pool: Pool) -> None:
    await beat(pool, "w1", 42)
    await beat(pool, "w2", 0)
    async with KubernetesEmulator() as cluster, Server(cluster) as api:
        for each in (SLICES, PODS, LEASES):
            cluster.resources[each] = ResourceInfo()
        cluster.objects[SLICES, NAMESPACE, "s1"] = a_slice("s1", "w1", "w2")
        for pod in ("w1", "w2"):
            cluster.objects[PODS, NAMESPACE, pod] = {"metadata": {"name": pod}}
        settings = Settings(
            redis=server.url, kubernetes_workers=f"{NAMESPACE}/{SERVICE}", kubernetes_lease=LEASE
        )
        metrics = Metrics()
        async with open_demand(settings, metrics, str(api.url)) as demand, asyncio.timeout(30):
            while len(cluster[action.UPDATE]) < 2:
                await asyncio.sleep(0.1)
                await beat(pool, "w1", 42)
                await beat(pool, "w2", 0)
            await demand.told()
            shown = generate_latest(metrics.registry).decode()
    written = {
        pod: cluster.objects[PODS, NAMESPACE, pod].raw["metadata"]["annotations"][COST]
        for pod in ("w1", "w2")
    }
    assert written == {"w1": "50", "w2": "0"}
    assert "voicefork_pool_keeper 1.0" in shown
    assert 'voicefork_worker_pods{state="ready"} 2.0' in shown
    assert 'voicefork_worker_pods{state="unheard"} 0.0' in shown
