"""Context envelopes in a Redis Stream per tenant: `voicefork:v1:<tenant>:context`, field `json`.

It is gone a day after the tenant's last one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from orchestrator.bus.envelope import Envelope, EnvelopeUnreadable, parse_envelope, write_envelope
from orchestrator.errors import StoreError

log = logging.getLogger(__name__)

KEPT = 10_000  # envelopes per tenant, about
LIFE_SECONDS = 24 * 3600
APPEND_SECONDS = 0.5
_READ_AT_ONCE = 100


def context_key(tenant: str) -> str:
    return f"voicefork:v1:{tenant}:context"


class RedisStream:
    """Appends envelopes and follows them. The connection is its opener's."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def append(self, envelope: Envelope) -> None:
        """Returns once Redis has it. Raises StoreError."""
        fields: dict[Any, Any] = {"json": write_envelope(envelope)}
        key = context_key(envelope.tenant)
        pipe = self._redis.pipeline(transaction=False)
        pipe.xadd(key, fields, maxlen=KEPT, approximate=True)
        pipe.expire(key, LIFE_SECONDS)
        await _within(APPEND_SECONDS, pipe.execute())

    async def follow(
        self, tenant: str, after: str = "$", wait_seconds: float = 1.0
    ) -> AsyncGenerator[tuple[str, Envelope], None]:
        """(stream id, envelope) from `after` on, without end; "0" = everything kept.

        Envelopes of another version are logged and left out. Raises StoreError.
        """
        key = context_key(tenant)
        if after == "$":  # a fixed place, so that nothing is lost between two reads
            latest = await _within(wait_seconds, self._redis.xrevrange(key, count=1))
            after = _text(latest[0][0]) if latest else "0"
        while True:
            found = await _within(
                wait_seconds + 1.0,
                self._redis.xread({key: after}, _READ_AT_ONCE, round(wait_seconds * 1000)),
            )
            for _, entries in found or []:
                for entry, fields in entries:
                    after = _text(entry)
                    try:
                        yield after, parse_envelope(fields[b"json"])
                    except (EnvelopeUnreadable, KeyError) as error:
                        log.warning("envelope %s left out: %s", after, error)


async def _within(seconds: float, reply: Awaitable[Any]) -> Any:
    try:
        async with asyncio.timeout(seconds):
            return await reply
    except (RedisError, OSError, TimeoutError) as error:
        raise StoreError(f"redis: {type(error).__name__} {error}") from error


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
