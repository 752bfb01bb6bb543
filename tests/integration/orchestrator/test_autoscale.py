"""What an autoscaler reads from the orchestrator's own process."""

from __future__ import annotations

import asyncio

import aiohttp
from redis.asyncio import Redis
from siprec_worker.net.pool import Pool

from tests.integration.orchestrator.conftest import FAILURE_SECONDS, Start


async def beat(redis: Redis, worker: str, calls: int) -> None:
    pool = Pool(redis, FAILURE_SECONDS)
    await pool.load()
    await pool.call("vf_beat", worker, f"sip:{worker}:5080", "-", calls, 300, 0, f"{worker}:7080")


async def answered(redis: Redis, session: aiohttp.ClientSession, page: str, wanted: str) -> None:
    """Until the page tells it of a worker with 17 calls, whose beats last for two seconds."""
    async with asyncio.timeout(FAILURE_SECONDS):
        while True:
            await beat(redis, "w1", 17)
            async with session.get(page) as response:
                if wanted in await response.text():
                    return


async def test_demand_is_told_by_http_and_as_a_metric(start: Start, redis_url: str) -> None:
    admin = (await start()).addresses["admin"]
    async with (
        Redis.from_url(redis_url, protocol=2) as redis,
        aiohttp.ClientSession(f"http://{admin}") as session,
    ):
        await redis.flushdb()
        async with session.get("/autoscale") as response:
            assert response.status == 503  # nobody is heard: nobody says 0
        async with session.get("/metrics") as response:
            assert "\nvoicefork_demand_calls " not in await response.text()
        await answered(redis, session, "/autoscale", '"demand": 17')
        await answered(redis, session, "/metrics", "\nvoicefork_demand_calls 17.0")
