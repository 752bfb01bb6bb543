"""This worker's heartbeat in the pool: its lease on its forks, and what it learns by it.

Redis away, slow or restarted never costs a call: `healthy_for` says how long it has answered
without a break, and only after three beats of that is anybody taken for dead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from siprec_worker.net.fork_store import AWAY, ForkStore
from siprec_worker.net.pool import Argument, Pool, heed_cancellation
from siprec_worker.telemetry import Metrics

log = structlog.get_logger(__name__)

BEAT_SECONDS = 0.3
LEASE_SECONDS = 1.2  # as in pool.lua
SURE_SECONDS = 0.9  # Redis has answered for so long: who lives has beaten meanwhile
_SLOW_SECONDS = 0.5  # a reply that took longer is none: what it says is old
_ROUNDED = 0.002
MAX_ARRIVED = 4096


@dataclass(frozen=True, slots=True)
class Dead:
    """A worker whose lease has run out and that has forks."""

    worker_id: str
    control: str


@dataclass(frozen=True, slots=True)
class Situation:
    """What a beat says of this worker. `sip_uri`: where OpenSIPS sends forks."""

    worker_id: str
    sip_uri: str
    zone: str
    control: str
    capacity: int


class Lease:
    """Beats until cancelled."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts it brings together
        self,
        pool: Pool,
        situation: Situation,
        store: ForkStore,
        metrics: Metrics,
        calls: Callable[[], int],
        draining: Callable[[], bool],
    ) -> None:
        self.on_dead: Callable[[list[Dead]], None] = lambda dead: None
        self._pool = pool
        self._situation = situation
        self._store = store
        self._metrics = metrics
        self._calls = calls
        self._draining = draining
        self._arrived: dict[str, None] = {}  # calls that the pool may have kept a place for
        self._healthy_since: float | None = None
        self._now = asyncio.Event()

    @property
    def worker_id(self) -> str:
        return self._situation.worker_id

    @property
    def sip_uri(self) -> str:
        return self._situation.sip_uri

    @property
    def zone(self) -> str:
        return self._situation.zone

    def arrived(self, *names: str) -> None:
        """A call came, by any of these names: its place in the pool is free again."""
        for name in names:
            if name and len(self._arrived) < MAX_ARRIVED:
                self._arrived[name] = None

    def beat_now(self) -> None:
        """Something has changed that OpenSIPS should know."""
        self._now.set()

    def healthy_for(self, now: float) -> float:
        """Seconds for which every beat was answered at once; 0: the last one was not."""
        return 0.0 if self._healthy_since is None else now - self._healthy_since

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            heed_cancellation()
            begun = loop.time()
            pause = BEAT_SECONDS
            self._now.clear()
            try:
                pause = min(await self._beat(begun), pause)
            except AWAY as error:
                if self._healthy_since is not None:
                    log.warning("no heartbeat", why=str(error) or type(error).__name__)
                self._healthy_since = None
                self._metrics.registry_errors.inc()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(begun + pause):
                    await self._now.wait()

    async def _beat(self, begun: float) -> float:
        """Seconds until the next is due: the usual, or when a lease that nobody renews runs out."""
        at, arrived = self._situation, tuple(self._arrived)
        stored = len(self._store)
        told: list[Argument] = [
            at.worker_id,
            at.sip_uri,
            at.zone,
            self._calls(),
            at.capacity,
            int(self._draining()),
            at.control,
            *arrived,
        ]
        _, forks, lost, dead, *late = await self._pool.call("vf_beat", *told)
        for name in arrived:
            self._arrived.pop(name, None)
        now = asyncio.get_running_loop().time()
        if now - begun > _SLOW_SECONDS:
            self._healthy_since = None
            return BEAT_SECONDS
        if self._healthy_since is None:
            self._healthy_since = now
        if forks < min(stored, len(self._store)):
            log.warning("Redis has forgotten forks", stored=stored, there=forks)
            self._store.mark_all()
        self._store.lost(_texts(lost))
        if dead:
            names = list(_texts(dead))
            pairs = zip(names[::2], names[1::2], strict=True)
            self.on_dead([Dead(name, control) for name, control in pairs])
        if not any(late):
            return BEAT_SECONDS
        return now - begun + float(late[0]) / 1000 + _ROUNDED

    async def leave(self) -> None:
        """The worker ends. Raises as Pool.call does."""
        await self._pool.call("vf_leave", self.worker_id)


def _texts(replies: Iterable[bytes]) -> Iterable[str]:
    return [reply.decode() for reply in replies]
