"""Runs one handoff: takes events, steps the table, stores, and has the effects performed.

The runner does not leave while an answer is owed to it or one of its lanes has work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from orchestrator.handoff.asides import Asides
from orchestrator.handoff.cancellation import heed_cancellation
from orchestrator.handoff.effects import (
    BriefAgent,
    ClearDeadline,
    DialAgent,
    Effect,
    Finish,
    HushBriefing,
    HushPhrase,
    SayPhrase,
    SetDeadline,
    StartWitness,
    StopWitness,
)
from orchestrator.handoff.events import (
    ContextPatched,
    Deadline,
    DeadlinePassed,
    Event,
    Requested,
)
from orchestrator.handoff.inbox import Answer, Inbox, Item, Question
from orchestrator.handoff.journal import HISTORY, Journal
from orchestrator.handoff.lanes import Lanes
from orchestrator.handoff.machine import step
from orchestrator.handoff.narrator import Narrator
from orchestrator.handoff.observation import measured
from orchestrator.handoff.owed import Debts, Owed
from orchestrator.handoff.ports import Fenced, Ports
from orchestrator.handoff.refusals import ContextMoved, TooLate
from orchestrator.handoff.state import State, view
from orchestrator.handoff.steps import agent_channel, attempt_of
from orchestrator.handoff.tracks import Bridged, Watch, WithBot
from orchestrator.handoff.watcher import Watcher
from orchestrator.handoff.whisperer import Whisperer
from orchestrator.model import ChannelId, Context, Handoff, NodeName

log = logging.getLogger(__name__)


class HandoffRunner:
    """The shell around one handoff's state. `owed`: another replica has begun it."""

    def __init__(
        self,
        state: State,
        context: Context,
        ports: Ports,
        *,
        stored: bool,
        owed: Owed | None = None,
    ) -> None:
        self.state = state
        self.context = context
        self._ports = ports
        self._journal = Journal(ports.store, ports.tally, state, context, stored=stored)
        self._inbox = Inbox()
        self._watcher = Watcher(ports.worker, ports.clock, state.request, self.post)
        told = (ports, state.request, lambda: self.context, self.post)
        self._asides, self._whispers = Asides(ports.tally), Asides(ports.tally)
        self._to_agent, self._to_caller = Narrator(*told, self._asides), Narrator(*told)
        self.whisperer = Whisperer(ports, self._whispers, self.listener)
        self._owed = owed
        self._debts = Debts() if owed is None else Debts(owed)
        self._lanes = Lanes(ports, state.request, self._story, self.post, self._performed)
        self._timers: dict[Deadline, asyncio.TimerHandle] = {}
        self._views: list[Handoff] = [view(state)]
        self._changed = asyncio.Event()
        self._patching = asyncio.Lock()
        self._done = self._elsewhere = False
        self.first_revision = state.revision  # what was before is in the store

    # --- from outside -------------------------------------------------------------------------

    def post(self, event: Event, answers: str = "") -> None:
        """Queues news; a full inbox drops what handoff.inbox says, counted.

        `answers`: the effect it came from.
        """
        if self._done:
            return
        if not self._inbox.put(Answer(event, answers) if answers else event):
            self._ports.tally.count("handoff_events_dropped")
            log.error("handoff %s: inbox full, %s lost", self.state.request.handoff_id, event)

    @property
    def asides(self) -> Asides:
        """Where goes what the AIs say to the agent alone: to the briefing, or into the call."""
        return self._asides if self.listener() is None else self._whispers

    def listener(self) -> tuple[NodeName, ChannelId] | None:
        """The agent who talks with the caller now."""
        attempt = attempt_of(self.state.agent)
        if attempt is None or not isinstance(self.state.caller, Bridged):
            return None
        return self.state.request.place.node, agent_channel(self.state, attempt)

    async def ask(self, event: Event) -> State:
        """Queues news and returns the state right after it; the last one when it has ended.

        Raises TooLate: the handoff broke off over it, or is another replica's now.
        """
        answer: asyncio.Future[State] = asyncio.get_running_loop().create_future()
        if not self._done:
            await self._inbox.ask(Question(event, answer))
        return self.state if self._done and not answer.done() else await answer

    def leave(self) -> None:
        """Another replica has the caller's node: it goes on with the handoff, we touch nothing."""
        self._elsewhere = True
        self._inbox.wake()

    def write_again(self) -> None:
        """The store has lost its memory."""
        self._journal.write_again(self.context)

    async def patch(self, patch: Context, expected: int) -> State:
        """Merges into the context and publishes it again; `expected` 0 = whatever revision.

        Raises TooLate, ContextMoved.
        """
        async with self._patching:
            if self._done or self.state.finished:
                raise TooLate(f"handoff {self.state.request.handoff_id} has ended")
            if expected not in {0, self.state.context_revision}:
                raise ContextMoved(
                    f"context is at revision {self.state.context_revision}, not {expected}"
                )
            self.context = self.context.merged(patch)
            self._journal.context_changed(self.context)
            return await self.ask(
                ContextPatched(self._ports.clock.now(), self.state.context_revision + 1)
            )

    async def follow(self, after: int) -> AsyncIterator[Handoff]:
        """Every view with a revision above `after`, in order, until the handoff is settled."""
        while True:
            changed, done = self._changed, self._done  # before the views: none comes in between
            for known in [known for known in self._views if known.revision > after]:
                after = known.revision
                yield known
                if known.settled:
                    return
            if done:
                return
            await changed.wait()

    @property
    def owed_dial(self) -> bool:
        """Whether its agent had not been dialled for certain when it was adopted: we do it."""
        owed = () if self._owed is None else self._owed.effects
        return any(isinstance(effect, DialAgent) for effect in owed)

    async def released(self) -> None:
        """Returns when nothing more is being done to the caller's channel by this handoff."""
        await self._lanes.telephony.drained()

    # --- the loop -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Returns when the handoff is over, answered and stored; or taken over by another."""
        try:
            async with asyncio.TaskGroup() as work:
                owned = [
                    work.create_task(task)
                    for task in (
                        self._lanes.telephony.run(),
                        self._lanes.worker.run(),
                        self._lanes.bus.run(),
                        self._journal.keep_up(),
                        self._watcher.run(),
                        self._to_agent.run(),
                        self._to_caller.run(),
                        self.whisperer.run(),
                    )
                ]
                await self._begin()
                while not self._may_leave():
                    heed_cancellation()
                    await self._take(await self._inbox.take())
                for task in owned:
                    task.cancel()
            await self._journal.close()
        except* Fenced:
            log.warning("handoff %s: taken over elsewhere", self.state.request.handoff_id)
            self._ports.tally.count("handoff_fenced")
        finally:
            self._leave()

    async def _begin(self) -> None:
        """From the start; or from where another replica was, whose effects may be half done."""
        if self._owed is not None:
            for effect in (*self._owed.deadlines, *self._owed.effects):
                self._start(effect)
            if self.state.watch in {Watch.WATCHING, Watch.ENDING}:
                self._watcher.start()
            if self.state.watch is Watch.ENDING:
                self._watcher.stop()
        if isinstance(self.state.caller, WithBot):
            await self._take(Requested(self._ports.clock.now()))

    def _may_leave(self) -> bool:
        return self.state.over and not self._lanes.owed and not self._inbox

    def _leave(self) -> None:
        self._done = True
        for timer in self._timers.values():
            timer.cancel()
        for late in self._inbox.drain():
            if isinstance(late, Question) and not late.answer.done():
                late.answer.set_result(self.state)
        self._changed.set()

    async def _take(self, item: Item) -> None:
        if item is None:  # a lane has finished something: see whether we may leave
            self._heed_leaving()
            return
        if isinstance(item, Answer):
            await self._follow_up(item.event, item.effect_id)
            return
        if not isinstance(item, Question):
            await self._follow_up(item)
            return
        try:
            await self._follow_up(item.event)
        except BaseException:
            if not item.answer.done():
                handoff = self.state.request.handoff_id
                item.answer.set_exception(TooLate(f"handoff {handoff} has ended here"))
            raise
        if not item.answer.done():
            item.answer.set_result(self.state)

    def _heed_leaving(self) -> None:
        if self._elsewhere:
            raise Fenced("another replica drives the caller's node")

    async def _follow_up(self, event: Event, answers: str = "") -> None:
        self._heed_leaving()
        before = self.state
        self.state, effects = step(before, event)
        self._debts.heard(event, answers)
        self._debts.enter(effects)
        if self.state != before:
            log.info(
                "handoff %s: %s -> %s", before.request.handoff_id, event, self.state.phase.name
            )
            self._views.append(view(self.state))
            del self._views[:-HISTORY]
            await self._journal.write(self.state, self._debts.owed())
            self._changed.set()
            self._changed = asyncio.Event()
        for effect in effects:
            self._start(effect)
        if self.listener() is not None:
            self._asides.forget()  # the briefing is over
        if self.state.settled and not before.settled:
            for what, milliseconds in measured(self.state.timing).items():
                self._ports.tally.took(what, milliseconds)

    def _start(self, effect: Effect) -> None:
        match effect:
            case SetDeadline(which, at):
                self._arm(which, at)
            case ClearDeadline(which):
                if (timer := self._timers.pop(which, None)) is not None:
                    timer.cancel()
            case StartWitness():
                self._watcher.start()
            case StopWitness():
                self._watcher.stop()
            case BriefAgent():
                self._to_agent.start(effect)
            case SayPhrase():
                self._to_caller.start(effect)
            case HushBriefing():
                self._to_agent.stop()
                self._debts.paid(effect.id)
            case HushPhrase():
                self._to_caller.stop()
                self._debts.paid(effect.id)
            case Finish(outcome):
                pattern = self.state.request.plan.pattern
                self._ports.tally.ended(outcome.name.lower(), pattern.name.lower())
            case _:
                self._lanes.put(effect, self._views[-1])

    def _arm(self, which: Deadline, at: float) -> None:
        if (timer := self._timers.pop(which, None)) is not None:
            timer.cancel()
        delay = max(0.0, at - self._ports.clock.now())
        self._timers[which] = asyncio.get_running_loop().call_later(
            delay, lambda: self.post(DeadlinePassed(self._ports.clock.now(), which))
        )

    def _story(self) -> tuple[State, Context]:
        return self.state, self.context

    def _performed(self, effect_id: str) -> None:
        """Wakes the loop after the lane has counted the effect as done; "" = it is still owed."""
        self._debts.paid(effect_id)
        asyncio.get_running_loop().call_soon(self._inbox.wake)
