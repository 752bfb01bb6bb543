"""Steps of the agent and towards the merge: each gives the next state with its effects."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.handoff import names
from orchestrator.handoff.effects import (
    AddAgent,
    BriefAgent,
    ClearDeadline,
    DialAgent,
    Effect,
    HangUp,
    HoldCaller,
    HushBriefing,
    MakeMix,
    MoveCaller,
    PlayPrompt,
    SetDeadline,
    StopPlaying,
)
from orchestrator.handoff.events import Deadline
from orchestrator.handoff.state import State, dialplan_variables
from orchestrator.handoff.tracks import (
    Accepted,
    Agent,
    AwaitingHold,
    AwaitingKey,
    Bridge,
    Briefing,
    Choosing,
    Dialling,
    Elsewhere,
    Gone,
    Held,
    Holding,
    Joining,
    Merging,
    NoAgent,
    Publishing,
    Ringing,
    Talking,
    Waiting,
)
from orchestrator.model import ChannelId, Pattern, Phase, SipUri, Target

Step = tuple[State, tuple[Effect, ...]]

RING_GRACE = 1.0  # seconds after the PBX's own limit until ours counts


def effect_id(state: State, kind: str, number: int = 0) -> str:
    suffix = f":{number}" if number else ""
    return f"{state.request.handoff_id}:{kind}{suffix}"


def attempt_of(agent: Agent) -> int | None:
    """The attempt whose channel is, or may be, up."""
    match agent:
        case NoAgent() | Gone() | Choosing() | Elsewhere():
            return None
        case _:
            return agent.attempt


def agent_channel(state: State, attempt: int) -> ChannelId:
    return names.agent_channel(state.request.handoff_id, attempt)


# --- agent ----------------------------------------------------------------------------------


def dial_next(state: State, at: float) -> Step:
    """Calls the plan's next target. The caller may be anywhere before the merge."""
    plan = state.request.plan
    target = plan.targets[state.following]
    state = replace(state, following=state.following + 1, backup=False)
    alone = state.request.place.dialplan_only
    if not alone and plan.pattern is Pattern.REFER and isinstance(target, SipUri):
        return replace(state, agent=Elsewhere(), target=target, phase=Phase.DIALLING), ()
    return dial(state, target, at)


def dial(state: State, target: Target, at: float) -> Step:
    """Calls this one, and has the bridge made to meet in where there is none."""
    attempt, plan = state.attempts + 1, state.request.plan
    moved = replace(
        state,
        agent=Dialling(attempt, at),
        attempts=attempt,
        target=target,
        phase=Phase.DIALLING,
        mix=Bridge.MAKING if state.mix is Bridge.ABSENT else state.mix,
    )
    bridge = names.merge_bridge(state.request.handoff_id)
    mix = (MakeMix(effect_id(state, "make-mix"), bridge),) if state.mix is Bridge.ABSENT else ()
    return moved, (
        DialAgent(
            effect_id(state, "dial", attempt),
            agent_channel(state, attempt),
            target,
            plan.limits.ring,
            dialplan_variables(state.request),
        ),
        SetDeadline(Deadline.RING, at + plan.limits.ring + RING_GRACE),
        *mix,
    )


def answered(state: State, agent: Dialling | Ringing, at: float) -> Step:
    plan, attempt = state.request.plan, agent.attempt
    state = replace(
        state,
        timing=replace(state.timing, ring_ms=milliseconds(at - agent.since)),
        phase=Phase.ANSWERED,
    )
    alone = state.request.place.dialplan_only  # its Dial() has connected them already
    if plan.pattern is Pattern.WARM_WHISPER and not state.backup and not alone:
        moved, effects = brief(state, attempt, at)
    else:
        moved, effects = screen(state, attempt, at)
    return moved, (ClearDeadline(Deadline.RING), *effects)


def brief(state: State, attempt: int, at: float) -> Step:
    """The agent is told what it is about; the caller hears music and nothing of it."""
    return replace(state, agent=Briefing(attempt)), (
        SetDeadline(Deadline.BRIEFING, at + state.request.plan.limits.briefing),
        BriefAgent(effect_id(state, "brief", attempt), agent_channel(state, attempt)),
    )


def briefed(state: State, attempt: int, at: float) -> Step:
    """The briefing is over, by its end, its deadline, or for want of a voice."""
    moved, effects = screen(state, attempt, at)
    quiet = () if isinstance(moved.agent, Accepted) else hush(state)
    return moved, (*quiet, *effects)


def screen(state: State, attempt: int, at: float) -> Step:
    """The agent is asked for the key, where one is wanted; the backup centre has none to press."""
    plan, channel = state.request.plan, agent_channel(state, attempt)
    if not plan.accept_key or state.backup:
        return accepted(state, attempt, at)
    deadline = SetDeadline(Deadline.ACCEPT, at + plan.limits.accept)
    moved = replace(state, agent=AwaitingKey(attempt))
    if not plan.prompt:
        return moved, (deadline,)
    prompt = effect_id(state, "prompt", attempt)
    return moved, (deadline, PlayPrompt(prompt, channel, names.prompt(channel), plan.prompt))


def accepted(state: State, attempt: int, at: float) -> Step:
    """The agent takes the call: from here on a cancel comes too late."""
    effects: tuple[Effect, ...] = (*hush(state), ClearDeadline(Deadline.ACCEPT))
    if isinstance(state.context, Publishing):
        effects = (*effects, SetDeadline(Deadline.CONTEXT, at + state.request.plan.limits.context))
    return replace(state, agent=Accepted(attempt, at), phase=Phase.ACCEPTED), effects


def hush(state: State) -> tuple[Effect, ...]:
    """Ends what is being played to the agent, or to the caller who chooses."""
    request = state.request
    match state.agent:
        case Briefing(attempt):
            return (
                ClearDeadline(Deadline.BRIEFING),
                HushBriefing(effect_id(state, "hush-briefing", attempt)),
            )
        case AwaitingKey(attempt) if request.plan.prompt:
            playback = names.prompt(agent_channel(state, attempt))
            return (StopPlaying(effect_id(state, "hush-prompt", attempt), playback),)
        case Choosing(announced) if announced:
            playback = names.announcement(request.handoff_id, announced)
            return (StopPlaying(effect_id(state, "hush-menu", announced), playback),)
        case _:
            return ()


def drop_agent(state: State) -> Step:
    """Hangs the agent up, if there is or may be one; closes the menu, if it is open."""
    match state.agent:
        case Choosing():
            closed = (ClearDeadline(Deadline.MENU), ClearDeadline(Deadline.ANNOUNCE))
            return replace(state, agent=NoAgent()), (*hush(state), *closed)
        case NoAgent() | Gone():
            return state, ()
        case Elsewhere():
            return replace(state, agent=NoAgent()), ()
        case agent:
            quiet = hush(state) if isinstance(agent, Briefing) else ()
            channel = agent_channel(state, agent.attempt)
            return replace(state, agent=Gone(agent.attempt)), (*quiet, hang_up(state, channel))


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
            return merge(state, attempt, since, at)
        case _:
            return state, ()


def hold(state: State) -> Step:
    request, move = state.request, state.moves + 1
    bridge = names.holding_bridge(request.handoff_id)
    return replace(state, caller=Holding(move), moves=move), (
        HoldCaller(
            effect_id(state, "move", move), move, request.caller, bridge, request.plan.music
        ),
    )


def merge(state: State, attempt: int, since: float, at: float) -> Step:
    move = state.moves + 1
    bridge = names.merge_bridge(state.request.handoff_id)
    moved = replace(
        state,
        caller=Merging(move, at),
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
