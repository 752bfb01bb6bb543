"""The runners of this replica's handoffs: by id, by call, by request; they live and end here."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from orchestrator.handoff.ports import Tally, Telephony
from orchestrator.handoff.rescue import rescue
from orchestrator.handoff.runner import HandoffRunner
from orchestrator.handoff.state import State, view
from orchestrator.model import CallId, Context, Handoff, HandoffId, NodeName, Outcome

log = logging.getLogger(__name__)

REMEMBERED = 4096
QUEUED = 512  # with all that is known of them; older ones are in the store
PREDECESSOR_SECONDS = 5.0

K = TypeVar("K")
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """The latest entries by key; the oldest go."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        return self._entries.get(key)

    def put(self, key: K, value: V) -> None:
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._limit:
            self._entries.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was taken: which handoff it made, and the fingerprint of its body."""

    handoff: HandoffId
    fingerprint: str


class Roster:
    """Owns the runners' tasks. `run` must be running for a handoff to be launched."""

    def __init__(self, telephony_at: Callable[[NodeName], Telephony], tally: Tally) -> None:
        self._telephony_at = telephony_at
        self._tally = tally
        self._live: dict[HandoffId, HandoffRunner] = {}
        self._by_call: dict[CallId, HandoffRunner] = {}
        self._ended: Remembered[HandoffId, Handoff] = Remembered(REMEMBERED)
        self._queued: Remembered[HandoffId, tuple[State, Context]] = Remembered(QUEUED)
        self._asked: Remembered[tuple[CallId, str], Asked] = Remembered(REMEMBERED)
        self._latest: Remembered[CallId, HandoffId] = Remembered(REMEMBERED)
        self._work: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        async with asyncio.TaskGroup() as work:
            self._work = work
            try:
                await asyncio.Event().wait()
            finally:
                self._work = None

    def live(self, handoff: HandoffId) -> HandoffRunner | None:
        return self._live.get(handoff)

    def runners(self) -> Sequence[HandoffRunner]:
        return tuple(self._live.values())

    def of_call(self, call: CallId) -> HandoffRunner | None:
        return self._by_call.get(call)

    def asked(self, call: CallId, request_id: str) -> Asked | None:
        return self._asked.get((call, request_id))

    def known(self, handoff: HandoffId) -> Handoff | None:
        """As it stands, or as it ended not long ago."""
        if (runner := self._live.get(handoff)) is not None:
            return view(runner.state)
        return self._ended.get(handoff)

    def queued(self, handoff: HandoffId) -> tuple[State, Context] | None:
        """State and context of a handoff that left its caller to the dialplan not long ago."""
        if (runner := self._live.get(handoff)) is not None:
            return runner.state, runner.context
        return self._queued.get(handoff)

    def latest(self, call: CallId) -> HandoffId | None:
        return self._latest.get(call)

    def launch(
        self, runner: HandoffRunner, fingerprint: str, predecessor: HandoffRunner | None
    ) -> None:
        """Runs it; after `predecessor` has let go of the caller, where there is one."""
        if self._work is None:
            raise RuntimeError("handoffs are not being run")
        request = runner.state.request
        self._live[request.handoff_id] = self._by_call[request.call_id] = runner
        self._latest.put(request.call_id, request.handoff_id)
        key = (request.call_id, request.request_id)
        self._asked.put(key, Asked(request.handoff_id, fingerprint))
        self._work.create_task(
            self._live_through(runner, predecessor), name=f"handoff {request.handoff_id}"
        )

    async def _live_through(self, runner: HandoffRunner, predecessor: HandoffRunner | None) -> None:
        request = runner.state.request
        try:
            if predecessor is not None:
                await _let_go(predecessor)
            await runner.run()
        except Exception:  # our own bug costs this handoff, never the process
            log.exception("handoff %s crashed", request.handoff_id)
            self._tally.count("handoff_crashes")
            await rescue(runner.state, self._telephony_at(request.place.node))
        finally:
            self._live.pop(request.handoff_id, None)
            self._ended.put(request.handoff_id, view(runner.state))
            if runner.state.outcome is Outcome.QUEUED:
                self._queued.put(request.handoff_id, (runner.state, runner.context))
            if self._by_call.get(request.call_id) is runner:
                del self._by_call[request.call_id]


async def _let_go(predecessor: HandoffRunner) -> None:
    """Two handoffs must never move one caller at a time."""
    try:
        async with asyncio.timeout(PREDECESSOR_SECONDS):
            await predecessor.released()
    except TimeoutError:
        log.warning("handoff %s holds on", predecessor.state.request.handoff_id)
