"""Callers whom the dialplan of an AMI node has, for the replica that drives it next.

    voicefork:v1:ami:<node>:callers     hash: channel -> "<tenant> <call>", until it hangs up

Who hangs up while nobody drives the node is in none of its lists: without this their handoffs would
never end.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any, cast

from redis.asyncio import Redis

from orchestrator.fleet.slots import LIMIT_SECONDS
from orchestrator.model import CallId
from orchestrator.replies import as_text, within

LIFE_SECONDS = 24 * 3600  # as handoffs


class DialplanCallers:
    """Of one node. Every method raises StoreError when Redis does not answer."""

    def __init__(self, redis: Redis, node: str) -> None:
        self._redis = redis
        self._key = f"voicefork:v1:ami:{node}:callers"

    async def add(self, channel: str, tenant: str, call: CallId) -> None:
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(self._key, channel, f"{tenant} {call}")
            pipe.expire(self._key, LIFE_SECONDS)
            await within(LIMIT_SECONDS, pipe.execute())

    async def remove(self, channel: str) -> None:
        removing = cast(Awaitable[Any], self._redis.hdel(self._key, channel))
        await within(LIMIT_SECONDS, removing)

    async def all(self) -> Mapping[str, tuple[str, CallId]]:
        """Tenant and call by channel."""
        reading = cast(Awaitable[Any], self._redis.hgetall(self._key))
        found = await within(LIMIT_SECONDS, reading)
        told = {as_text(channel): as_text(text).partition(" ") for channel, text in found.items()}
        return {channel: (tenant, CallId(call)) for channel, (tenant, _, call) in told.items()}
