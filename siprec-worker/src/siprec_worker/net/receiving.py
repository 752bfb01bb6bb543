"""The side of the worker that gets another's live call (see moving.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog
from voicefork.worker.v1 import worker_pb2

from siprec_worker.errors import NoPorts, PeerError
from siprec_worker.media.carried import Reached, Tie
from siprec_worker.net.fork_store import AWAY, ForkStore
from siprec_worker.net.lease import Lease
from siprec_worker.net.pool import Pool
from siprec_worker.session.adoption import Adoption, Remainder, Told
from siprec_worker.session.call import RecordedCall
from siprec_worker.session.stored_fork import StoredFork, parse_stored_fork
from siprec_worker.telemetry import Metrics

log = structlog.get_logger(__name__)

ANSWER_SECONDS = 2.0  # for our re-INVITE
ARRIVAL_SECONDS = 0.3  # for the RTP, after its answer
CARRY_ON_SECONDS = 4.0  # the former worker's time and a stall of it; an inbox holds 5 s
UNANSWERED = 408
FOLLOWS_NOT = frozenset({405, 488, 501, 606})
_LOOK_SECONDS = 0.005


class NotAdopted(Exception):  # noqa: N818 - named after what happened
    """`stays`: the recording client refused, as it will refuse any other. `unsure`: it said
    nothing, and its RTP may come here.
    """

    def __init__(self, text: str, *, stays: bool = False, unsure: bool = False) -> None:
        super().__init__(text)
        self.stays = stays
        self.unsure = unsure


@dataclass(slots=True)
class _Arriving:
    call: RecordedCall
    fork: StoredFork
    overdue: asyncio.TimerHandle


class Receiving:
    def __init__(  # noqa: PLR0913, PLR0917 - the parts it brings together
        self,
        pool: Pool,
        lease: Lease,
        store: ForkStore,
        adoption: Adoption,
        metrics: Metrics,
        obstacle: Callable[[], str],
    ) -> None:
        self._pool = pool
        self._lease = lease
        self._store = store
        self._adoption = adoption
        self._metrics = metrics
        self._obstacle = obstacle
        self._arriving: dict[str, _Arriving] = {}

    @property
    def sip_uri(self) -> str:
        return self._lease.sip_uri

    async def adopt(self, state: bytes, fence: int, from_worker: str) -> None:
        """Ends when the RTP comes here, and the fork is ours in Redis. Raises NotAdopted."""
        if obstacle := self._obstacle():
            raise NotAdopted(obstacle)
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[int] = loop.create_future()

        def done(status: int) -> None:
            if not answered.done():
                answered.set_result(status)

        try:
            fork = parse_stored_fork(state)
            call = self._adoption.begin(fork, from_worker, None, loop.time(), done)
        except (ValueError, PeerError, NoPorts) as error:
            raise NotAdopted(str(error)) from error
        self._lease.arrived(call.sip_call_id)
        try:
            await _followed(answered)
            await self._make_ours(call, fork, fence, from_worker)
        except BaseException:  # also when who asked is gone: nobody else would end it
            self._adoption.give_up(call)
            raise
        self._await_carry_on(call, fork)
        await _rtp_arrives(call, fork)

    async def _make_ours(
        self, call: RecordedCall, fork: StoredFork, fence: int, from_worker: str
    ) -> None:
        """In Redis; where that is away the former worker's word is enough."""
        moved: list[int] = [fence + 1]
        now = asyncio.get_running_loop().time()
        state = self._adoption.handed(call, fork, now).encode()
        with suppress(*AWAY):
            moved = await self._pool.call(
                "vf_hand", from_worker, call.sip_call_id, fence, self._lease.worker_id, state
            )
        if not moved:
            raise NotAdopted("the fork is another worker's")
        self._store.take(call, int(moved[0]))
        self._metrics.adopted.labels(result="ok").inc()

    def _await_carry_on(self, call: RecordedCall, fork: StoredFork) -> None:
        call_id = call.identity.call_id
        overdue = asyncio.get_running_loop().call_later(
            CARRY_ON_SECONDS, lambda: self.carry_on(call_id, None)
        )
        self._arriving[call_id] = _Arriving(call, fork, overdue)

    def carry_on(self, call_id: str, told: Told | None) -> bool:
        """The AI streams go on: the former worker says so, or (None) says nothing any more."""
        arriving = self._arriving.pop(call_id, None)
        if arriving is None:
            return False
        arriving.overdue.cancel()
        if not arriving.call.ended_reason:
            now = asyncio.get_running_loop().time()
            self._adoption.go(arriving.call, arriving.fork, told, now)
        return True

    def close(self) -> None:
        for arriving in self._arriving.values():
            arriving.overdue.cancel()


async def _followed(answered: asyncio.Future[int]) -> None:
    """Until the recording client has said that its RTP comes here. Raises NotAdopted."""
    status = UNANSWERED
    with suppress(TimeoutError):
        async with asyncio.timeout(ANSWER_SECONDS):
            status = await answered
    if status >= 300:  # noqa: PLR2004 - SIP's classes
        raise NotAdopted(
            f"{status} to our re-INVITE",
            stays=status in FOLLOWS_NOT,
            unsure=status == UNANSWERED,
        )


async def _rtp_arrives(call: RecordedCall, fork: StoredFork) -> None:
    """Until every leg that was heard at the former worker is heard here. A silent one never is."""
    heard = [line for line in call.lines.values() if line.handle in fork.ties]
    with suppress(TimeoutError):
        async with asyncio.timeout(ARRIVAL_SECONDS):
            while not all(line.track.inbox for line in heard):  # noqa: ASYNC110 - a tick tells
                await asyncio.sleep(_LOOK_SECONDS)


def told_by(request: worker_pb2.CarryOnRequest) -> Told:
    """What the former worker says. Never raises."""
    agents: dict[str, list[Remainder]] = {}
    for one in request.streams:
        agents.setdefault(one.agent, []).append(Remainder(one.seq, tuple(one.left)))
    legs = {
        leg.handle: Reached(Tie(leg.ssrc, leg.timestamp, leg.pts), leg.sequence)
        for leg in request.legs
    }
    return Told(agents, legs, _newest(request.call_state), request.ended)


def _newest(state: bytes) -> StoredFork | None:
    """An older worker says none; one that cannot be read leaves what was said at first."""
    try:
        return parse_stored_fork(state) if state else None
    except ValueError as error:
        log.warning("state not taken", why=str(error))
        return None
