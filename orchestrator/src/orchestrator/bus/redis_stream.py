"""Context envelopes in a Redis Stream per tenant: `voicefork:v1:<tenant>:context`, field `json`.

It is gone a day after the tenant's last one.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from typing import Any

from redis.asyncio import Redis

from orchestrator.bus.envelope import Envelope, EnvelopeUnreadable, parse_envelope, write_envelope
from orchestrator.replies import as_text, within

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
        await within(APPEND_SECONDS, pipe.execute())

    async def follow(
        self, tenant: str, after: str = "$", wait_seconds: float = 1.0
    ) -> AsyncGenerator[tuple[str, Envelope], None]:
        """(stream id, envelope) from `after` on, without end; "0" = everything kept.

        Envelopes of another version are logged and left out. Raises StoreError.
        """
        key = context_key(tenant)
        if after == "$":  # a fixed place, so that nothing is lost between two reads
            latest = await within(wait_seconds, self._redis.xrevrange(key, count=1))
            after = as_text(latest[0][0]) if latest else "0"
        while True:
            found = await within(
                wait_seconds + 1.0,
                self._redis.xread({key: after}, _READ_AT_ONCE, round(wait_seconds * 1000)),
            )
            for _, entries in found or []:
                for entry, fields in entries:
                    after = as_text(entry)
                    try:
                        yield after, parse_envelope(fields[b"json"])
                    except (EnvelopeUnreadable, KeyError) as error:
                        log.warning("envelope %s left out: %s", after, error)
