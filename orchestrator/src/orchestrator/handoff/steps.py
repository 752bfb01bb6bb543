"""Steps of the agent and towards the merge: each gives the next state with its effects."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.handoff import names
from orchestrator.handoff.effects import (
    AddAgent,
    ClearDeadline,
    DialAgent,
    Effect,
    HangUp,
    HoldCaller,
    MoveCaller,
    PlayPrompt,
    SetDeadline,
)
from orchestrator.handoff.events import Deadline
from orchestrator.handoff.state import (
    Accepted,
    Agent,
    AwaitingHold,
    AwaitingKey,
    Bridge,
    Dialling,
    Gone,
    Held,
    Holding,
    Joining,
    Merging,
    NoAgent,
    Publishing,
    Ringing,
    State,
    Talking,
    Waiting,
    dialplan_variables,
)
from orchestrator.model import ChannelId, Phase

Step = tuple[State, tuple[Effect, ...]]

RING_GRACE = 1.0  # seconds after the PBX's own limit until ours counts


def effect_id(state: State, kind: str, number: int = 0) -> str:
    suffix = f":{number}" if number else ""
    return f"{state.request.handoff_id}:{kind}{suffix}"


def attempt_of(agent: Agent) -> int | None:
    """The attempt whose channel is, or may be, up."""
    match agent:
        case NoAgent() | Gone():
            return None
        case _:
            return agent.attempt


def agent_channel(state: State, attempt: int) -> ChannelId:
    return names.agent_channel(state.request.handoff_id, attempt)


# --- agent ----------------------------------------------------------------------------------


def dial(state: State, at: float) -> Step:
    """Calls the next target. The caller may be anywhere before the merge."""
    attempt = state.attempts + 1
    plan = state.request.plan
    target = plan.targets[attempt - 1]
    moved = replace(state, agent=Dialling(attempt, at), attempts=attempt, phase=Phase.DIALLING)
    return moved, (
        DialAgent(
            effect_id(state, "dial", attempt),
            agent_channel(state, attempt),
            target,
            plan.limits.ring,
            dialplan_variables(state.request),
        ),
        SetDeadline(Deadline.RING, at + plan.limits.ring + RING_GRACE),
    )


def answered(state: State, agent: Dialling | Ringing, at: float) -> Step:
    plan, attempt = state.request.plan, agent.attempt
    state = replace(
        state,
        timing=replace(state.timing, ring_ms=milliseconds(at - agent.since)),
        phase=Phase.ANSWERED,
    )
    clear = ClearDeadline(Deadline.RING)
    if not plan.accept_key:
        moved, effects = accepted(state, attempt, at)
        return moved, (clear, *effects)
    prompt = (
        (
            PlayPrompt(
                effect_id(state, "prompt", attempt), agent_channel(state, attempt), plan.prompt
            ),
        )
        if plan.prompt
        else ()
    )
    deadline = SetDeadline(Deadline.ACCEPT, at + plan.limits.accept)
    return replace(state, agent=AwaitingKey(attempt)), (clear, deadline, *prompt)


def accepted(state: State, attempt: int, at: float) -> Step:
    """The agent takes the call: from here on a cancel comes too late."""
    effects: tuple[Effect, ...] = (ClearDeadline(Deadline.ACCEPT),)
    if isinstance(state.context, Publishing):
        effects = (*effects, SetDeadline(Deadline.CONTEXT, at + state.request.plan.limits.context))
    return replace(state, agent=Accepted(attempt, at), phase=Phase.ACCEPTED), effects


def drop_agent(state: State) -> Step:
    """Hangs the agent up, if there is or may be one."""
    if (attempt := attempt_of(state.agent)) is None:
        return state, ()
    return replace(state, agent=Gone(attempt)), (hang_up(state, agent_channel(state, attempt)),)


def hang_up(state: State, channel: ChannelId) -> HangUp:
    return HangUp(f"{state.request.handoff_id}:hang-up:{channel}", channel)


# --- where caller and agent meet ------------------------------------------------------------------


def meet(state: State, at: float) -> Step:
    """Joint conditions of the tracks: what may go on as soon as two of them are ready."""
    match state.caller, state.agent:
        case _ if state.finished:
            return state, ()
        case AwaitingHold(), _ if state.hold is Bridge.READY:
            return hold(state)
        case _, Accepted(attempt, since) if state.mix is Bridge.READY:
            # The agent goes in while the caller may still hear the phrase: one step less later.
            moved = replace(state, agent=Joining(attempt, since))
            bridge = names.merge_bridge(state.request.handoff_id)
            return moved, (
                AddAgent(effect_id(state, "add", attempt), agent_channel(state, attempt), bridge),
            )
        case Held(), Waiting(attempt, since) if not isinstance(state.context, Publishing):
            return merge(state, attempt, since)
        case _:
            return state, ()


def hold(state: State) -> Step:
    move = state.moves + 1
    bridge = names.holding_bridge(state.request.handoff_id)
    return replace(state, caller=Holding(move), moves=move), (
        HoldCaller(effect_id(state, "move", move), move, state.request.caller, bridge),
    )


def merge(state: State, attempt: int, since: float) -> Step:
    move = state.moves + 1
    bridge = names.merge_bridge(state.request.handoff_id)
    moved = replace(
        state,
        caller=Merging(move),
        agent=Talking(attempt, since),
        moves=move,
        phase=Phase.MERGING,
    )
    return moved, (
        ClearDeadline(Deadline.CONTEXT),
        MoveCaller(effect_id(state, "move", move), move, state.request.caller, bridge),
    )


def milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))
