"""Handoffs for tests: requests, plans, and a machine that is fed event after event."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from orchestrator.handoff import names
from orchestrator.handoff.effects import Effect
from orchestrator.handoff.events import (
    AgentAnswered,
    AgentJoined,
    AgentLost,
    CallerHeld,
    CallerMerged,
    ContextPublished,
    Event,
    HoldReady,
    MixReady,
    PhraseEnded,
    Requested,
    WitnessReported,
)
from orchestrator.handoff.machine import begin, step
from orchestrator.handoff.state import Request, State
from orchestrator.model import (
    BridgeId,
    CallId,
    ChannelId,
    DialplanEntry,
    Endpoint,
    HandoffId,
    NodeName,
    Pattern,
    Place,
    Plan,
    Witness,
)

HANDOFF = HandoffId("h1")
HOLD = names.holding_bridge(HANDOFF)
MIX = names.merge_bridge(HANDOFF)
ALICE, BOB = Endpoint("PJSIP/alice"), Endpoint("PJSIP/bob")
QUEUE = DialplanEntry("queues", "support")
PLACE = Place(
    CallId("call-1"),
    "acme",
    NodeName("asterisk"),
    ChannelId("caller-1"),
    ChannelId("bot-1"),
    BridgeId("bot-bridge-1"),
)

E = TypeVar("E")


def agent(attempt: int = 1) -> ChannelId:
    return names.agent_channel(HANDOFF, attempt)


def both_heard(at: float) -> WitnessReported:
    """The witness has had packets of both since the agent is what the caller hears."""
    return WitnessReported(at, at - 1.0, Witness(both_live_ms=1000))


def plan(**changes: Any) -> Plan:
    return replace(Plan(Pattern.ATTENDED, (ALICE,), QUEUE, queue_name="support"), **changes)


def request(**changes: Any) -> Request:
    """A request for ATTENDED to alice; `changes` are of the plan or of the request."""
    own = {name: changes.pop(name) for name in list(changes) if name in Request.__slots__}
    alone = replace(PLACE, bot=ChannelId(""), bridge=BridgeId(""))
    place = alone if own.get("came_back") else PLACE
    return replace(Request(HANDOFF, "r1", place, plan(**changes)), **own)


def started(**changes: Any) -> Driven:
    return Driven(begin(request(**changes), 100.0)).feed(Requested(100.0))


class Driven:
    """A handoff's table with its events so far: `effects` are those of the last event."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.effects: tuple[Effect, ...] = ()
        self.history: list[Effect] = []

    def feed(self, *events: Event) -> Driven:
        for event in events:
            self.state, self.effects = step(self.state, event)
            self.history.extend(self.effects)
        return self

    def wants(self, kind: type[E]) -> list[E]:
        """Effects of that kind which the last event caused."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def ever(self, kind: type[E]) -> list[E]:
        return [effect for effect in self.history if isinstance(effect, kind)]

    def held(self, at: float = 101.0) -> Driven:
        """Plays the usual way to: caller in music, agent dialled, context published."""
        self.feed(ContextPublished(at - 0.5, 1))
        if self.state.request.say_first:
            self.feed(PhraseEnded(at - 0.4))
        self.feed(HoldReady(at))
        return self.feed(CallerHeld(at, self.state.moves), MixReady(at))

    def joined(self, at: float = 104.0) -> Driven:
        """The current agent answers and is put into the merge bridge."""
        channel = agent(self.state.attempts)
        return self.feed(AgentAnswered(at, channel), AgentJoined(at, channel))

    def connected(self, at: float = 105.0) -> Driven:
        self.held().joined(at - 0.1)
        return self.feed(CallerMerged(at, self.state.moves), both_heard(at))

    def lost(self, sip_status: int = 486, q850_cause: int = 17, at: float = 104.0) -> Driven:
        return self.feed(AgentLost(at, agent(self.state.attempts), sip_status, q850_cause))
