"""Recorders in the pool: what a worker tells Redis about itself, for servers that are none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import redis.asyncio as redis
from redis.exceptions import RedisError
from siprec_worker.net.pool import Pool
from voicefork_cli.lab.redis import Redis

BEAT_SECONDS = 0.3
CALL_SECONDS = 0.5


@dataclass
class Member:
    """One of the pool: change `load` and `draining` at will, the next beat tells."""

    name: str
    uri: str
    load: int = 0
    capacity: int = 1000
    draining: bool = False


@dataclass
class Beats:
    pool: Pool
    members: list[Member] = field(default_factory=list)

    async def beat(self) -> None:
        for one in self.members:
            what = (one.name, one.uri, "-", one.load, one.capacity, int(one.draining))
            await self.pool.call("vf_beat", *what)

    async def go_on(self) -> None:
        while True:
            with suppress(RedisError, OSError, TimeoutError):
                await self.beat()
            await asyncio.sleep(BEAT_SECONDS)


@asynccontextmanager
async def open_beats(server: Redis, *members: Member) -> AsyncIterator[Beats]:
    """Keeps the members alive in Redis while the block runs."""
    client = redis.Redis.from_url(server.url)
    beats = Beats(Pool(client, CALL_SECONDS), list(members))
    await beats.pool.load()
    await beats.beat()
    task = asyncio.create_task(beats.go_on())
    try:
        yield beats
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await client.aclose()
