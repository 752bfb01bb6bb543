"""Moves live forks from one worker to another, and nothing of them is lost.

    ours                                   the other's
    Adopt(state) ───────────────────────→  re-INVITE with its own SDP, 200, RTP arrives there
    what we still have goes to the AIs ←── answered
    they have acknowledged all of it,
    or have had their time
    CarryOn(acknowledged, the rest,
            the state by now) ──────────→  resumes the AI streams, says the rest again, and
                                           then what came meanwhile: audio and events
    the call is forgotten; what is
    still asked of it is passed on

A recording client that does not follow a re-INVITE keeps its worker (see followers.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress

import grpc
import structlog
from voicefork.worker.v1 import worker_pb2, worker_pb2_grpc

from siprec_worker.net.followers import Followers
from siprec_worker.net.fork_store import AWAY, ForkStore
from siprec_worker.net.grpc_tls import Dial
from siprec_worker.net.lease import Lease
from siprec_worker.net.passing_on import PassingOn
from siprec_worker.net.pool import Pool
from siprec_worker.session.adoption import stored_fork
from siprec_worker.session.call import RecordedCall
from siprec_worker.session.negotiation import offered_again
from siprec_worker.session.ports import SipSide
from siprec_worker.session.registry import Calls
from siprec_worker.session.seats import Stage
from siprec_worker.telemetry import Metrics

log = structlog.get_logger(__name__)

ADOPT_SECONDS = 4.0  # the other's answers in their time, and a stall of it
CARRY_ON_SECONDS = 2.0
LAST_PACKETS_SECONDS = 0.12  # the reorder buffer and two ticks: then all that came has been said
STILL_COMING_SECONDS = 0.6  # its legs may move one after the other
ACKNOWLEDGED_SECONDS = 1.2  # what is not by then goes along; the new inbox holds 5 s
QUIET_SECONDS = 5.0  # the bot may end what it is saying
RETRY_SECONDS = 1.0
AT_ONCE = 8
_LOOK_SECONDS = 0.02


class Moving:
    """The side of the worker that gives its calls away."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts it brings together
        self,
        pool: Pool,
        lease: Lease,
        store: ForkStore,
        side: SipSide,
        calls: Calls,
        metrics: Metrics,
        flush: Callable[[float], None],
        gone: Callable[[str, str], None],
        dial: Dial,
    ) -> None:
        """`gone`: told the Call-ID of a dialog and the SIP URI of the worker that has it now."""
        self._pool = pool
        self._lease = lease
        self._store = store
        self._side = side
        self._calls = calls
        self._metrics = metrics
        self._flush = flush
        self._gone = gone
        self._dial = dial
        self._followers = Followers(pool)
        self.passing_on = PassingOn(dial)
        self._moving: dict[str, RecordedCall] = {}

    async def move_all(self, at_once: asyncio.Event) -> None:
        """Moves every call that can be moved, until there is none or the task is cancelled."""
        places = asyncio.Semaphore(AT_ONCE)
        await self._followers.learn()
        while self._calls and not at_once.is_set():
            async with asyncio.TaskGroup() as group:
                for call in self._calls.live():
                    if self.can_move(call):
                        group.create_task(self._move_one(call, places))
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY_SECONDS):
                    await at_once.wait()

    def can_move(self, call: RecordedCall) -> bool:
        """Is it set up, does its client follow, and would its AIs know it again?"""
        if not call.confirmed or call.suspended or call.ended_reason:
            return False
        if not self._followers.may_follow(call.sip_call_id, call.peer_host):
            return False
        return all(
            seat.stage in (Stage.WAITING, Stage.OVER)
            or url == "discard:"
            or (seat.stage is Stage.OPEN and seat.opened and seat.opened.resume_token)
            for url, seat in zip(call.agents, call.conversation.seats, strict=True)
        )

    async def _move_one(self, call: RecordedCall, places: asyncio.Semaphore) -> None:
        async with places:
            await _quiet(call)
            if not self.can_move(call):
                return
            try:
                await self.hand_over(call, "")
            except (*AWAY, grpc.aio.AioRpcError) as error:
                why = error.details() if isinstance(error, grpc.aio.AioRpcError) else error
                log.warning("not moved", call_id=call.identity.call_id, why=str(why))
            except Exception:
                # One call stays; the others move, and the worker does not end with them.
                log.exception("not moved", call_id=call.identity.call_id)

    async def hand_over(self, call: RecordedCall, to: str) -> bool:
        """Moves one call to the worker whose control address is `to`, else to the best of the pool.

        False: there is none, or the call is under way already. Raises grpc.aio.AioRpcError and
        what Pool.call raises; the call is then still ours, as far as anybody can know.
        """
        key = call.sip_call_id
        if key in self._moving:
            return False
        self._moving[key] = call
        self.passing_on.stays(call.identity.call_id)
        try:
            to = to or await self._heir(key)
            return bool(to) and await self._hand_over(call, to)
        finally:
            del self._moving[key]

    async def _heir(self, key: str) -> str:
        found = await self._pool.call("vf_heir", self._lease.worker_id, self._lease.zone, key)
        return found[1].decode() if found else ""

    async def _hand_over(self, call: RecordedCall, to: str) -> bool:
        key = call.sip_call_id
        if not self._store.fence_of(key) and not await self._store.write(call):
            return False
        async with self._dial(to) as channel:
            stub: worker_pb2_grpc.WorkerControlAsyncStub
            stub = worker_pb2_grpc.WorkerControlStub(channel)
            if not await self._adopted(call, stub):
                return False
            try:
                await self._carry_on(call, stub, to)
            finally:  # also when our time is over: a BYE of ours would end it at its new worker
                self.let_go(call, "moved")
        self._metrics.moved.labels(result="ok").inc()
        await self._followers.followed(call.peer_host)
        return True

    async def _carry_on(
        self, call: RecordedCall, stub: worker_pb2_grpc.WorkerControlAsyncStub, to: str
    ) -> None:
        await self._finish(call)
        dialog, ended = self._side.dialog_state(call.dialog_id), call.ended_reason
        request = worker_pb2.CarryOnRequest(
            call_id=call.identity.call_id,
            streams=self._remainders(call),
            legs=_legs(call),
            call_state=b"" if ended or dialog is None else stored_fork(call, dialog).encode(),
            ended=ended,
        )
        self.passing_on.gone(call.identity.call_id, to)
        with suppress(grpc.aio.AioRpcError, TimeoutError):  # it goes on by itself, later
            async with asyncio.timeout(CARRY_ON_SECONDS):
                await stub.CarryOn(request)

    def has_left(self, call: RecordedCall) -> bool:
        """Its new worker has been told all there was of it: what comes now is for that one."""
        # The same Call-ID may be back already, adopted of a new worker that has died since.
        return self._moving.get(call.sip_call_id) is call and bool(
            self.passing_on.where(call.identity.call_id)
        )

    async def _adopted(
        self, call: RecordedCall, stub: worker_pb2_grpc.WorkerControlAsyncStub
    ) -> bool:
        key, dialog = call.sip_call_id, self._side.dialog_state(call.dialog_id)
        if dialog is None or call.ended_reason:
            return False
        state = stored_fork(call, dialog).encode()
        fence = self._store.give(key)
        call.audio.leave(True)
        request = worker_pb2.AdoptRequest(
            call_state=state,
            fence=fence,
            from_worker=self._lease.worker_id,
        )
        try:
            async with asyncio.timeout(ADOPT_SECONDS):
                self._gone(key, (await stub.Adopt(request)).sip)
        except (grpc.aio.AioRpcError, TimeoutError) as error:
            if _unsure(error) and (owner := await self._other_owner(key)):
                self._gone(key, owner)  # only the answer was lost
                return True
            self._metrics.moved.labels(result="failed").inc()
            self._take_back(call, fence)
            if _code(error) is grpc.StatusCode.FAILED_PRECONDITION:
                await self._followers.refused(call.sip_call_id, call.peer_host)
            elif _unsure(error):
                await self._pull_back(call)
            raise
        except BaseException:  # where we are cancelled the other gives it up, too
            self._take_back(call, fence)
            raise
        return True

    async def _other_owner(self, key: str) -> str:
        """Who has the fork by now, if not we. Empty where Redis does not say."""
        owner = b""
        with suppress(*AWAY):
            owner = await self._pool.call("vf_owner", key)
        return owner.decode() if owner.decode() != self._lease.sip_uri else ""

    def _take_back(self, call: RecordedCall, fence: int) -> None:
        call.audio.leave(False)
        self._store.take(call, fence)
        self._side.outrun(call.dialog_id)
        self._store.mark(call)

    async def _pull_back(self, call: RecordedCall) -> None:
        """Nobody knows where its RTP goes by now: here, if it is still ours."""
        if call.local_sdp is not None:
            offer = offered_again(call, call.local_sdp)
            if await self._store.write(call):
                self._side.reinvite(call.dialog_id, offer)

    async def _finish(self, call: RecordedCall) -> None:
        """Says what we still have of the call, and waits until the AIs have taken it."""
        loop = asyncio.get_running_loop()
        await _last_packets(call.audio.heard_at, loop.time)
        call.playout.clear()
        self._say(call, loop.time())
        with suppress(TimeoutError):
            async with asyncio.timeout(ACKNOWLEDGED_SECONDS):
                places = range(len(call.agents))
                while any(call.audience.outstanding(place)[1] for place in places):  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK_SECONDS)
        self._say(call, loop.time())  # a packet that has come here even now

    def _say(self, call: RecordedCall, now: float) -> None:
        """What has come of the call goes to the AIs; what comes from now on waits."""
        call.suspended = False
        call.tick(now)
        call.suspended = True
        self._flush(now)

    def _remainders(self, call: RecordedCall) -> list[worker_pb2.AcknowledgedStream]:
        """How far each AI is; what it may not have goes along, for the other to say again."""
        told = []
        for place, url in enumerate(call.agents):
            (acked, _), left = call.audience.outstanding(place), call.audience.left(place)
            self._metrics.left.inc(sum(map(len, left)))
            told.append(worker_pb2.AcknowledgedStream(agent=url, seq=acked, left=left))
        return told

    def let_go(self, call: RecordedCall, why: str) -> None:
        """The call is another worker's: nothing is said of it or in its dialog any more."""
        self._store.forget(call.sip_call_id)
        self._side.hand_over(call.dialog_id)
        call.leave(why)
        self._calls.remove(call)
        log.info("call left", call_id=call.identity.call_id, reason=why)


