"""Reads the contexts that the orchestrator publishes: one Redis Stream per tenant.

An entry's field `json` is an envelope {"v": 1, "type": "handoff.context", ...}. Within v 1 fields
are only added: what is not known here is ignored.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import redis.asyncio as redis

T = TypeVar("T")
VERSION = 1
TYPE = "handoff.context"
BEGINNING = "0"
AT_ONCE = 100
BLOCK_SECONDS = 0.5
ANSWER_SECONDS = 2.0


class ContextsAway(Exception):  # noqa: N818 - named after what happened
    """Redis does not answer, or is none."""


@dataclass(frozen=True, slots=True)
class Published:
    """One entry of the stream; `envelope` is None where it cannot be read."""

    entry: str
    at_ns: int  # by the clock of Redis
    envelope: Mapping[str, Any] | None


def context_key(tenant: str) -> str:
    """The Redis stream on which the orchestrator publishes a tenant's contexts."""
    return f"voicefork:v1:{tenant}:context"


class ContextStream:
    """A tenant's contexts. Every method raises ContextsAway."""

    def __init__(self, client: redis.Redis, tenant: str) -> None:
        self._client = client
        self._key = context_key(tenant)

    async def latest(self) -> Published | None:
        """The newest that is kept."""
        found = await _answered(self._client.xrevrange(self._key, count=1))
        return _published(*found[0]) if found else None

    async def kept(self) -> AsyncIterator[Published]:
        """Everything that is kept, oldest first."""
        after = BEGINNING
        while found := await _answered(self._client.xread({self._key: after}, count=AT_ONCE)):
            for entry, fields in found[0][1]:
                after = entry.decode()
                yield _published(entry, fields)

    async def end(self) -> str:
        """The place behind the newest: a fixed one, so that nothing is lost between two reads."""
        newest = await self.latest()
        return newest.entry if newest else BEGINNING

    async def follow(self, after: str) -> AsyncIterator[Published]:
        """Everything behind the entry `after`, as it comes, without end."""
        block = round(BLOCK_SECONDS * 1000)
        while True:
            waiting = self._client.xread({self._key: after}, count=AT_ONCE, block=block)
            for _, entries in await _answered(waiting) or ():
                for entry, fields in entries:
                    after = entry.decode()
                    yield _published(entry, fields)


@asynccontextmanager
async def open_contexts(url: str, tenant: str) -> AsyncIterator[ContextStream]:
    """Nothing is sent yet. Raises ValueError: the URL is none of Redis."""
    client: redis.Redis = redis.Redis.from_url(
        url, protocol=2, socket_connect_timeout=ANSWER_SECONDS
    )
    try:
        yield ContextStream(client, tenant)
    finally:
        await client.aclose()


async def _answered(reply: Awaitable[Any]) -> Any:
    try:
        async with asyncio.timeout(ANSWER_SECONDS + BLOCK_SECONDS):
            return await reply
    except (redis.RedisError, OSError, TimeoutError) as error:
        raise ContextsAway(str(error) or type(error).__name__) from error


def _published(entry: bytes, fields: Mapping[bytes, bytes]) -> Published:
    name = entry.decode()
    at_ms = int(name.partition("-")[0])
    return Published(name, at_ms * 1_000_000, _envelope(fields.get(b"json", b"")))


def _envelope(text: bytes) -> Mapping[str, Any] | None:
    try:
        found = json.loads(text)
        known = (found["v"], found["type"]) == (VERSION, TYPE)
        return found if known and isinstance(found["context"], dict) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
