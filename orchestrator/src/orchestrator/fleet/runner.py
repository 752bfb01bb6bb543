"""Runs the entry machine of one call: its inbox, its alarm, and the effects it asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

import structlog

from orchestrator.errors import CallUnknown, Conflict, NotFound, PeerError, StoreError, WorkerError
from orchestrator.fleet import effects as do
from orchestrator.fleet import events as on
from orchestrator.fleet.book import NoBook
from orchestrator.fleet.call import EnteredCall, PbxHalf, RtpAddress
from orchestrator.fleet.effects import Effect, Outcome, PbxEffect, WorkerEffect
from orchestrator.fleet.entry import start, step
from orchestrator.fleet.ports import Book, Meeting, Pbx, Workers
from orchestrator.fleet.states import (
    Answering,
    Closed,
    Connecting,
    EntryPolicy,
    Expecting,
    Seeking,
    State,
    Talking,
    deadline_of,
)
from orchestrator.fleet.ways_out import Step
from orchestrator.telemetry import Metrics

log = structlog.stdlib.get_logger(__name__)

_INBOX = 128
_EFFECTS = 64
_FAREWELL_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every call of this process shares."""

    pbx: Pbx
    workers: Workers
    meeting: Meeting
    policy: EntryPolicy
    metrics: Metrics
    orchestrator: str  # host:port of our gRPC, as workers reach it
    node: str
    app: str
    nodes: Mapping[str, Pbx] = field(default_factory=dict)
    book: Book = field(default_factory=NoBook)

    def pbx_of(self, call: EnteredCall) -> Pbx:
        """The node its channel is on; `pbx` where there is only one."""
        return self.nodes.get(call.node, self.pbx)


