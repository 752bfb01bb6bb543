"""This process among its likes: its slot, what it writes down for a successor, and the others."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import Redis

from orchestrator.app.succession import Succession
from orchestrator.config import Settings
from orchestrator.fleet.book import CallBook
from orchestrator.fleet.inheritance import Inheritance
from orchestrator.fleet.peers import Peers
from orchestrator.fleet.slots import LIMIT_SECONDS, Replica, Slots
from orchestrator.fleet.tenure import Tenure


@dataclass(frozen=True, slots=True)
class Membership:
    """Our place among the replicas. Made by `open_membership`, with a slot already."""

    tenure: Tenure
    book: CallBook
    peers: Peers

    async def run(self, nodes: Sequence[Succession], forgotten: Callable[[], None]) -> None:
        """Keeps the slot, writes calls down, adopts those of the dead; until the slot is lost.

        `forgotten` is called when Redis has lost its memory.
        """
        self.tenure.forgotten = forgotten

        async def adopt(inheritance: Inheritance) -> None:
            async with asyncio.TaskGroup() as work:
                for node in nodes:
                    work.create_task(node.inherit(inheritance.app, inheritance.permit))

        async with asyncio.TaskGroup() as work:
            writing = work.create_task(self.book.run())
            await self.tenure.run(adopt)
            writing.cancel()

    async def hand_over(self) -> bool:
        """Our calls to another replica, at once; False: nobody takes them, they are ours."""
        return await self.book.written() and await self.tenure.hand_over()


@asynccontextmanager
async def open_membership(
    settings: Settings, address: str, peers: Peers
) -> AsyncIterator[Membership]:
    """Waits for a slot. `address`: our gRPC as other replicas reach it."""
    redis: Redis = Redis.from_url(settings.redis, protocol=2, socket_connect_timeout=LIMIT_SECONDS)
    try:
        me = Replica(f"{socket.gethostname()}/{secrets.token_hex(4)}", address)
        tenure = Tenure(Slots(redis, me), peers.alive, fixed=settings.app, count=settings.slots)
        await tenure.settle()
        book = CallBook(redis, tenure.app, lambda: tenure.fence)
        yield Membership(tenure, book, peers)
    finally:
        await redis.aclose()
