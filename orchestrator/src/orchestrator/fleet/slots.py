"""Slots in Redis: Stasis applications, each leased to one replica at a time.

    voicefork:v1:slot:<app>         the holder's fence; lives as long as the lease
    voicefork:v1:slot:<app>:fence   counter: every taking is one more
    voicefork:v1:slots              hash: app -> "<fence>|<replica>|<address>" of the last holder;
                                    goes when it says goodbye, stays when it dies, and is without
                                    an address when it gives its calls away

The counter is what counts: a replica whose fence is behind it has been replaced. It begins with the
time, so that it grows even when Redis has lost its memory. A lease that ran
out while nobody took the slot is simply renewed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, cast

from redis.asyncio import Redis

from orchestrator.replies import as_number, as_text, within

LEASE_SECONDS = 1.5
LIMIT_SECONDS = 0.25

_SLOTS = "voicefork:v1:slots"

# KEYS: lease, fence, slots. ARGV: app, replica, address, milliseconds, fence of a lease that may be
# broken. Answers the new fence, or 0 and the holder.
_TAKE = """
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[5] then
  return {0, redis.call('HGET', KEYS[3], ARGV[1]) or ''}
end
local before = redis.call('HGET', KEYS[3], ARGV[1]) or ''
if redis.call('EXISTS', KEYS[2]) == 0 then redis.call('SET', KEYS[2], redis.call('TIME')[1]) end
local fence = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], fence, 'PX', ARGV[4])
redis.call('HSET', KEYS[3], ARGV[1], fence .. '|' .. ARGV[2] .. '|' .. ARGV[3])
return {fence, before}
"""

# KEYS as above. ARGV: app, replica, address, milliseconds, fence. A counter that is gone was lost
# with Redis' memory: nobody else can have counted on. Answers 2 then.
_RENEW = """
local fence = redis.call('GET', KEYS[2])
if fence and fence ~= ARGV[5] then return 0 end
if not fence then redis.call('SET', KEYS[2], ARGV[5]) end
redis.call('SET', KEYS[1], ARGV[5], 'PX', ARGV[4])
redis.call('HSET', KEYS[3], ARGV[1], ARGV[5] .. '|' .. ARGV[2] .. '|' .. ARGV[3])
return fence and 1 or 2
"""

# KEYS as above. ARGV: app, fence.
_RELEASE = """
if redis.call('GET', KEYS[2]) ~= ARGV[2] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HDEL', KEYS[3], ARGV[1])
return 1
"""

# KEYS as above. ARGV: app, fence, replica. No lease, and nobody to be asked.
_OFFER = """
if redis.call('GET', KEYS[2]) ~= ARGV[2] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[3], ARGV[1], ARGV[2] .. '|' .. ARGV[3] .. '|')
return 1
"""

# KEYS: slots. Answers app, holder, and whether the lease lives, for each.
_LOOK = """
local found, slots = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #slots, 2 do
  found[#found + 1] = slots[i]
  found[#found + 1] = slots[i + 1]
  found[#found + 1] = redis.call('EXISTS', 'voicefork:v1:slot:' .. slots[i])
end
return found
"""


@dataclass(frozen=True, slots=True)
class Replica:
    """This process. `address` is its gRPC, host:port, as other replicas reach it."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has, or had, a slot. `alive`: its lease runs."""

    app: str
    fence: int
    replica: str
    address: str
    alive: bool

    @property
    def offered(self) -> bool:
        """It lives, and gives its calls to whoever takes the slot."""
        return not self.alive and not self.address


@dataclass(frozen=True, slots=True)
class Lease:
    """A slot of ours. `before` had it and did not say goodbye: its calls wait for somebody."""

    app: str
    fence: int
    before: Holder | None = None


class Renewed(IntEnum):
    """What became of a renewal."""

    TAKEN = 0  # by somebody else
    KEPT = 1
    FORGOTTEN = 2  # Redis had lost its memory; the slot is ours again


class Slots:
    """Takes, renews, releases. Every method raises StoreError when Redis does not answer."""

    def __init__(self, redis: Redis, replica: Replica) -> None:
        self._replica = replica
        self._take = redis.register_script(_TAKE)
        self._renew = redis.register_script(_RENEW)
        self._release = redis.register_script(_RELEASE)
        self._offer = redis.register_script(_OFFER)
        self._redis = redis
        self._look = redis.register_script(_LOOK)

    def was_here(self, holder: Holder) -> bool:
        """Whether that was a process at our own address: what answers there is us."""
        return holder.address == self._replica.address

    async def take(self, app: str, broken: int = 0) -> Lease | None:
        """None: it is held. `broken`: the fence of a holder who is known to be gone."""
        me = self._replica
        arguments: list[str | int] = [app, me.name, me.address, _MILLISECONDS, broken or ""]
        fence, before = await within(LIMIT_SECONDS, self._take(_keys(app), arguments))
        number = as_number(fence, _keys(app)[1])
        return Lease(app, number, _holder(app, before, alive=False)) if number else None

    async def renew(self, lease: Lease) -> Renewed:
        """False (as a truth value): somebody else has taken the slot."""
        me = self._replica
        arguments: list[str | int] = [
            *(lease.app, me.name, me.address),
            *(_MILLISECONDS, lease.fence),
        ]
        return Renewed(await within(LIMIT_SECONDS, self._renew(_keys(lease.app), arguments)))

    async def offer(self, lease: Lease) -> bool:
        """Whoever comes may take the slot at once. False: somebody has, already."""
        arguments: list[str | int] = [lease.app, lease.fence, self._replica.name]
        return bool(await within(LIMIT_SECONDS, self._offer(_keys(lease.app), arguments)))

    async def holds(self, lease: Lease) -> bool:
        """Whether nobody has taken the slot after us; also when Redis has forgotten it."""
        reading = cast(Awaitable[Any], self._redis.get(_keys(lease.app)[1]))
        fence = await within(LIMIT_SECONDS, reading)
        return fence is None or as_number(fence, _keys(lease.app)[1]) == lease.fence

    async def release(self, lease: Lease) -> None:
        await within(LIMIT_SECONDS, self._release(_keys(lease.app), [lease.app, lease.fence]))

    async def holders(self) -> Sequence[Holder]:
        """Of every slot whose holder has not said goodbye."""
        found = await within(LIMIT_SECONDS, self._look([_SLOTS], []))
        read = (
            _holder(as_text(app), holder, alive=bool(alive))
            for app, holder, alive in zip(found[::3], found[1::3], found[2::3], strict=True)
        )
        return [holder for holder in read if holder is not None]


_MILLISECONDS = round(LEASE_SECONDS * 1000)


def _keys(app: str) -> list[str]:
    lease = f"voicefork:v1:slot:{app}"
    return [lease, f"{lease}:fence", _SLOTS]


def _holder(app: str, text: object, *, alive: bool) -> Holder | None:
    fence, _, rest = as_text(text).partition("|")
    replica, _, address = rest.partition("|")
    return (
        Holder(app, int(fence), replica, address, alive)
        if fence.isascii() and fence.isdigit()
        else None
    )
