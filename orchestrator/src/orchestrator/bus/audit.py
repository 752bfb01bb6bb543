"""The audit trail: what was decided about a call, in a Redis Stream per tenant.

    voicefork:v1:<tenant>:audit, field `json`:
    {"v": 1, "type": "audit", "kind", "at", "tenant", "call_id", "request_id", "rule", ...}

Ids and names of the configuration only: nothing that a caller said, and no number.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from orchestrator.handoff.cancellation import heed_cancellation
from orchestrator.handoff.ports import Tally

log = logging.getLogger(__name__)

VERSION = 1
TYPE = "audit"
KEPT = 100_000  # entries per tenant, about
CAPACITY = 10_000
APPEND_SECONDS = 0.5
RETRY_SECONDS = 0.5


def audit_key(tenant: str) -> str:
    return f"voicefork:v1:{tenant}:audit"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """`kind`: escalation_routed or destination_refused."""

    kind: str
    at: float  # seconds since the epoch
    tenant: str
    call_id: str
    request_id: str
    rule: str = ""
    details: Mapping[str, object] = field(default_factory=dict)  # JSON values


def write_entry(entry: AuditEntry) -> str:
    document = {
        **entry.details,
        "v": VERSION,
        "type": TYPE,
        "kind": entry.kind,
        "at": entry.at,
        "tenant": entry.tenant,
        "call_id": entry.call_id,
        "request_id": entry.request_id,
        "rule": entry.rule,
    }
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


class AuditTrail:
    """Logs at once, and appends in order as soon as Redis takes it.

    Bounded: when full, the oldest is dropped and counted; the log has it.
    """

    def __init__(self, redis: Redis, tally: Tally, capacity: int = CAPACITY) -> None:
        self._redis = redis
        self._tally = tally
        self._capacity = capacity
        self._kept: deque[AuditEntry] = deque()
        self._wanted = asyncio.Event()

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, entry: AuditEntry) -> None:
        """Never waits."""
        log.info("audit %s", write_entry(entry))
        if len(self._kept) >= self._capacity:
            self._kept.popleft()
            self._tally.count("audit_dropped")
        self._kept.append(entry)
        self._wanted.set()

    async def run(self) -> None:
        """Appends what is put, oldest first, until cancelled."""
        while True:
            heed_cancellation()
            await self._wanted.wait()
            if not await self.flush():
                await asyncio.sleep(RETRY_SECONDS)

    async def flush(self) -> bool:
        """Whether everything is in Redis now; stops at the first entry that is not."""
        while self._kept:
            entry = self._kept[0]
            fields: dict[Any, Any] = {"json": write_entry(entry)}
            adding: Awaitable[Any] = self._redis.xadd(
                audit_key(entry.tenant), fields, maxlen=KEPT, approximate=True
            )
            try:
                async with asyncio.timeout(APPEND_SECONDS):
                    await adding
            except (RedisError, OSError, TimeoutError) as error:
                self._tally.count("audit_retries")
                log.warning("audit entry is kept for later: %s", type(error).__name__)
                return False
            self._tally.count("audit_written")
            if self._kept and self._kept[0] is entry:  # else it was dropped meanwhile
                self._kept.popleft()
        self._wanted.clear()
        return True
