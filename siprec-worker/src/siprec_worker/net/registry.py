"""The worker's half of each call in Redis, where the PBX's half meets it (`call:{id}`).

Either half may come first; whoever comes second finds the other. Writes go through one bounded
queue and one task: Redis away or slow never touches a call, it only keeps the bot from it (the
orchestrator's deadline then sends the caller to a human).
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from dataclasses import dataclass

import redis.asyncio as redis
import structlog

from siprec_worker.net.pool import heed_cancellation
from siprec_worker.session import effects as fx
from siprec_worker.session.ports import Reporter
from siprec_worker.telemetry import Metrics

log = structlog.get_logger(__name__)

QUEUE = 4096
WRITE_SECONDS = 1.0
RETRY_SECONDS = 0.25
KEEP_SECONDS = 6 * 3600
JOINED_CHANNEL = "voicefork:v1:joined"


def call_key(tenant: str, call_id: str) -> str:
    """Where the two halves of a call meet: a hash with the fields `fork` and `pbx`."""
    return f"voicefork:v1:{tenant}:call:{call_id}"


@dataclass(frozen=True, slots=True)
class _Half:
    tenant: str
    call_id: str
    fork: str  # JSON; empty = take it away


class RedisRegistry:
    """session.ports.Reporter that keeps the fork halves in Redis."""

    def __init__(self, url: str, worker_id: str, control: str, metrics: Metrics) -> None:
        self._client: redis.Redis = redis.Redis.from_url(
            url, protocol=2, socket_timeout=WRITE_SECONDS, socket_connect_timeout=WRITE_SECONDS
        )
        self._worker_id = worker_id
        self._control = control
        self._metrics = metrics
        self._queue: deque[_Half] = deque()
        self._news = asyncio.Event()

    def fork_started(
        self, call_id: str, tenant: str, sip_call_id: str, talkback: tuple[str, int], direction: str
    ) -> None:
        host, port = talkback
        fork = {
            "worker_id": self._worker_id,
            "control": self._control,
            "talkback_host": host,
            "talkback_port": port,
            "sip_call_id": sip_call_id,
            "tenant": tenant,
            "direction": direction,
        }
        self._put(_Half(tenant, call_id, json.dumps(fork)))

    def fork_ended(self, call_id: str, tenant: str, reason: str) -> None:
        self._put(_Half(tenant, call_id, ""))

    def fork_moved(self, call_id: str, from_worker: str) -> None:
        """The registry has our half by fork_started."""

    def report(self, call_id: str, news: fx.News) -> None:
        """Not the registry's concern."""

    def _put(self, half: _Half) -> None:
        if len(self._queue) >= QUEUE:
            self._queue.popleft()
            self._metrics.registry_errors.inc()
        self._queue.append(half)
        self._news.set()

    @property
    def waiting(self) -> int:
        """Writes that Redis has not taken yet."""
        return len(self._queue)

    async def check(self) -> None:
        """Raises redis.RedisError if Redis does not answer."""
        async with asyncio.timeout(WRITE_SECONDS):
            await self._client.exists("voicefork:v1:ping")

    async def run(self) -> None:
        """Writes what is queued until cancelled; tries again while Redis is away."""
        while True:
            heed_cancellation()
            await self._news.wait()
            self._news.clear()
            while self._queue:
                half = self._queue[0]
                try:
                    async with asyncio.timeout(WRITE_SECONDS):
                        await self._write(half)
                except (redis.RedisError, OSError, TimeoutError) as error:
                    self._metrics.registry_errors.inc()
                    log.warning("registry away", why=str(error) or type(error).__name__)
                    await asyncio.sleep(RETRY_SECONDS)
                    heed_cancellation()
                else:
                    if self._queue and self._queue[0] is half:
                        self._queue.popleft()

    async def _write(self, half: _Half) -> None:
        key = call_key(half.tenant, half.call_id)
        async with self._client.pipeline(transaction=True) as pipe:
            if half.fork:
                pipe.hset(key, "fork", half.fork)
                pipe.expire(key, KEEP_SECONDS)
                pipe.publish(JOINED_CHANNEL, half.call_id)
            else:
                pipe.hdel(key, "fork")
            await pipe.execute()

    async def aclose(self) -> None:
        await self._client.aclose()


class Reporters:
    """Tells several reporters the same."""

    def __init__(self, *reporters: Reporter) -> None:
        self._reporters = reporters

    def fork_started(
        self, call_id: str, tenant: str, sip_call_id: str, talkback: tuple[str, int], direction: str
    ) -> None:
        for reporter in self._reporters:
            reporter.fork_started(call_id, tenant, sip_call_id, talkback, direction)

    def fork_ended(self, call_id: str, tenant: str, reason: str) -> None:
        for reporter in self._reporters:
            reporter.fork_ended(call_id, tenant, reason)

    def fork_moved(self, call_id: str, from_worker: str) -> None:
        for reporter in self._reporters:
            reporter.fork_moved(call_id, from_worker)

    def report(self, call_id: str, news: fx.News) -> None:
        for reporter in self._reporters:
            reporter.report(call_id, news)
