"""Takes escalations: durable before answered, one handoff per request, one at a time per call."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

from orchestrator.errors import StoreError
from orchestrator.handoff import names
from orchestrator.handoff.codec import dump
from orchestrator.handoff.events import Superseded
from orchestrator.handoff.machine import begin
from orchestrator.handoff.ports import Calls, Created, Known, Occupied, Ports, Record
from orchestrator.handoff.refusals import Forbidden, InProgress, RequestReused, UnknownCall
from orchestrator.handoff.roster import Roster
from orchestrator.handoff.runner import HandoffRunner
from orchestrator.handoff.setbacks import may_withdraw
from orchestrator.handoff.state import Request, State, view
from orchestrator.handoff.tracks import Bridge, Left
from orchestrator.model import (
    BridgeId,
    CallId,
    Escalation,
    Handoff,
    HandoffId,
    Outcome,
    Phase,
    Place,
    Plan,
)
from orchestrator.routing.policy import DestinationRefused

log = logging.getLogger(__name__)

CREATE_SECONDS = 0.1
TAKING_SECONDS = 2.0  # far more than storing and superseding take


def fingerprint_of(escalation: Escalation) -> str:
    """The same for the same body, whatever order its slots came in."""
    context = escalation.context
    slots = dict(sorted(context.slots.items()))
    body = dump(replace(escalation, context=replace(context, slots=slots)))
    return hashlib.sha256(body.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Intake:
    """`plan` may raise DestinationRefused; `new_id` makes handoff ids."""

    roster: Roster
    ports: Ports
    calls: Calls
    plan: Callable[[Escalation], Plan]
    new_id: Callable[[], HandoffId]
    _turns: WeakValueDictionary[CallId, asyncio.Lock]

    async def escalate(self, asked: Escalation) -> Handoff | HandoffId:
        """The new handoff; or the one this request made before, by id if it is not here.

        With the store away the handoff goes on in memory: a caller's way to a human does not depend
        on it. An asker who goes away meanwhile changes nothing: what is stored, or superseded, is
        begun. Raises UnknownCall, RequestReused, InProgress, and what the plan refuses.
        """
        taking = asyncio.create_task(self._in_turn(asked))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            await asyncio.wait({taking}, timeout=TAKING_SECONDS)
            if taking.done() and not taking.cancelled():
                taking.exception()  # of interest to nobody any more
            raise

    async def _in_turn(self, asked: Escalation) -> Handoff | HandoffId:
        turn = self._turns.setdefault(asked.call_id, asyncio.Lock())
        async with turn:
            fingerprint = fingerprint_of(asked)
            before = self.roster.asked(asked.call_id, asked.request_id)
            if before is not None:
                _same_body(before.handoff, before.fingerprint, fingerprint)
                return self.roster.known(before.handoff) or before.handoff
            return await self._take(asked, fingerprint)

    async def _take(self, asked: Escalation, fingerprint: str) -> Handoff | HandoffId:
        if (place := self.calls.locate(asked.call_id)) is None:
            raise UnknownCall(f"no call {asked.call_id} here")
        try:
            plan = self.plan(asked)
        except DestinationRefused as error:
            raise Forbidden(str(error)) from error
        current = self._in_the_way(asked)
        state = begin(self._request(asked, place, plan, current), self.ports.clock.now())
        after = current.state.request.handoff_id if current is not None else None
        stored = await self._create(Record(state, asked.context, fingerprint, after))
        if isinstance(stored, str):
            return stored
        if current is not None:
            await self._supersede(current, state)
        runner = HandoffRunner(state, asked.context, self.ports, stored=stored)
        self.roster.launch(runner, fingerprint, current)
        return view(state)

    def _in_the_way(self, asked: Escalation) -> HandoffRunner | None:
        """The handoff of this call that must be superseded first, if any. Raises InProgress."""
        current = self.roster.of_call(asked.call_id)
        if current is None or isinstance(current.state.caller, Left):
            return current  # its last clean-up must be over before the caller is moved again
        handoff = current.state.request.handoff_id
        if not asked.supersede:
            raise InProgress(f"handoff {handoff} of this call is in progress")
        if not may_withdraw(current.state):
            raise InProgress(f"handoff {handoff} can no longer be superseded")
        return current

    def _request(
        self, asked: Escalation, place: Place, plan: Plan, current: HandoffRunner | None
    ) -> Request:
        leftovers: tuple[BridgeId, ...] = ()
        if current is not None and current.state.hold is not Bridge.ABSENT:
            old = current.state.request
            leftovers = (names.holding_bridge(old.handoff_id), *old.leftovers)
        return Request(
            handoff_id=self.new_id(),
            request_id=asked.request_id,
            place=place,
            plan=plan,
            say_first=asked.say_first,
            reason=asked.reason,
            intent=_one_line(asked.intent),
            language=_one_line(asked.language),
            customer_reference=_one_line(asked.context.customer_reference),
            leftovers=leftovers,
        )

    async def _create(self, record: Record) -> bool | HandoffId:
        """Whether it is stored now; or the handoff that this very request made elsewhere.

        Raises InProgress: another one has the caller, at whichever replica.
        """
        try:
            async with asyncio.timeout(CREATE_SECONDS):
                answer = await self.ports.store.create(record)
        except (StoreError, TimeoutError) as error:
            self.ports.tally.count("handoff_creates_unstored")
            log.warning("handoff is not durable: %s", error or "store timed out")
            return False
        match answer:
            case Created():
                return True
            case Known(handoff, body):
                _same_body(handoff, body, record.fingerprint)
                return handoff
            case Occupied(handoff) if handoff != record.after and self._has_let_go(handoff):
                return await self._create(replace(record, after=handoff))
            case Occupied(handoff):
                raise InProgress(f"handoff {handoff} of this call is in progress")

    def _has_let_go(self, handoff: HandoffId) -> bool:
        """One of ours, whose end the store was not told."""
        runner = self.roster.live(handoff)
        if runner is not None:
            return isinstance(runner.state.caller, Left)
        return self.roster.known(handoff) is not None

    async def _supersede(self, current: HandoffRunner, state: State) -> None:
        """One winner: raises InProgress when an agent accepted while the request was stored."""
        if isinstance(current.state.caller, Left):
            return
        after = await current.ask(Superseded(self.ports.clock.now()))
        if isinstance(after.caller, Left):
            return
        withdrawn = replace(
            state,
            finished=True,
            outcome=Outcome.CANCELLED,
            phase=Phase.CANCELLED,
            caller=Left(),
            revision=state.revision + 1,
        )
        try:
            async with asyncio.timeout(CREATE_SECONDS):
                await self.ports.store.save(withdrawn, (view(withdrawn),), state.revision, None)
        except (StoreError, TimeoutError):
            self.ports.tally.count("handoff_writes_lost")
        raise InProgress(f"handoff {after.request.handoff_id} was faster")


def _one_line(text: str) -> str:
    """They become channel variables: a line break in one could begin a line of SIP or AMI."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def _same_body(handoff: HandoffId, body: str, fingerprint: str) -> None:
    if body != fingerprint:
        raise RequestReused(f"the request_id belongs to handoff {handoff}, with another body")
