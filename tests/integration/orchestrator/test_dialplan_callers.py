"""Callers whom an AMI node's dialplan has, as a real redis-server keeps them."""

from __future__ import annotations

import secrets

import pytest
from orchestrator.errors import StoreError
from orchestrator.fleet.dialplan_callers import LIFE_SECONDS, DialplanCallers
from orchestrator.model import CallId
from redis.asyncio import Redis

C1, C2 = CallId("c1"), CallId("c2")


async def test_callers_are_kept_for_whoever_drives_the_node_next(redis_url: str) -> None:
    redis: Redis = Redis.from_url(redis_url, protocol=2)
    node = f"node-{secrets.token_hex(3)}"
    callers = DialplanCallers(redis, node)
    await callers.add("1.1", "acme", C1)
    await callers.add("1.2", "default", C2)
    assert await DialplanCallers(redis, node).all() == {
        "1.1": ("acme", C1),
        "1.2": ("default", C2),
    }
    assert 0 < await redis.ttl(f"voicefork:v1:ami:{node}:callers") <= LIFE_SECONDS
    assert await DialplanCallers(redis, "another").all() == {}
    await callers.remove("1.1")
    await callers.remove("1.2")
    assert await callers.all() == {}
    await redis.aclose()


async def test_without_redis_it_says_so() -> None:
    redis: Redis = Redis.from_url("redis://127.0.0.1:1", protocol=2)
    with pytest.raises(StoreError):
        await DialplanCallers(redis, "node").all()
    with pytest.raises(StoreError):
        await DialplanCallers(redis, "node").add("1.1", "acme", C1)
    await redis.aclose()
