"""Redis' replies: waited for within a limit, and read as text."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from redis.exceptions import RedisError

from orchestrator.errors import StoreError


async def within(seconds: float, reply: Awaitable[Any]) -> Any:
    """The reply. Raises StoreError: it did not come in time, or is a refusal."""
    try:
        async with asyncio.timeout(seconds):
            return await reply
    except (RedisError, OSError, TimeoutError) as error:
        raise StoreError(f"redis: {type(error).__name__} {error}") from error


def as_text(value: object) -> str:
    """Whatever Redis holds, readable: bytes that are no UTF-8 have marks in their places."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def as_number(value: object, key: str) -> int:
    """A counter of ours. Raises StoreError: somebody else has written under our `key`."""
    text = as_text(value)
    if not (text.isascii() and text.isdigit()):
        raise StoreError(f"redis: {key} holds {text[:40]!r}, which is no number")
    return int(text)
