"""The audit trail in a real Redis: in order, and not lost when Redis is away for a while."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
from orchestrator.bus.audit import AuditEntry, AuditTrail, audit_key
from redis.asyncio import Redis

from tests.builders.running import owned
from tests.builders.virtual_time import eventually
from tests.fakes.handoff_ports import Counts

NOBODY = "redis://127.0.0.1:9/0"


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    connection: Redis = Redis.from_url(redis_url, protocol=2)
    yield connection
    await connection.aclose()


@pytest.fixture
def tenant() -> str:
    """Of its own, so that tests share one Redis."""
    return f"t{secrets.token_hex(4)}"


def entry(tenant: str, number: int = 1) -> AuditEntry:
    return AuditEntry(
        "escalation_routed", 5.0, tenant, f"call-{number}", "r1", "dispute", {"bot_frozen": True}
    )


async def kept(redis: Redis, tenant: str) -> list[dict[str, Any]]:
    found: Any = await redis.xrange(audit_key(tenant))
    return [json.loads(fields[b"json"]) for _, fields in found]


async def test_entries_are_appended_in_order(redis: Redis, tenant: str) -> None:
    counts = Counts()
    trail = AuditTrail(redis, counts)
    async with owned(trail.run()):
        for number in range(3):
            trail.put(entry(tenant, number))
        await eventually(lambda: counts["audit_written"] == 3)
    first, *rest = await kept(redis, tenant)
    assert first == {
        "bot_frozen": True,
        "v": 1,
        "type": "audit",
        "kind": "escalation_routed",
        "at": 5.0,
        "tenant": tenant,
        "call_id": "call-0",
        "request_id": "r1",
        "rule": "dispute",
    }
    assert [each["call_id"] for each in rest] == ["call-1", "call-2"]


async def test_what_redis_does_not_take_is_kept_and_the_oldest_go_when_full(tenant: str) -> None:
    away: Redis = Redis.from_url(NOBODY)
    counts = Counts()
    trail = AuditTrail(away, counts, capacity=2)
    for number in range(3):
        trail.put(entry(tenant, number))
    async with asyncio.timeout(5):
        assert not await trail.flush()
    await away.aclose()
    assert (len(trail), counts["audit_dropped"], counts["audit_retries"]) == (2, 1, 1)
