"""The two halves of a call meet in a real Redis."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from orchestrator.errors import StoreError
from orchestrator.fleet.call import ForkHalf, PbxHalf, RtpAddress, Tenant
from orchestrator.fleet.rendezvous import Rendezvous, call_key, open_rendezvous
from orchestrator.model import CallId
from redis.asyncio import Redis

from tests.integration.orchestrator.conftest import FAILURE_SECONDS

TENANT = Tenant("acme")
OURS = PbxHalf("127.0.0.1:7070", "ast-1", "voicefork-0", "17.1", "ulaw", "seeking")
THEIRS = ForkHalf("w1", "127.0.0.1:9", RtpAddress("127.0.0.1", 4000))
WRITTEN = json.dumps(
    {
        "worker_id": "w1",
        "control": "127.0.0.1:9",
        "talkback_host": "127.0.0.1",
        "talkback_port": 4000,
    }
)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url, protocol=2) as client:
        yield client


@pytest.fixture
async def rendezvous(redis_url: str) -> AsyncIterator[Rendezvous]:
    async with open_rendezvous(redis_url) as rendezvous:
        listening = asyncio.create_task(rendezvous.run())
        yield rendezvous
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def test_who_comes_second_finds_the_other_in_one_round_trip(
    rendezvous: Rendezvous, redis: Redis, call_id: CallId
) -> None:
    await redis.hset(call_key(TENANT, call_id), "fork", WRITTEN)
    assert await rendezvous.join(TENANT, call_id, OURS) == THEIRS


async def test_who_comes_first_finds_nobody_and_leaves_a_half_that_expires(
    rendezvous: Rendezvous, redis: Redis, call_id: CallId
) -> None:
    assert await rendezvous.join(TENANT, call_id, OURS) is None
    half = await redis.hget(call_key(TENANT, call_id), "pbx")
    assert half is not None
    assert json.loads(half)["channel_id"] == "17.1"
    assert 0 < await redis.ttl(call_key(TENANT, call_id)) <= 6 * 3600


async def test_a_join_is_published_for_the_other_side(
    rendezvous: Rendezvous, redis: Redis, call_id: CallId
) -> None:
    async with redis.pubsub() as heard, asyncio.timeout(FAILURE_SECONDS):
        await heard.subscribe("voicefork:v1:joined")
        while await heard.get_message(timeout=1.0) is None:
            pass  # not subscribed yet
        await rendezvous.join(TENANT, call_id, OURS)
        while (message := await heard.get_message(timeout=1.0)) is None:
            pass
    assert (message["type"], message["data"]) == ("message", call_id.encode())


@pytest.mark.parametrize("published", [True, False])
async def test_waiting_ends_when_the_fork_comes_whether_or_not_it_is_published(
    rendezvous: Rendezvous, redis: Redis, call_id: CallId, published: bool
) -> None:
    waiting = asyncio.create_task(rendezvous.wait_for_fork(TENANT, call_id, OURS))
    await asyncio.sleep(0.05)
    await redis.hset(call_key(TENANT, call_id), "fork", WRITTEN)
    if published:
        await redis.publish("voicefork:v1:joined", call_id)
    async with asyncio.timeout(FAILURE_SECONDS):
        assert await waiting == THEIRS


async def test_a_half_that_cannot_be_read_is_no_half(
    rendezvous: Rendezvous, redis: Redis, call_id: CallId
) -> None:
    await redis.hset(call_key(TENANT, call_id), "fork", "{}")
    assert await rendezvous.join(TENANT, call_id, OURS) is None


async def test_leaving_takes_our_half_away(
    rendezvous: Rendezvous, redis: Redis, call_id: CallId
) -> None:
    await rendezvous.join(TENANT, call_id, OURS)
    await rendezvous.leave(TENANT, call_id)
    assert not await redis.exists(call_key(TENANT, call_id))


async def test_a_redis_that_is_away_is_a_store_error() -> None:
    async with open_rendezvous("redis://127.0.0.1:9/0") as rendezvous:
        with pytest.raises(StoreError):
            await rendezvous.join(TENANT, CallId("c1"), OURS)
