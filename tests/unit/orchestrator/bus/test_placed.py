"""What an heir reads of the phones that ring."""

from __future__ import annotations

from typing import Any, cast

from orchestrator.bus.placed import RedisLedger
from orchestrator.model import CallId, Placed
from redis.asyncio import Redis


class OneHash:
    def __init__(self, entries: dict[bytes, bytes]) -> None:
        self._entries = entries

    def register_script(self, _: str) -> None: ...

    async def hgetall(self, _: str) -> dict[bytes, bytes]:
        return self._entries


async def test_an_entry_that_is_none_hides_no_other() -> None:
    ours = b'["t", "r"]'
    redis = OneHash({b"a": b"{", b"\xff": b"\xff", b"c": b"[1]", b"d": b"7", b"e": ours})
    ledger = RedisLedger(cast(Redis, cast(Any, redis)))
    assert await ledger.ringing("voicefork-0") == [Placed("t", "r", CallId("e"))]
