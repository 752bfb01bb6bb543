"""The table's rows of the agent: rings, answers, is told, takes the call, is lost."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.handoff import steps
from orchestrator.handoff.causes import outcome_of
from orchestrator.handoff.events import (
    AgentAccepted,
    AgentAnswered,
    AgentJoined,
    AgentKey,
    AgentLost,
    AgentRinging,
    BriefingEnded,
    BriefingStarted,
    MixReady,
)
from orchestrator.handoff.state import State
from orchestrator.handoff.steps import Step, agent_channel, attempt_of
from orchestrator.handoff.tracks import (
    AwaitingKey,
    Bridge,
    Briefing,
    Dialling,
    Joining,
    Ringing,
    Waiting,
)
from orchestrator.handoff.ways import way_out
from orchestrator.model import Outcome, Phase

Heard = (
    AgentRinging | AgentAnswered | BriefingStarted | BriefingEnded | AgentKey | AgentLost
    | AgentJoined
)  # fmt: skip


def heard(state: State, event: Heard) -> Step:
    """News of one agent's channel."""
    attempt = attempt_of(state.agent)
    if attempt is None or agent_channel(state, attempt) != event.channel:
        if isinstance(event, AgentAnswered):  # answered too late: nobody may wait in silence
            return state, (steps.hang_up(state, event.channel),)
        return state, ()
    if state.request.place.dialplan_only:  # the caller's own Dial() has called
        state = replace(state, left_bot=True)
    match state.agent, event:
        case Dialling(_, since), AgentRinging():
            return replace(state, agent=Ringing(attempt, since), phase=Phase.RINGING), ()
        case (Dialling() | Ringing()) as agent, AgentAnswered(at):
            return steps.answered(state, agent, at)
        case Briefing(), BriefingStarted():
            return replace(state, phase=Phase.BRIEFING), ()
        case Briefing(), BriefingEnded(at):
            return steps.briefed(state, attempt, at)
        case ((Briefing() | AwaitingKey()), AgentKey(at, _, digit)) if _accepts(state, digit):
            return steps.accepted(state, attempt, at)
        case Joining(_, since), AgentJoined():
            return replace(state, agent=Waiting(attempt, since)), ()
        case Dialling(), AgentLost(at, _, 0, 0):
            # Asterisk's event of a channel that it could not dial may come before it says why.
            return way_out(state, Outcome.UNREACHABLE, at)
        case ((Dialling() | Ringing()), AgentLost(at, _, sip, q850)):
            state = replace(state, sip_status=sip, q850_cause=q850)
            return way_out(state, outcome_of(sip, q850), at)
        case _, AgentLost(at, _, sip, q850):
            state = replace(state, sip_status=sip, q850_cause=q850)
            return way_out(state, Outcome.AGENT_HUNG_UP, at)
        case _:
            return state, ()


def _accepts(state: State, digit: str) -> bool:
    return digit == state.request.plan.accept_key


def prepared(state: State, event: MixReady | AgentAccepted) -> Step:
    """The merge bridge stands; an agent accepts by other means than a key."""
    match state.agent, event:
        case _, MixReady() if state.mix is Bridge.MAKING:
            return replace(state, mix=Bridge.READY), ()
        case ((Briefing(attempt) | AwaitingKey(attempt)), AgentAccepted(at)):
            return steps.accepted(state, attempt, at)
        case _:
            return state, ()
