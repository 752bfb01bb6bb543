"""The pool's functions in Redis (pool.lua): loaded where Redis has not got them, and called.

Redis 7 and newer keeps them as a function library, older ones as a script. Both are forgotten when
Redis restarts without its files; the next call then loads them again.
"""

from __future__ import annotations

import asyncio
from importlib.resources import files
from typing import Any

import redis.asyncio as redis
from redis.exceptions import NoScriptError, ResponseError

SOURCE = files("siprec_worker.net").joinpath("pool.lua").read_text(encoding="utf-8")
SCRIPT = SOURCE.partition("\n")[2]  # without "#!lua name=…", which a script cannot have

Argument = str | bytes | int | float


def heed_cancellation() -> None:
    """redis-py returns normally when it is cancelled while it connects (8.1): raise it again."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class Pool:
    """Calls the functions of pool.lua on one Redis.

    Every call raises redis.RedisError, OSError or TimeoutError where Redis does not answer within
    `seconds`; nothing is tried again here.
    """

    def __init__(self, client: redis.Redis, seconds: float, *, library: bool = True) -> None:
        """`library`: use functions where Redis knows them; else always the script."""
        self._client = client
        self._seconds = seconds
        self._library = library
        self._sha = ""

    async def load(self) -> None:
        """Puts the functions there, also in place of another version's."""
        async with asyncio.timeout(self._seconds):
            await self._load()
        heed_cancellation()

    async def call(self, name: str, *arguments: Argument) -> Any:
        """One function's reply: bytes, int, or a list of them."""
        async with asyncio.timeout(self._seconds):
            try:
                reply = await self._call(name, arguments)
            except ResponseError as error:
                if not _forgotten(error):
                    raise
                await self._load()
                reply = await self._call(name, arguments)
        heed_cancellation()
        return reply

    async def _call(self, name: str, arguments: tuple[Argument, ...]) -> Any:
        if self._library:
            return await self._ask("FCALL", name, 0, *arguments)
        if not self._sha:
            await self._load()
        return await self._ask("EVALSHA", self._sha, 0, name, *arguments)

    async def _ask(self, *command: Argument) -> Any:
        return await self._client.execute_command(*command)  # type: ignore[no-untyped-call]

    async def _load(self) -> None:
        if self._library:
            try:
                await self._ask("FUNCTION LOAD", "REPLACE", SOURCE)
            except ResponseError as error:
                if "unknown command" not in str(error).lower():
                    raise
                self._library = False
        if not self._library:
            sha = await self._ask("SCRIPT LOAD", SCRIPT)
            self._sha = sha.decode() if isinstance(sha, bytes) else str(sha)


def _forgotten(error: ResponseError) -> bool:
    text = str(error).lower()
    return (
        isinstance(error, NoScriptError)
        or "function not found" in text
        or ("unknown command" in text and "fcall" in text)
    )
