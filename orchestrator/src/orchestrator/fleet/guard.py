"""One replica at a time for a node that is driven by AMI alone: a lease in Redis.

    voicefork:v1:ami:<node>         name of the replica that drives it; lives as long as the lease
    voicefork:v1:ami:<node>:last    who drove it last, also when that has left

Asterisk tells whoever listens: with two replicas that react, a caller would be redirected twice.
A Redis that does not answer is no lost lease: nobody can have taken it meanwhile. Only a replica
that alone is cut off from Redis goes on beside its successor, until Redis answers it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, cast

import structlog
from redis.asyncio import Redis

from orchestrator.errors import StoreError
from orchestrator.fleet.slots import LEASE_SECONDS, LIMIT_SECONDS
from orchestrator.handoff.cancellation import heed_cancellation
from orchestrator.replies import within

log = structlog.stdlib.get_logger(__name__)

BEAT_SECONDS = 0.3

Drive = Callable[[], Coroutine[Any, Any, None]]

_KEPT = 1

# KEYS: lease, last. ARGV: replica, milliseconds. Taken where it is free, renewed where it is ours.
# Answers 2 where another one has driven the node since we did. A Redis without memory knows none.
_HOLD = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
local last = redis.call('GET', KEYS[2])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[2], ARGV[1])
return last and last ~= ARGV[1] and 2 or 1
"""

# KEYS: lease. ARGV: replica.
_LEAVE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
"""


class Guard:
    """Of one node, in one replica, whose name nobody else has. `run` belongs in a task."""

    def __init__(self, redis: Redis, node: str, replica: str) -> None:
        self._hold = redis.register_script(_HOLD)
        self._leave = redis.register_script(_LEAVE)
        self._keys = [f"voicefork:v1:ami:{node}", f"voicefork:v1:ami:{node}:last"]
        self._node = node
        self._replica = replica
        self._beat = 0.0
        self._replaced = False  # until what was driven is over, and told to be lost
        self.held = False

    async def run(self, drive: Drive, lost: Callable[[], None] = lambda: None) -> None:
        """Runs `drive` while the node is ours, until cancelled; `lost`: somebody has taken it."""
        try:
            while True:
                heed_cancellation()
                if await self._ours():
                    await self._drive(drive)
                    lost()
                    self._replaced = False
                await asyncio.sleep(BEAT_SECONDS)
        finally:
            await self._say_goodbye()

    async def permit(self) -> bool:
        """Whether the node may be told anything: False = replaced while we stood still."""
        now = asyncio.get_running_loop().time()
        if self.held and now - self._beat > LEASE_SECONDS:
            await self._ours()
        return self.held

    async def _drive(self, drive: Drive) -> None:
        log.info("this replica drives the node", node=self._node)
        async with asyncio.TaskGroup() as work:
            driving = work.create_task(drive())
            while await self._ours():
                heed_cancellation()
                await asyncio.sleep(BEAT_SECONDS)
            driving.cancel()
        log.warning("another replica drives the node", node=self._node)

    async def _ours(self) -> bool:
        """Takes the lease, or renews it. Who stood still while another one had it, and left, has
        lost it once: what that one did to the node's callers is not known here."""
        begun = asyncio.get_running_loop().time()
        arguments: list[str | int] = [self._replica, round(LEASE_SECONDS * 1000)]
        asking = cast(Awaitable[Any], self._hold(self._keys, arguments))
        try:
            answer = await within(LIMIT_SECONDS, asking)
            self._replaced |= self.held and answer != _KEPT
            self.held = bool(answer) and not self._replaced
        except StoreError as error:
            log.debug("lease of a node is not renewed", node=self._node, error=str(error))
        self._beat = begun  # not now: we may have stood still while it was asked
        return self.held

    async def _say_goodbye(self) -> None:
        if not self.held:
            return
        self.held = False
        try:
            await within(
                LIMIT_SECONDS, cast(Awaitable[Any], self._leave(self._keys[:1], [self._replica]))
            )
        except StoreError as error:
            log.warning("lease of a node is not released", node=self._node, error=str(error))
