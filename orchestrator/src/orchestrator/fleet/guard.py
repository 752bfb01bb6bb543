"""One replica at a time for a node that is driven by AMI alone: a lease in Redis.

    voicefork:v1:ami:<node>         name of the replica that drives it; lives as long as the lease
    voicefork:v1:ami:<node>:last    who drove it last, also when that has left
    voicefork:v1:ami:<node>:fence   counter: another driver is one more; it begins with the time, so
                                    that it grows even when Redis has lost its memory

Asterisk tells whoever listens: with two replicas that react, a caller would be redirected twice.
A Redis that does not answer is no lost lease: it may be away for all. But it may be away for this
replica alone, and another one have the node. So a driver writes its fence into the node before it
looks at anything there, and one whose lease Redis no longer confirms asks the node before it tells
it anything: a higher fence than its own is its successor's.
"""

from __future__ import annotations

import asyncio
import math
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

SETTLE_SECONDS = 0.2
"""A successor looks at the node that much after it has written its fence there. What its driver
knew before is older than that, or is asked for again."""

Drive = Callable[[], Coroutine[Any, Any, None]]
AskNode = Callable[[], Awaitable[int | None]]
"""The fence that is written in the node; None: it does not say."""

_KEPT = 1
_NODE_TRIES = 3

# KEYS: lease, last, fence. ARGV: replica, milliseconds. Taken where it is free, renewed where it is
# ours. Answers 2 where another one has driven the node since we did (a Redis without memory knows
# none), and the fence.
_HOLD = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return {0, 0} end
local last = redis.call('GET', KEYS[2])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[2], ARGV[1])
if redis.call('EXISTS', KEYS[3]) == 0 then redis.call('SET', KEYS[3], redis.call('TIME')[1]) end
local fence = tonumber(redis.call('GET', KEYS[3]))
if last ~= ARGV[1] then fence = redis.call('INCR', KEYS[3]) end
return {last and last ~= ARGV[1] and 2 or 1, fence}
"""

# KEYS: lease. ARGV: replica.
_LEAVE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
"""


async def _says_nothing() -> None:
    """A node that cannot be asked."""


class Guard:
    """Of one node, in one replica, whose name nobody else has. `run` belongs in a task."""

    def __init__(self, redis: Redis, node: str, replica: str) -> None:
        self._hold = redis.register_script(_HOLD)
        self._leave = redis.register_script(_LEAVE)
        lease = f"voicefork:v1:ami:{node}"
        self._keys = [lease, f"{lease}:last", f"{lease}:fence"]
        self._node = node
        self._replica = replica
        self._beat = 0.0
        self._confirmed = -math.inf  # by Redis
        self._ask_node: AskNode = _says_nothing
        self._replaced = False  # until what was driven is over, and told to be lost
        self.held = False
        self.fence = 0  # where it is held

    async def run(
        self,
        drive: Drive,
        lost: Callable[[], None] = lambda: None,
        ask_node: AskNode = _says_nothing,
    ) -> None:
        """Runs `drive` while the node is ours, until cancelled; `lost`: somebody has taken it.

        `ask_node`: must not ask for our permit.
        """
        self._ask_node = ask_node
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
        """Whether the node may be told anything: False = replaced while we stood still, or were
        cut off from Redis."""
        now = asyncio.get_running_loop().time()
        if self.held and now - self._beat > LEASE_SECONDS:
            await self._ours()
        if self.held and not self.confirmed:
            return await self._ours_by_the_node()
        return self.held

    @property
    def confirmed(self) -> bool:
        """Whether nobody can have taken the lease from us, if we have it."""
        return asyncio.get_running_loop().time() - self._confirmed <= LEASE_SECONDS

    async def _ours_by_the_node(self) -> bool:
        clock = asyncio.get_running_loop().time
        for _ in range(_NODE_TRIES):
            asked = clock()
            fence = await self._ask_node()
            if fence is not None and fence > self.fence:
                self._replaced, self.held = True, False
                return False
            if clock() - asked < SETTLE_SECONDS / 2:
                return self.held
        return False  # what it said is too old by now

    async def _drive(self, drive: Drive) -> None:
        log.info("this replica drives the node", node=self._node)
        async with asyncio.TaskGroup() as work:
            driving = work.create_task(drive())
            while await self._ours() and (await self.permit() or self.held):
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
            answer, fence = await within(LIMIT_SECONDS, asking)
            self._replaced |= self.held and answer != _KEPT
            self.held = bool(answer) and not self._replaced
            if self.held:
                self._confirmed, self.fence = begun, fence
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
