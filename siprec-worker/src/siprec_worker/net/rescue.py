"""Adopts the forks of workers that died: found by their leases, made sure of, a few at a time.

Redis must have answered for three beats, and the worker itself must not answer: so neither a Redis
that was away nor a worker that only cannot reach it moves a call. Each worker claims a few at a
time, so that several share the work, and one fork that does not answer holds up no other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

import grpc
import structlog
from grpc_health.v1 import health_pb2

from siprec_worker.errors import NoPorts, PeerError
from siprec_worker.net.fork_store import AWAY, ForkStore
from siprec_worker.net.grpc_tls import Dial
from siprec_worker.net.lease import SURE_SECONDS, Dead, Lease
from siprec_worker.net.pool import Pool, heed_cancellation
from siprec_worker.session.adoption import Adoption
from siprec_worker.session.call import RecordedCall
from siprec_worker.session.stored_fork import StoredFork, parse_stored_fork
from siprec_worker.telemetry import Metrics

log = structlog.get_logger(__name__)

PROBE_SECONDS = 0.4
ANSWER_SECONDS = 4.0  # for a re-INVITE; then the fork is given up
CLAIMED = 8  # at a time: more workers share the rest
AT_ONCE = 24  # wait for an answer
LEAVING_SECONDS = 8.0  # for a hand-over to one that is dead: its answer, the AIs', its word
_LOOK_SECONDS = 0.02


class Rescue:
    """Told of the dead by the lease; its task adopts what they had."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts it brings together
        self,
        pool: Pool,
        lease: Lease,
        store: ForkStore,
        adoption: Adoption,
        metrics: Metrics,
        takes_more: Callable[[], bool],
        drop: Callable[[RecordedCall, str, float], None],
        dial: Dial,
    ) -> None:
        self._pool = pool
        self._lease = lease
        self._store = store
        self._adoption = adoption
        self._metrics = metrics
        self._takes_more = takes_more
        self._drop = drop
        self._dial = dial
        self._dead: list[Dead] = []
        self._news = asyncio.Event()
        self._under_way: set[asyncio.Task[None]] = set()

    def found(self, dead: list[Dead]) -> None:
        self._dead = dead
        self._news.set()

    async def run(self) -> None:
        """Adopts until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                heed_cancellation()
                await self._news.wait()
                self._news.clear()
                for dead in self._dead:
                    try:
                        await self._look(dead, group)
                    except AWAY as error:
                        log.warning("no adoption", of=dead.worker_id, why=str(error))
                    except Exception:
                        # Whatever is in Redis: this worker's own calls must not end for it.
                        log.exception("no adoption", of=dead.worker_id)

    async def _look(self, dead: Dead, group: asyncio.TaskGroup) -> None:
        if not self._sure() or await is_alive(dead.control, self._dial):
            return
        while self._sure() and self._takes_more():
            while len(self._under_way) > AT_ONCE - CLAIMED:
                await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
            age_ms, *claimed = await self._pool.call(
                "vf_claim", self._lease.worker_id, dead.worker_id, CLAIMED
            )
            if not claimed:
                return
            since = time.time() - age_ms / 1000
            log.warning("adopting", of=dead.worker_id, forks=len(claimed) // 3)
            for i in range(0, len(claimed), 3):
                name, fence, state = claimed[i : i + 3]
                of = name.decode(errors="replace")
                work = self._adopt(dead.worker_id, of, int(fence), state, since)
                task = group.create_task(work)
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)

    def _sure(self) -> bool:
        now = asyncio.get_running_loop().time()
        return self._lease.healthy_for(now) >= SURE_SECONDS

    async def _adopt(
        self, from_worker: str, name: str, fence: int, state: bytes, since: float
    ) -> None:
        """One fork. What cannot be adopted is over: the PBX's side has its caller. Never raises."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[int] = loop.create_future()

        def done(status: int) -> None:
            if not answered.done():
                answered.set_result(status)

        fork = call = None
        try:
            fork = parse_stored_fork(state)
            await self._has_left(fork, name)
            if (ours := self._adoption.live(fork)) is not None:
                # It was given to us while Redis was away, which knows of it by now.
                self._store.take(ours, fence)
                self._store.mark(ours)
                return
            if fork.unsaid_from is not None:
                since = min(since, fork.unsaid_from)
            call = self._adoption.begin(fork, from_worker, since, loop.time(), done)
            self._store.take(call, fence)
            await self._wait(call, fork, from_worker, answered)
        except (ValueError, PeerError, NoPorts) as error:
            log.warning("not adopted", sip_call_id=name, why=str(error))
            self._failed(name, fence, fork, str(error))
        except Exception as error:
            # What nobody expected of what is stored costs this fork, and no other.
            log.exception("not adopted", sip_call_id=name)
            if call is not None:
                self._store.forget(name)
                self._adoption.give_up(call)
            self._failed(name, fence, fork, type(error).__name__)

    async def _has_left(self, fork: StoredFork, name: str) -> None:
        """A call that we were giving to the dead one is ours until that is over; for a while."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVING_SECONDS):
                while self._store.is_giving(name) and self._adoption.live(fork):  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK_SECONDS)

    def _failed(self, name: str, fence: int, fork: StoredFork | None, why: str) -> None:
        """Redis is told, and who knows of the fork, where it can be read."""
        self._metrics.adopted.labels(result="failed").inc()
        self._store.is_over(name, fence)
        if fork is not None:
            self._adoption.missed(fork, f"not adopted: {why}")

    async def _wait(
        self, call: RecordedCall, fork: StoredFork, from_worker: str, answered: asyncio.Future[int]
    ) -> None:
        """For the recording client's answer: it follows, or the fork is over."""
        status = 408
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                status = await answered
        call_id = fork.identity.call_id
        if status >= 300:  # noqa: PLR2004 - SIP's classes
            log.error("not adopted", call_id=call_id, status=status)
            self._metrics.adopted.labels(result="failed").inc()
            now = asyncio.get_running_loop().time()
            self._end(call, fork, f"not adopted: {status}", now)
            return
        self._metrics.adopted.labels(result="ok").inc()
        log.info("adopted", call_id=call_id, of=from_worker)

    def _end(self, call: RecordedCall, fork: StoredFork, why: str, now: float) -> None:
        """Of one that the orchestrator knows of, from its former worker: it is told of the end."""
        if call.ended_reason:  # while our re-INVITE was out, and before it was ours
            self._adoption.missed(fork, call.ended_reason)
            return
        call.confirmed = True
        self._drop(call, why, now)


async def is_alive(control: str, dial: Dial) -> bool:
    """Does the worker answer itself, whatever Redis says of it?"""
    if not control:
        return False
    async with dial(control) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await check(health_pb2.HealthCheckRequest())
        except grpc.aio.AioRpcError as error:
            # Any answer is one of a process that lives.
            unreachable = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED
            return error.code() not in unreachable
        except TimeoutError:
            return False
    return True
