"""What people said of handoffs afterwards, in Redis: one report each, for 90 days.

voicefork:v1:<tenant>:handoff:<id>:report   JSON: repeated, disposition, agent
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

from redis.asyncio import Redis

from orchestrator.errors import StoreError
from orchestrator.model import HandoffId
from orchestrator.replies import within

LIFE_SECONDS = 90 * 24 * 3600
LIMIT_SECONDS = 0.5


class RedisOutcomeReports:
    """Implements api.desk.Reports."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def keep(
        self, tenant: str, handoff: HandoffId, report: Mapping[str, object]
    ) -> Mapping[str, object] | None:
        """The report that was there before; None = this one is stored now. Raises StoreError."""
        key = f"voicefork:v1:{tenant}:handoff:{handoff}:report"
        text = json.dumps(dict(report), sort_keys=True)
        stored = await within(LIMIT_SECONDS, self._redis.set(key, text, nx=True, ex=LIFE_SECONDS))
        if stored:
            return None
        before = await within(LIMIT_SECONDS, self._redis.get(key))
        try:
            return cast(Mapping[str, object], json.loads(before or b"{}"))
        except ValueError as error:
            raise StoreError(f"the report of handoff {handoff} is unreadable") from error
