"""The workers' pool as Redis has it (pool.lua of the workers writes it), read in one round trip.

Reads the keys themselves, by a script of our own: the workers' functions need not be loaded, and
Redis 6 and 7 are asked in the same way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from orchestrator.errors import StoreError
from orchestrator.replies import within

LIVE_MS = 2000  # as in pool.lua: no beat for so long, and a worker gets no forks
LIMIT_SECONDS = 0.5
STATES = ("live", "draining", "silent")

_NOW = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
"""

# Answers the places kept for calls on their way, then id, load, capacity, draining and milliseconds
# since the beat of each worker.
_LOOK = (
    _NOW
    + """
local found = {redis.call('ZCOUNT', 'voicefork:pool:places', '(' .. now, '+inf')}
local flat = redis.call('HGETALL', 'voicefork:pool:workers')
for i = 1, #flat, 2 do
  local _, _, load, capacity, draining, _, beat = cmsgpack.unpack(flat[i + 1])
  for _, value in ipairs({flat[i], load, capacity, draining, now - beat}) do
    found[#found + 1] = value
  end
end
return found
"""
)

# ARGV: worker, milliseconds. Answers 1 where it was forgotten; 0: it beats, or has forks to adopt.
_FORGET = (
    _NOW
    + """
local packed = redis.call('HGET', 'voicefork:pool:workers', ARGV[1])
if not packed or redis.call('EXISTS', 'voicefork:pool:forks:' .. ARGV[1]) == 1 then return 0 end
local _, _, _, _, _, _, beat = cmsgpack.unpack(packed)
if now - beat < tonumber(ARGV[2]) then return 0 end
redis.call('DEL', 'voicefork:pool:lost:' .. ARGV[1])
return redis.call('HDEL', 'voicefork:pool:workers', ARGV[1])
"""
)


@dataclass(frozen=True, slots=True)
class PoolWorker:
    """A worker's last beat. In Kubernetes its id is its pod's name."""

    worker_id: str
    calls: int
    capacity: int
    draining: bool
    silent_ms: int  # since that beat

    @property
    def state(self) -> str:
        """One of STATES."""
        if self.silent_ms >= LIVE_MS:
            return "silent"
        return "draining" if self.draining else "live"


@dataclass(frozen=True, slots=True)
class Standing:
    """The pool at one moment. `reserved`: places kept for calls on their way."""

    workers: Sequence[PoolWorker]
    reserved: int

    @property
    def calls(self) -> int:
        """On workers that stay."""
        return sum(worker.calls for worker in self.workers if worker.state == "live")

    @property
    def demand(self) -> int | None:
        """Calls that workers are needed for; None: no worker is heard, so nobody knows.

        A Redis that begins anew knows no worker for a beat, and would call that no demand.
        """
        return self.calls + self.reserved if self.states["live"] else None

    @property
    def states(self) -> Mapping[str, int]:
        """How many workers are in each of STATES."""
        counted = Counter(worker.state for worker in self.workers)
        return {state: counted[state] for state in STATES}

    def told(self) -> Mapping[str, object]:
        """What /autoscale answers. Raises StoreError: no worker is heard."""
        if self.demand is None:
            raise StoreError("no worker is heard in the pool")
        live = [worker for worker in self.workers if worker.state == "live"]
        return {
            "demand": self.demand,
            "calls": self.calls,
            "reserved": self.reserved,
            "capacity": sum(worker.capacity for worker in live),
            "workers": self.states,
        }


class PoolReader:
    """Asks Redis. Every method raises StoreError where it does not answer in time."""

    def __init__(self, redis: Redis) -> None:
        self._look = redis.register_script(_LOOK)
        self._forget = redis.register_script(_FORGET)

    async def look(self) -> Standing:
        reserved, *flat = await within(LIMIT_SECONDS, self._look())
        each = zip(*(flat[i::5] for i in range(5)), strict=True)
        return Standing([_worker(*fields) for fields in each], int(reserved))

    async def forget(self, worker_id: str, silent_ms: int) -> bool:
        """Takes a dead worker off the list, unless it beats again or has forks left to adopt."""
        return bool(await within(LIMIT_SECONDS, self._forget(args=[worker_id, silent_ms])))


def _worker(name: bytes, calls: int, capacity: int, draining: int, silent_ms: int) -> PoolWorker:
    text = name.decode(errors="replace")
    return PoolWorker(text, int(calls), int(capacity), bool(draining), max(int(silent_ms), 0))
