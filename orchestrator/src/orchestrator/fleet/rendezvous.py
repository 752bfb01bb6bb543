"""Where the two halves of a call meet: one Redis hash, one channel that says "have a look".

Key `voicefork:v1:<tenant>:call:<call_id>`, fields `fork` (the worker's JSON) and `pbx` (ours), six
hours of life. Each side writes its half and reads the other's in one round trip, so whoever comes
second sees both; then it publishes the call id on `voicefork:v1:joined`. As messages can be lost,
waiting also looks every 100 ms.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from orchestrator.errors import PeerError, StoreError
from orchestrator.fleet.call import (
    ForkHalf,
    PbxHalf,
    Tenant,
    parse_fork_half,
    write_pbx_half,
)
from orchestrator.handoff.cancellation import heed_cancellation
from orchestrator.model import CallId
from orchestrator.replies import as_text, within

log = structlog.stdlib.get_logger(__name__)

JOINED = "voicefork:v1:joined"
LIFE_SECONDS = 6 * 3600
_LOOK_SECONDS = 0.1
_RECONNECT_SECONDS = 0.5


def call_key(tenant: Tenant, call_id: CallId) -> str:
    return f"voicefork:v1:{tenant}:call:{call_id}"


class Rendezvous:
    """Writes our halves, waits for the workers'. `run` listens and belongs in a task."""

    def __init__(self, redis: Redis, limit_seconds: float = 0.5) -> None:
        self._redis = redis
        self._limit = limit_seconds
        self._waiting: dict[CallId, asyncio.Event] = {}

    async def run(self) -> None:
        """Listens for calls that were joined, until cancelled; Redis may come and go."""
        while True:
            heed_cancellation()
            try:
                await self._listen()
            except (RedisError, OSError) as error:
                log.warning("rendezvous listening failed", error=str(error))
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _listen(self) -> None:
        async with self._redis.pubsub(ignore_subscribe_messages=True) as pubsub:
            await pubsub.subscribe(JOINED)
            while True:
                heed_cancellation()
                message = await pubsub.get_message(timeout=5.0)
                if message is not None:
                    waiting = self._waiting.get(CallId(as_text(message["data"])))
                    if waiting is not None:
                        waiting.set()

    async def join(self, tenant: Tenant, call_id: CallId, half: PbxHalf) -> ForkHalf | None:
        """Writes our half and reads the worker's, None = it is not there yet.

        Raises StoreError.
        """
        key = call_key(tenant, call_id)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(key, "pbx", write_pbx_half(half))
            pipe.expire(key, LIFE_SECONDS)
            pipe.hget(key, "fork")
            pipe.publish(JOINED, call_id)
            replies = await within(self._limit, pipe.execute())
        return _fork(replies[2])

    async def fork_half(self, tenant: Tenant, call_id: CallId) -> ForkHalf | None:
        """The worker's half as it is now. Raises StoreError."""
        reading = cast(Awaitable[Any], self._redis.hget(call_key(tenant, call_id), "fork"))
        return _fork(await within(self._limit, reading))

    async def wait_for_fork(self, tenant: Tenant, call_id: CallId, half: PbxHalf) -> ForkHalf:
        """Joins, and waits without end for the worker's half: the caller sets the limit.

        A Redis that fails is asked again; what it costs is told by the log.
        """
        joined = self._waiting.setdefault(call_id, asyncio.Event())
        written = False
        try:
            while True:
                heed_cancellation()
                joined.clear()
                try:
                    fork = (
                        await self.fork_half(tenant, call_id)
                        if written
                        else await self.join(tenant, call_id, half)
                    )
                    written = True
                except StoreError as error:
                    log.warning("rendezvous failed", error=str(error))
                    fork = None
                if fork is not None:
                    return fork
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_SECONDS):
                        await joined.wait()
        finally:
            self._waiting.pop(call_id, None)

    async def leave(self, tenant: Tenant, call_id: CallId) -> None:
        """Takes our half away. Raises StoreError."""
        removing = cast(Awaitable[Any], self._redis.hdel(call_key(tenant, call_id), "pbx"))
        await within(self._limit, removing)

    async def ping(self) -> None:
        """Raises StoreError: Redis does not answer."""
        await within(self._limit, cast(Awaitable[Any], self._redis.ping()))


@asynccontextmanager
async def open_rendezvous(url: str) -> AsyncIterator[Rendezvous]:
    """Connects lazily: a Redis that is away at the start may come later."""
    # RESP2, as RESP3 changes the shape of some replies.
    redis: Redis = Redis.from_url(url, protocol=2, socket_connect_timeout=0.5)
    try:
        yield Rendezvous(redis)
    finally:
        await redis.aclose()


def _fork(value: object) -> ForkHalf | None:
    if not isinstance(value, str | bytes):
        return None
    try:
        return parse_fork_half(value)
    except PeerError as error:
        log.warning("fork half is unusable", error=str(error))
        return None
