"""Orders for calls in Redis (implements fleet.placing.Ledger); they live 24 hours.

voicefork:v1:<tenant>:placed:<request>   hash: call, body (fingerprint), result
voicefork:v1:placing:<app>               hash: call -> [tenant, request] while its phone rings
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Sequence
from typing import Any, cast

from redis.asyncio import Redis

from orchestrator.model import CallId, Placed
from orchestrator.replies import as_text, within

log = logging.getLogger(__name__)

LIFE_SECONDS = 24 * 3600
LIMIT_SECONDS = 0.5

# KEYS: order, those that ring. ARGV: call, body, life, tenant and request.
_ENTER = """
local known = redis.call('HMGET', KEYS[1], 'call', 'body')
if known[1] then return known end
redis.call('HSET', KEYS[1], 'call', ARGV[1], 'body', ARGV[2])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[4])
for i = 1, 2 do redis.call('EXPIRE', KEYS[i], ARGV[3]) end
return {ARGV[1], ARGV[2]}
"""

# KEYS as above. ARGV: call, result, life. What the call came to first stands.
_SETTLE = """
redis.call('HSETNX', KEYS[1], 'result', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('HDEL', KEYS[2], ARGV[1])
return 1
"""


class RedisLedger:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._enter = redis.register_script(_ENTER)
        self._settle = redis.register_script(_SETTLE)

    async def enter(self, order: Placed, app: str, body: str) -> tuple[str, str]:
        keys = [_key(order.tenant, order.request_id), _ringing(app)]
        whose = json.dumps([order.tenant, order.request_id])
        entering = self._enter(keys, [order.call, body, LIFE_SECONDS, whose])
        known, first_body = await within(LIMIT_SECONDS, entering)
        return as_text(known), as_text(first_body)

    async def settle(self, order: Placed, app: str, result: str) -> None:
        keys = [_key(order.tenant, order.request_id), _ringing(app)]
        await within(LIMIT_SECONDS, self._settle(keys, [order.call, result, LIFE_SECONDS]))

    async def ringing(self, app: str) -> Sequence[Placed]:
        reading = cast(Awaitable[Any], self._redis.hgetall(_ringing(app)))
        found = await within(LIMIT_SECONDS, reading)
        read = (_read(CallId(as_text(call)), whose) for call, whose in found.items())
        return [placed for placed in read if placed is not None]

    async def result(self, tenant: str, request_id: str) -> str:
        reading = cast(Awaitable[Any], self._redis.hget(_key(tenant, request_id), "result"))
        return as_text(await within(LIMIT_SECONDS, reading) or b"")


def _read(call: CallId, whose: bytes) -> Placed | None:
    """None: no entry of ours. It must not hide the others from an heir."""
    try:
        tenant, request_id = json.loads(whose)
    except (ValueError, TypeError):
        log.warning("placed call %s: its entry is unreadable", call)
        return None
    return Placed(str(tenant), str(request_id), call)


def _key(tenant: str, request_id: str) -> str:
    return f"voicefork:v1:{tenant}:placed:{request_id}"


def _ringing(app: str) -> str:
    return f"voicefork:v1:placing:{app}"