class CallRunner:
    """One call, from StasisStart until nothing of ours is left of it. Call `run` once."""

    def __init__(
        self, call: EnteredCall, around: Surroundings, resumed: Step | None = None
    ) -> None:
        """`resumed`: where another replica has left it (fleet.resumption)."""
        self.call = call
        self._around = around
        self._resumed = resumed
        self._pbx = around.pbx_of(call)
        self._inbox: asyncio.Queue[on.Event] = asyncio.Queue(_INBOX)
        self._for_pbx: asyncio.Queue[PbxEffect | None] = asyncio.Queue(_EFFECTS)
        self._for_worker: asyncio.Queue[WorkerEffect | None] = asyncio.Queue(_EFFECTS)
        self._seeking: asyncio.Task[None] | None = None
        self._entered_at = asyncio.get_running_loop().time()
        self.state: State | None = None  # None: not started yet

    def post(self, event: on.Event) -> None:
        """Queues an event. A full inbox loses its oldest: the newest decides what becomes.

        That the caller has gone is not lost.
        """
        if self._inbox.full():
            waiting = [self._inbox.get_nowait() for _ in range(self._inbox.qsize())]
            gone = (on.CallerHungUp, on.CallerLeft)
            oldest = next((it for it in waiting if not isinstance(it, gone)), waiting[0])
            waiting.remove(oldest)
            for each in waiting:
                self._inbox.put_nowait(each)
            self._around.metrics.inbox_overflow.inc()
        self._inbox.put_nowait(event)

    async def run(self) -> Outcome:
        """Raises nothing of the outside: what fails there is an event."""
        loop = asyncio.get_running_loop()
        policy = self._around.policy
        async with asyncio.TaskGroup() as work:
            lanes = (work.create_task(self._serve_pbx()), work.create_task(self._serve_worker()))
            state = self._take(self._resumed or start(self.call, policy, loop.time()), work)
            while not isinstance(state, Closed):
                event = await self._next_event(deadline_of(state))
                log.debug("call event", entry=type(state).__name__, happening=type(event).__name__)
                state = self._take(step(state, event, policy, loop.time()), work)
            await self._finish(lanes)
        log.info("call ended", outcome=state.outcome.value, why=state.why)
        self._around.metrics.calls_ended.labels(state.outcome.value).inc()
        return state.outcome

    def _take(self, taken: Step, work: asyncio.TaskGroup) -> State:
        """Makes the new state ours and hands its effects on."""
        state, effects = taken
        before, self.state = self.state, state
        if state != before:
            self._around.book.note(self.call, state)
        if type(before) is not type(state):
            log.info("call state", entry=type(state).__name__.lower())
            self._measure(before, state)
        if not isinstance(state, Seeking) and self._seeking is not None:
            self._seeking.cancel()
            self._seeking = None
        for effect in effects:
            self._hand_on(effect, work)
        return state

    def _hand_on(self, effect: Effect, work: asyncio.TaskGroup) -> None:
        match effect:
            case do.SeekFork():
                self._seeking = work.create_task(self._seek())
            case do.Attach() | do.TellAnswered() | do.TellParty() | do.Detach():
                self._for_worker.put_nowait(effect)
            case do.LeaveRendezvous():
                self._for_worker.put_nowait(effect)
            case _:
                self._for_pbx.put_nowait(effect)

    async def _next_event(self, deadline: float | None) -> on.Event:
        try:
            async with asyncio.timeout_at(deadline):
                return await self._inbox.get()
        except TimeoutError:
            return on.DeadlinePassed()

    async def _finish(self, lanes: tuple[asyncio.Task[None], ...]) -> None:
        """Lets the last effects be done, within a limit."""
        self._for_pbx.put_nowait(None)
        self._for_worker.put_nowait(None)
        _, late = await asyncio.wait(lanes, timeout=_FAREWELL_SECONDS)
        for lane in late:
            log.warning("call's farewell took too long")
            lane.cancel()

    async def _seek(self) -> None:
        call, around = self.call, self._around
        half = PbxHalf(
            around.orchestrator,
            call.node or around.node,
            around.app,
            call.channel_id,
            call.codec,
            "seeking",
        )
        fork = await around.meeting.wait_for_fork(call.tenant, call.call_id, half)
        self.post(on.ForkArrived(fork))

    # --- the PBX's lane -----------------------------------------------------------------------

    async def _serve_pbx(self) -> None:
        while (effect := await self._for_pbx.get()) is not None:
            try:
                await self._perform(effect)
            except PeerError as error:
                self._failed(effect, error)

    async def _perform(self, effect: PbxEffect) -> None:
        call, pbx = self.call, self._pbx
        match effect:
            case do.AnswerCaller(tell):
                await pbx.answer(call.channel_id)
                if tell:
                    self.post(on.Answered())
            case do.StartMusic():
                await pbx.start_music(call.channel_id)
            case do.StopMusic():
                await pbx.stop_music(call.channel_id)
            case do.StartRinging(answered):
                await pbx.start_ringing(call.call_id, call.channel_id, answered=answered)
            case do.StopRinging(answered):
                await pbx.stop_ringing(call.call_id, call.channel_id, answered=answered)
            case do.OpenBridge():
                await pbx.open_bridge(call.call_id, call.channel_id)
            case do.OpenTalkback(fork) if call.hosted:
                await pbx.open_hosted(call.call_id, call.hosted)
                self.post(on.TalkbackReady(fork.worker_id, RtpAddress("", 0)))
            case do.OpenTalkback(fork):
                to = fork.talkback
                where = await pbx.open_talkback(call.call_id, to.host, to.port, call.codec)
                self.post(on.TalkbackReady(fork.worker_id, RtpAddress(*where)))
            case do.GoToQueue():
                await pbx.to_queue(call.channel_id)
            case do.SendDtmf(digits, length_ms):
                await pbx.send_dtmf(call.channel_id, digits, length_ms)
            case do.HangUpCaller():
                await pbx.hang_up(call.channel_id)
            case do.CloseTalkback():
                await pbx.close_talkback(call.call_id)
            case do.CloseBridge():
                await pbx.close_bridge(call.call_id)
            case _:
                assert_never(effect)

    def _failed(self, effect: PbxEffect, error: PeerError) -> None:
        match effect, error:
            case do.OpenTalkback(fork), _:
                log.warning("talk-back failed", error=str(error))
                self.post(on.TalkbackFailed(fork.worker_id, str(error)))
            case ((do.SendDtmf() | do.CloseTalkback() | do.CloseBridge() | do.HangUpCaller()), _):
                log.warning("pbx failed", effect=type(effect).__name__, error=str(error))
            case _, NotFound():
                self.post(on.CallerHungUp())
            case _, Conflict():
                # The channel lives and is not in Stasis: its StasisEnd is on the way, or was lost.
                self.post(on.CallerLeft())
            case do.GoToQueue(), _:
                log.error("queue refused the caller", error=str(error))
                self.post(on.QueueRefused(str(error)))
            case _:
                log.warning("pbx failed", effect=type(effect).__name__, error=str(error))
                self.post(on.PbxFailed(str(error)))

    # --- the worker's lane ----------------------------------------------------------------------

    async def _serve_worker(self) -> None:
        while (effect := await self._for_worker.get()) is not None:
            try:
                await self._tell(effect)
            except CallUnknown as error:
                log.info("worker does not hold the call", error=str(error))
                self._refused(effect, str(error))
            except (WorkerError, StoreError) as error:
                log.warning("worker failed", effect=type(effect).__name__, error=str(error))
                self._refused(effect, str(error))

    async def _tell(self, effect: WorkerEffect) -> None:
        call, workers = self.call, self._around.workers
        match effect:
            case do.Attach(fork) if call.hosted:  # it is heard, and speaks in the PBX itself
                await workers.tell_answered(fork, call.call_id)
                self.post(on.BotSpoke())
                self.post(on.Attached(fork.worker_id))
            case do.Attach(fork, address, answered):
                await workers.attach(fork, call, address, answered=answered)
                self._around.metrics.to_talkback.observe(self._since_entry())
                self.post(on.Attached(fork.worker_id))
            case do.TellAnswered(fork):
                await workers.tell_answered(fork, call.call_id)
            case do.TellParty(fork, party):
                await workers.tell_party(fork, call.call_id, party)
            case do.Detach(fork, farewell):
                await workers.detach(fork, call.call_id, farewell)
            case do.LeaveRendezvous():
                await self._around.meeting.leave(call.tenant, call.call_id)
            case _:
                assert_never(effect)

    def _refused(self, effect: WorkerEffect, why: str) -> None:
        if isinstance(effect, do.Attach):
            self.post(on.AttachFailed(effect.fork.worker_id, why))

    def _measure(self, before: State | None, after: State) -> None:
        metrics = self._around.metrics
        match before, after:
            case Seeking(), Connecting():
                metrics.to_fork.observe(self._since_entry())
            case ((Connecting() | Expecting() | Answering()), Talking()):
                metrics.to_speech.observe(self._since_entry())
            case _:
                pass

    def _since_entry(self) -> float:
        return asyncio.get_running_loop().time() - self._entered_at
