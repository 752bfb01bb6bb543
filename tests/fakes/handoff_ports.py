"""A worker, a store, a context bus and counters in memory, for running handoffs without sockets."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence

from orchestrator.errors import StoreError, WorkerUnreachable
from orchestrator.handoff.codec import dump, load
from orchestrator.handoff.effects import Release
from orchestrator.handoff.owed import NOTHING, Owed
from orchestrator.handoff.ports import Created, Fenced, Known, Occupied, Recalled, Record
from orchestrator.handoff.state import State, view
from orchestrator.handoff.tracks import Left
from orchestrator.model import CallId, Context, Handoff, HandoffId, Place, Witness
from orchestrator.telemetry import HANDOFF_TIMES


class FakeWorker:
    """Implements WorkerLink. `told` is what it was told; its witness says what `reports` holds."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.updates: list[Handoff] = []
        self.reports: list[Witness] = [Witness(first_hold_audio_ms=25, both_live_ms=3_600_000)]
        self.final = Witness(first_hold_audio_ms=25, missing_ms=20, longest_gap_ms=80, final=True)
        self.away = False

    async def freeze(self, call: CallId, phrase: str, reason: str) -> None:
        self._tell(f"freeze {phrase}")

    async def unfreeze(self, call: CallId) -> None:
        self._tell("unfreeze")

    async def drop_bot(self, call: CallId, reason: Release) -> None:
        self._tell(f"drop {reason.name}")

    async def notify(self, handoff: Handoff) -> None:
        self._tell(f"phase {handoff.phase.name}")
        self.updates.append(handoff)

    async def watch(self, call: CallId, handoff: HandoffId) -> AsyncIterator[Witness]:
        self._tell("watch")
        for report in self.reports:
            yield report
        await asyncio.Event().wait()

    async def stop_watching(self, call: CallId, handoff: HandoffId) -> Witness:
        self._tell("stop watching")
        return self.final

    def _tell(self, what: str) -> None:
        if self.away:
            raise WorkerUnreachable("no worker")
        self.told.append(what)


class FakeStore:
    """Implements Store, by JSON as a real one does. `away` makes it fail, `stuck` never answer."""

    def __init__(self) -> None:
        self.states: dict[HandoffId, str] = {}
        self.owed: dict[HandoffId, str] = {}
        self.contexts: dict[HandoffId, Context] = {}
        self.views: dict[HandoffId, list[Handoff]] = {}
        self.requests: dict[tuple[CallId, str], Known] = {}
        self.calls: dict[CallId, HandoffId] = {}
        self.has: dict[CallId, HandoffId] = {}
        self.away = False
        self.stuck = False
        self.saved: list[State] = []

    async def create(self, record: Record) -> Created | Known | Occupied:
        await self._answer()
        request = record.state.request
        key = (request.call_id, request.request_id)
        if key in self.requests:
            return self.requests[key]
        if self.has.get(request.call_id, record.after) != record.after:
            return Occupied(self.has[request.call_id])
        self.has[request.call_id] = request.handoff_id
        self.requests[key] = Known(request.handoff_id, record.fingerprint)
        self.calls[request.call_id] = request.handoff_id
        self.states[request.handoff_id] = dump(record.state)
        self.contexts[request.handoff_id] = record.context
        self.views[request.handoff_id] = [view(record.state)]
        return Created()

    async def save(
        self,
        state: State,
        history: Sequence[Handoff],
        expected: int,
        context: Context | None,
        owed: Owed = NOTHING,
    ) -> None:
        await self._answer()
        handoff = state.request.handoff_id
        stored = self.states.get(handoff)
        if stored is not None and load(State, stored).revision != expected:
            raise Fenced("stored by another")
        self.states[handoff] = dump(state)
        self.owed[handoff] = dump(owed)
        self.views.setdefault(handoff, []).extend(history)
        if not isinstance(state.caller, Left):
            self.has.setdefault(state.request.call_id, handoff)
        elif self.has.get(state.request.call_id) == handoff:
            del self.has[state.request.call_id]
        self.saved.append(state)
        if context is not None:
            self.contexts[handoff] = context

    async def load(self, tenant: str, handoff: HandoffId) -> tuple[State, Context] | None:
        await self._answer()
        if handoff not in self.states:
            return None
        state = load(State, self.states[handoff])
        if state.request.place.tenant != tenant:
            return None
        return state, self.contexts.get(handoff, Context())

    async def recall(self, tenant: str, handoff: HandoffId) -> Recalled | None:
        if (loaded := await self.load(tenant, handoff)) is None:
            return None
        owed = self.owed.get(handoff)
        request = loaded[0].request
        return Recalled(
            *loaded,
            load(Owed, owed) if owed else NOTHING,
            self.requests[(request.call_id, request.request_id)].fingerprint,
        )

    async def latest_of_call(self, tenant: str, call: CallId) -> HandoffId | None:
        await self._answer()
        return self.calls.get(call)

    async def history(
        self, tenant: str, handoff: HandoffId, after: int, wait_seconds: float
    ) -> Sequence[Handoff]:
        await self._answer()
        views = self.views.get(handoff, [])
        return [past for past in views if past.revision > after and past.tenant == tenant]

    async def _answer(self) -> None:
        if self.stuck:
            await asyncio.Event().wait()
        if self.away:
            raise StoreError("redis: away")


class FakeBus:
    """Implements ContextBus."""

    def __init__(self) -> None:
        self.published: list[tuple[int, Context]] = []
        self.away = False

    async def publish(self, state: State, context: Context) -> None:
        if self.away:
            raise StoreError("redis: away")
        self.published.append((state.context_revision, context))


class FakeCalls(dict[CallId, Place]):
    """Implements Calls."""

    def locate(self, call: CallId) -> Place | None:
        return self.get(call)


class Counts(Counter[str]):
    """Implements Tally."""

    def count(self, name: str) -> None:
        self[name] += 1

    def ended(self, outcome: str, pattern: str) -> None:
        self[f"ended {outcome} {pattern}"] += 1

    def took(self, what: str, milliseconds: int) -> None:
        assert what in HANDOFF_TIMES
        self[f"took {what}"] += 1
