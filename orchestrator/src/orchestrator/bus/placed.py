"""Orders for calls in Redis (implements fleet.placing.Ledger); they live 24 hours.

voicefork:v1:<tenant>:placed:<request>   hash: call, body (fingerprint), result
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from orchestrator.errors import StoreError
from orchestrator.model import CallId

LIFE_SECONDS = 24 * 3600
LIMIT_SECONDS = 0.5

_ENTER = """
local known = redis.call('HMGET', KEYS[1], 'call', 'body')
if known[1] then return known end
redis.call('HSET', KEYS[1], 'call', ARGV[1], 'body', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return {ARGV[1], ARGV[2]}
"""


class RedisLedger:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._enter = redis.register_script(_ENTER)

    async def enter(self, tenant: str, request_id: str, call: CallId, body: str) -> tuple[str, str]:
        entering = self._enter([_key(tenant, request_id)], [call, body, LIFE_SECONDS])
        known, first_body = await _within(entering)
        return _text(known), _text(first_body)

    async def settle(self, tenant: str, request_id: str, result: str) -> None:
        key = _key(tenant, request_id)
        await _within(cast(Awaitable[Any], self._redis.hset(key, "result", result)))

    async def result(self, tenant: str, request_id: str) -> str:
        reading = cast(Awaitable[Any], self._redis.hget(_key(tenant, request_id), "result"))
        return _text(await _within(reading) or b"")


def _key(tenant: str, request_id: str) -> str:
    return f"voicefork:v1:{tenant}:placed:{request_id}"


async def _within(reply: Awaitable[Any]) -> Any:
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            return await reply
    except (RedisError, OSError, TimeoutError) as error:
        raise StoreError(f"redis: {type(error).__name__} {error}") from error


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
