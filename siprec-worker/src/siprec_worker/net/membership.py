"""A worker's membership in the pool: heartbeat, its forks in Redis, and how they move."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

import redis.asyncio as redis
import structlog

from siprec_worker.net.admission import Admission
from siprec_worker.net.fork_store import AWAY, ForkStore
from siprec_worker.net.grpc_tls import Dial
from siprec_worker.net.lease import Lease, Situation
from siprec_worker.net.moving import Moving
from siprec_worker.net.pool import Pool, heed_cancellation
from siprec_worker.net.receiving import Receiving
from siprec_worker.net.rescue import Rescue
from siprec_worker.net.sip_endpoint import SipEndpoint
from siprec_worker.net.strays import StrayRequests
from siprec_worker.session.adoption import Adoption
from siprec_worker.session.call import RecordedCall
from siprec_worker.session.registry import Calls
from siprec_worker.telemetry import Metrics

log = structlog.get_logger(__name__)

CALL_SECONDS = 0.5  # for any function of the pool
LEAVING_SECONDS = 1.0  # for the ends of the calls that end with us
AGAIN_SECONDS = 1.0  # after a part that failed for no reason that it knows of


@dataclass(frozen=True, slots=True)
class Around:
    """What a member is made of; `drop` ends a call of ours, `flush` writes what streams hold,
    `dial` reaches another worker's control service."""

    calls: Calls
    metrics: Metrics
    admission: Admission
    endpoint: SipEndpoint
    adoption: Adoption
    drop: Callable[[RecordedCall, str, float], None]
    flush: Callable[[float], None]
    dial: Dial


class Membership:
    """Made by `open_membership`."""

    def __init__(self, pool: Pool, situation: Situation, around: Around) -> None:
        calls, metrics, admission = around.calls, around.metrics, around.admission
        endpoint, adoption = around.endpoint, around.adoption
        self.pool = pool
        self.store = ForkStore(pool, situation.worker_id, endpoint.dialog_state, metrics)
        self.lease = Lease(
            pool,
            situation,
            self.store,
            metrics,
            lambda: len(calls),
            lambda: admission.draining,
        )
        self.receiving = Receiving(
            pool, self.lease, self.store, adoption, metrics, lambda: admission.obstacle
        )
        self.rescue = Rescue(
            *(pool, self.lease, self.store, adoption, metrics, admission.admits, around.drop),
            around.dial,
        )
        self.strays = StrayRequests(pool, endpoint, situation.sip_uri, metrics)
        self.moving = Moving(
            *(pool, self.lease, self.store, endpoint, calls, metrics, around.flush),
            *(self.strays.moved, around.dial),
        )
        self._metrics = metrics
        self.lease.on_dead = self.rescue.found
        self.store.on_lost = self._lost

    def keep(self, call: RecordedCall) -> None:
        """A call has begun, changed or ended: session.call.Surroundings.keep."""
        if not self.store.fence_of(call.sip_call_id):
            told = call.metadata.sip_session_id if call.metadata is not None else ""
            self.lease.arrived(call.identity.call_id, told or "")
        self.store.mark(call)

    def _lost(self, call: RecordedCall) -> None:
        self._metrics.forks_lost.inc()
        self.moving.let_go(call, "another worker has it")


@asynccontextmanager
async def open_membership(
    url: str, situation: Situation, around: Around
) -> AsyncIterator[Membership]:
    """A member of the pool in the Redis at `url`, from the first beat on. Redis may be away."""
    client: redis.Redis = redis.Redis.from_url(
        url, protocol=2, socket_timeout=CALL_SECONDS, socket_connect_timeout=CALL_SECONDS
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(client.aclose)
        pool = Pool(client, CALL_SECONDS)
        member = Membership(pool, situation, around)
        try:
            await pool.load()
        except AWAY as error:
            log.warning("the pool is away", why=str(error) or type(error).__name__)
        stack.push_async_callback(leave, member.store, member.lease)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        stack.callback(member.receiving.close)
        for part in (member.store, member.lease, member.rescue, member.strays):
            stack.callback(tasks.create_task(lasting(part.run)).cancel)
        yield member


async def leave(store: ForkStore, lease: Lease) -> None:
    """The worker ends: what it still has to tell Redis, and that it is gone."""
    with suppress(*AWAY):
        async with asyncio.timeout(LEAVING_SECONDS):
            await store.write_all()
    with suppress(*AWAY):
        await lease.leave()


async def lasting(work: Callable[[], Awaitable[None]]) -> None:
    """Does it again and again until cancelled: a fault in it, or what nobody expected in Redis,
    costs the pool a moment, and the calls nothing.
    """
    while True:
        heed_cancellation()
        try:
            await work()
        except Exception:
            log.exception("a part of the membership failed")
        await asyncio.sleep(AGAIN_SECONDS)