def _legs(call: RecordedCall) -> Iterator[worker_pb2.LegReached]:
    """How far each leg was heard here: what the other does not have from there on, nobody has."""
    for handle in (line.handle for line in call.lines.values()):
        if (reached := call.audio.reached(handle)) is not None:
            (ssrc, timestamp, pts), sequence = reached
            yield worker_pb2.LegReached(
                handle=handle, ssrc=ssrc, timestamp=timestamp, pts=pts, sequence=sequence
            )


async def _quiet(call: RecordedCall) -> None:
    """Until the bot has nothing to say, or has said it for too long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(QUIET_SECONDS):
            while call.voice_on and not call.playout.idle and not call.ended_reason:  # noqa: ASYNC110
                await asyncio.sleep(5 * _LOOK_SECONDS)


async def _last_packets(heard_at: Callable[[], float | None], clock: Callable[[], float]) -> None:
    """Until no leg has brought anything here for long enough."""
    now = clock()
    until, at_most = now + LAST_PACKETS_SECONDS, now + STILL_COMING_SECONDS
    while now < min(until, at_most):
        await asyncio.sleep(min(until, at_most) - now)
        until = max(until, (heard_at() or 0.0) + LAST_PACKETS_SECONDS)
        now = clock()


def _code(error: Exception) -> grpc.StatusCode | None:
    return error.code() if isinstance(error, grpc.aio.AioRpcError) else None


def _unsure(error: Exception) -> bool:
    """It may have adopted the call: it did not say that it has not."""
    no = grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.RESOURCE_EXHAUSTED
    return _code(error) not in no
