"""The calls with a bot on this orchestrator: brings what happens to the call it happens to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog

from orchestrator.errors import PeerError, StoreError
from orchestrator.fleet import events as on
from orchestrator.fleet.book import LIFE_SECONDS, Record
from orchestrator.fleet.call import EnteredCall, ForkHalf
from orchestrator.fleet.effects import Outcome
from orchestrator.fleet.events import Event
from orchestrator.fleet.recent import Recent
from orchestrator.fleet.resumption import Found, resume
from orchestrator.fleet.runner import CallRunner, Surroundings
from orchestrator.fleet.states import Closed
from orchestrator.fleet.view import CallView, view_of
from orchestrator.model import CallId

log = structlog.stdlib.get_logger(__name__)

_WORKER_GRACE_SECONDS = 1.0
"""A worker's stream that breaks is given this long to come back before its calls hear music."""

_DRAIN_PAUSE_SECONDS = 0.5
_MOST_EARLY = 16
_LOOK_AFTER_SECONDS = 1.0
_WRITE_AGAIN_SECONDS = LIFE_SECONDS / 4


class Calls:
    """All calls of this process. Made by `open_calls`; every method is for the event loop."""

    def __init__(self, around: Surroundings, max_calls: int, work: asyncio.TaskGroup) -> None:
        self._around = around
        self._max_calls = max_calls
        self._work = work
        self._runners: dict[CallId, CallRunner] = {}
        self._by_channel: dict[str, CallRunner] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: dict[CallId, asyncio.Task[None]] = {}
        self._early_forks: Recent[CallId, ForkHalf] = Recent(4096)
        self._early_events: Recent[CallId, list[Event]] = Recent(4096)
        self._connected: set[str] = set()  # workers
        self._gone: dict[str, asyncio.Task[None]] = {}
        self._empty = asyncio.Event()
        self._empty.set()
        self.draining = False

    def __len__(self) -> int:
        return len(self._runners)

    # --- the PBX ------------------------------------------------------------------------------

    def has_room(self) -> bool:
        """Whether a new call may have a bot; if not, its place is the queue."""
        return not self.draining and len(self._runners) < self._max_calls

    def knows_channel(self, channel_id: str) -> bool:
        return channel_id in self._by_channel

    def call_of(self, channel_id: str) -> CallId | None:
        """Whose caller is on this channel."""
        runner = self._by_channel.get(channel_id)
        return None if runner is None else runner.call.call_id

    def enter(self, call: EnteredCall) -> bool:
        """Starts a call; False = there is a call of that id or channel already."""
        if not self._start(CallRunner(call, self._around)):
            return False
        self._around.metrics.calls_entered.inc()
        return True

    def restore(self, record: Record, found: Found) -> bool:
        """Goes on with a call that another replica has left; False = it is here already."""
        now = asyncio.get_running_loop().time()
        resumed = resume(record.state, found, self._around.policy, now)
        return self._start(CallRunner(record.call, self._around, resumed))

    def abandon(self, call_id: CallId) -> None:
        """Leaves a call to the replica that has it: nobody is told, nothing is touched."""
        if (runner := self._runners.get(call_id)) is not None:
            self._running[call_id].cancel()
            self._around.book.note(runner.call, Closed(Outcome.STRANDED, "another replica's"))
            self._forget(runner)

    def write_again(self) -> None:
        """For a book that has lost its memory, or is about to."""
        for runner in self._runners.values():
            if runner.state is not None:
                self._around.book.note(runner.call, runner.state)

    def _start(self, runner: CallRunner) -> bool:
        call = runner.call
        if call.call_id in self._runners or call.channel_id in self._by_channel:
            return False
        self._runners[call.call_id] = runner
        self._by_channel[call.channel_id] = runner
        self._empty.clear()
        self._around.metrics.calls.set(len(self._runners))
        self._running[call.call_id] = self.spawn(self._run(runner))
        fork = self._early_forks.pop(call.call_id)
        if fork is not None:
            runner.post(on.ForkArrived(fork))
        for event in self._early_events.pop(call.call_id) or ():
            runner.post(event)
        return True

    def post_to_channel(self, channel_id: str, event: Event) -> None:
        runner = self._by_channel.get(channel_id)
        if runner is not None:
            runner.post(event)

    def post(self, call_id: CallId, event: Event) -> bool:
        """False = no such call here."""
        runner = self._runners.get(call_id)
        if runner is None:
            return False
        runner.post(event)
        return True

    def channels(self, node: str = "") -> frozenset[str]:
        """Of all callers, or of those on one PBX node."""
        return frozenset(
            channel
            for channel, runner in self._by_channel.items()
            if not node or runner.call.node in ("", node)
        )

    # --- the workers --------------------------------------------------------------------------

    def fork_started(self, call_id: CallId, fork: ForkHalf) -> None:
        """A worker says itself that it hears a call: quicker than Redis, or without it."""
        if not self.post(call_id, on.ForkArrived(fork)):
            self._early_forks.put(call_id, fork)

    def keep_for(self, call_id: CallId, event: Event) -> None:
        """News of a call that we are about to take over from a replica that is gone."""
        if self.post(call_id, event):
            return
        kept = self._early_events.pop(call_id) or []
        self._early_events.put(call_id, [*kept[-_MOST_EARLY + 1 :], event])

    def fork_ended(self, call_id: CallId, worker_id: str, why: str) -> None:
        self._early_forks.pop(call_id)
        self.post(call_id, on.ForkEnded(worker_id, why))

    def fork_moved(self, call_id: CallId, from_worker: str) -> None:
        """Another worker has the call: its half says which, once it is no more `from_worker`'s."""
        runner = self._runners.get(call_id)
        if runner is not None:
            self.spawn(self._look_again(runner, from_worker))

    def worker_connected(self, worker_id: str) -> None:
        self._connected.add(worker_id)
        waiting = self._gone.pop(worker_id, None)
        if waiting is not None:
            waiting.cancel()
        self._tell_all(on.WorkerBack(worker_id))

    def worker_disconnected(self, worker_id: str) -> None:
        # Not when it is we who go: streams end after the calls.
        self._connected.discard(worker_id)
        self._doubt(worker_id)

    def _doubt(self, worker_id: str) -> None:
        if worker_id not in self._gone and self._fork_of(worker_id) is not None:
            self._gone[worker_id] = self.spawn(self._worker_lost(worker_id))

    async def look_after_strangers(self) -> None:
        """Workers whose stream is another replica's: nobody tells us that they are gone.

        Now and then it writes every call down again, so that a long one is not forgotten.
        """
        clock = asyncio.get_running_loop().time
        written = clock()
        while True:
            await asyncio.sleep(_LOOK_AFTER_SECONDS)
            held = {view.worker_id for view in self.views() if view.worker_id}
            for worker_id in held - self._connected:
                self._doubt(worker_id)
            if clock() - written >= _WRITE_AGAIN_SECONDS:
                written = clock()
                self.write_again()

    # --- ourselves ----------------------------------------------------------------------------

    def view(self, call_id: CallId) -> CallView | None:
        runner = self._runners.get(call_id)
        return view_of(runner) if runner else None

    def views(self) -> list[CallView]:
        return [view_of(runner) for runner in self._runners.values()]

    async def drain(self, seconds: float, overdue: Callable[[], None] = lambda: None) -> None:
        """No new calls; those that are here may end by themselves, then they go to the queue.

        `overdue` is then called, before, so that handoffs give back or queue whom they have.
        """
        self.draining = True
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            log.info("calls go to the queue", calls=len(self._runners))
            overdue()
        while self._runners:  # again and again: a handoff may give its caller back meanwhile
            self._tell_all(on.SendToQueue("the orchestrator is going away"))
            with suppress(TimeoutError):
                async with asyncio.timeout(_DRAIN_PAUSE_SECONDS):
                    await self._empty.wait()

    # --- tasks --------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Ends all tasks; what they hold in the PBX stays there."""
        for task in self._tasks:
            task.cancel()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task that lives no longer than the calls; what it raises costs nobody else."""
        task = self._work.create_task(_alone(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # cancelled before it began
        return task

    async def _run(self, runner: CallRunner) -> None:
        call = runner.call
        structlog.contextvars.bind_contextvars(call_id=call.call_id, tenant=call.tenant)
        log.info("call entered", channel=call.channel_id, codec=call.codec, minted=call.minted)
        try:
            await runner.run()
        except Exception:
            # A bug costs this call its bot, never its caller, and never the other calls.
            log.exception("call failed")
            self._around.book.note(call, Closed(Outcome.STRANDED, "our own fault"))
            await self._rescue(call)
        finally:
            self._forget(runner)

    def _forget(self, runner: CallRunner) -> None:
        call = runner.call
        if self._runners.get(call.call_id) is runner:
            del self._runners[call.call_id], self._running[call.call_id]
            del self._by_channel[call.channel_id]
        self._around.metrics.calls.set(len(self._runners))
        if not self._runners:
            self._empty.set()

    async def _rescue(self, call: EnteredCall) -> None:
        pbx = self._around.pbx_of(call)
        try:
            await pbx.start_music(call.channel_id)
            await pbx.to_queue(call.channel_id)
            await pbx.close_talkback(call.call_id)
            await pbx.close_bridge(call.call_id)
        except PeerError as error:
            log.warning("rescue failed", error=str(error))

    async def _look_again(self, runner: CallRunner, from_worker: str) -> None:
        call = runner.call
        try:
            fork = await self._around.meeting.fork_half(call.tenant, call.call_id)
        except StoreError as error:
            log.warning("moved fork not found", call_id=call.call_id, error=str(error))
            return
        # The half may be the old one still: then ForkStarted, which comes too, says more.
        if fork is not None and fork.worker_id != from_worker:
            runner.post(on.ForkArrived(fork))

    async def _worker_lost(self, worker_id: str) -> None:
        """Makes sure that a worker whose stream broke is gone, and not only its stream.

        A worker that opens its stream again is known by its first report, which may take a while:
        so it is asked itself, as long as it has calls here.
        """
        try:
            while (fork := self._fork_of(worker_id)) is not None:
                await asyncio.sleep(_WORKER_GRACE_SECONDS)
                if not await self._around.workers.alive(fork):
                    log.warning("worker lost", worker=worker_id)
                    self._tell_all(on.WorkerLost(worker_id))
                    return
        finally:
            self._gone.pop(worker_id, None)

    def _fork_of(self, worker_id: str) -> ForkHalf | None:
        """Any fork that the worker holds for a call of ours."""
        forks = (view_of(runner).fork for runner in self._runners.values())
        return next((fork for fork in forks if fork and fork.worker_id == worker_id), None)

    def _tell_all(self, event: Event) -> None:
        """Each machine knows what concerns it."""
        for runner in self._runners.values():
            runner.post(event)


async def _alone(work: Coroutine[Any, Any, None]) -> None:
    """In a task group an error would end every call there is."""
    of = getattr(work, "__qualname__", "")
    try:
        await work
    except PeerError as error:
        log.warning("a task of the calls failed", of=of, error=str(error))
    except Exception:
        log.exception("a task of the calls failed", of=of)


@asynccontextmanager
async def open_calls(around: Surroundings, max_calls: int) -> AsyncIterator[Calls]:
    """Calls, and the task group they live in. Leaving the block cancels what still runs."""
    async with asyncio.TaskGroup() as work:
        calls = Calls(around, max_calls, work)
        try:
            yield calls
        finally:
            calls.cancel()
