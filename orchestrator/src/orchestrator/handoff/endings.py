"""How a handoff ends: connected, queued, returned, given up; each with its clean-up."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.handoff import names
from orchestrator.handoff.effects import (
    ClearDeadline,
    ContinueInDialplan,
    DropBot,
    Effect,
    Finish,
    Release,
    ReturnToBot,
    SetDeadline,
    StopWitness,
    TearDown,
    UnfreezeBot,
)
from orchestrator.handoff.events import Deadline
from orchestrator.handoff.state import (
    Acked,
    AwaitingHold,
    Bridge,
    Bridged,
    FinishingPhrase,
    Left,
    Merging,
    Published,
    Queueing,
    Returning,
    State,
    Stranded,
    Talking,
    Watch,
    dialplan_variables,
)
from orchestrator.handoff.steps import (
    Step,
    dial,
    drop_agent,
    effect_id,
    hang_up,
    hold,
    milliseconds,
)
from orchestrator.model import BridgeId, Fallback, Outcome, Phase

WATCH_AFTER = 2.0  # dead air is counted until two seconds after the caller's last move
QUEUE_TRIES = 5
RETRY_SECONDS = 0.25  # doubled with every try


def connected(state: State, agent: Talking, at: float) -> Step:
    timing = replace(state.timing, merge_ms=milliseconds(at - agent.since))
    if isinstance(state.context, Published | Acked):
        timing = replace(timing, context_lead_ms=milliseconds(at - state.context.at))
    moved, effects = finish(
        replace(state, caller=Bridged(), timing=timing, hold=Bridge.GONE),
        Outcome.CONNECTED,
        Phase.CONNECTED,
        at,
    )
    holding = names.holding_bridge(state.request.handoff_id)
    return moved, (
        *release_bot(state, Release.HUMAN_CONNECTED),
        *effects,
        _tear_down(state, holding),
    )


def phrase_over(state: State, at: float) -> Step:
    leaves = state.caller == FinishingPhrase(leave=True)
    state = replace(state, caller=AwaitingHold(), phrase_ended_at=at)
    moved, effects = to_queue(state) if leaves else (state, ())
    return moved, (ClearDeadline(Deadline.PHRASE), *effects)


# --- ways out ---------------------------------------------------------------------------------


def way_out(state: State, outcome: Outcome, at: float) -> Step:
    """Nobody took the call for `outcome`: the next of the fallbacks, the queue when none is left.

    VOICEMAIL, BACKUP_CENTRE, CALLBACK and HOLDING_MENU lead to the dialplan's queue.
    """
    state, effects = drop_agent(replace(state, outcome=outcome, phase=Phase.FALLBACK))
    match state.ways:
        case (Fallback.NEXT_TARGET, *_) if state.attempts < len(state.request.plan.targets):
            moved, more = _dial_again(state, at)
        case (Fallback.NEXT_TARGET, *rest):
            moved, more = way_out(replace(state, ways=tuple(rest)), outcome, at)
        case (Fallback.RETURN_TO_BOT, *rest):
            moved, more = to_bot(replace(state, ways=tuple(rest)), Outcome.RETURNED_TO_BOT, at)
        case _:
            moved, more = to_queue(state)
    return moved, (*effects, *more)


def _dial_again(state: State, at: float) -> Step:
    """The caller who was on the way to a lost agent goes back to the music first."""
    if not isinstance(state.caller, Merging):
        return dial(state, at)
    state, effects = hold(state)
    moved, more = dial(state, at)
    return moved, (*effects, *more)


def to_queue(state: State, tries: int = 0) -> Step:
    """The dialplan's queue takes the caller, after the phrase if that still plays.

    A caller who was on the way to an agent or back to the bot hears music first: should the queue
    refuse, they would wait for the next try alone in a bridge.
    """
    state, effects = drop_agent(state)
    if isinstance(state.caller, FinishingPhrase):
        return replace(state, caller=FinishingPhrase(leave=True)), effects
    if isinstance(state.caller, Merging | Returning):
        state, back = hold(state)
        effects = (*effects, *back)
    request, move = state.request, state.moves + 1
    moved = replace(state, caller=Queueing(move, tries), moves=move)
    return moved, (
        *effects,
        ContinueInDialplan(
            effect_id(state, "move", move),
            move,
            request.caller,
            request.plan.queue,
            dialplan_variables(request),
            request.plan.music,
        ),
    )


def queue_failed(state: State, tries: int, outcome: Outcome, at: float) -> Step:
    """The last way out failed: tried again while the music plays, hung up when it never works."""
    if tries < QUEUE_TRIES:
        again = at + RETRY_SECONDS * 2 ** (tries - 1)
        return replace(state, caller=Stranded(tries), outcome=outcome), (
            SetDeadline(Deadline.RETRY, again),
        )
    moved, effects = caller_gone(state, outcome, at)
    return moved, (hang_up(state, state.request.caller), *effects)


def queued(state: State, at: float) -> Step:
    moved, effects = finish(replace(state, caller=Left()), Outcome.QUEUED, Phase.QUEUED, at)
    return moved, (*release_bot(state, Release.LEFT_BOT), *effects, *_remains(state))


def to_bot(state: State, outcome: Outcome, at: float) -> Step:
    state, effects = drop_agent(state)
    match state.caller:
        case FinishingPhrase() | AwaitingHold():  # the caller never left the bot
            moved, more = returned(state, outcome, at)
        case _:
            move = state.moves + 1
            moved = replace(state, caller=Returning(move, outcome), moves=move)
            request = state.request
            more = (
                ReturnToBot(
                    effect_id(state, "move", move), move, request.caller, request.place.bridge
                ),
            )
    return moved, (*effects, *more)


def returned(state: State, outcome: Outcome, at: float) -> Step:
    phase = Phase.CANCELLED if outcome is Outcome.CANCELLED else Phase.RETURNED
    moved, effects = finish(replace(state, caller=Left()), outcome, phase, at)
    return moved, (UnfreezeBot(effect_id(state, "unfreeze")), *effects, *_remains(state))


def caller_gone(state: State, outcome: Outcome, at: float) -> Step:
    """The caller hung up (or must be): everything comes down."""
    state, effects = drop_agent(state)
    moved, more = finish(replace(state, caller=Left()), outcome, Phase.FAILED, at)
    return moved, (*effects, *more, *_bot_leg(state), *_remains(state))


def superseded(state: State, at: float) -> Step:
    """The caller stays where they are, holding bridge included: the next handoff goes on there."""
    state, effects = drop_agent(state)
    moved, more = finish(replace(state, caller=Left()), Outcome.SUPERSEDED, Phase.CANCELLED, at)
    mix = names.merge_bridge(state.request.handoff_id)
    return moved, (*effects, *more, *((_tear_down(state, mix),) if _stands(state.mix) else ()))


def conversation_over(state: State) -> Step:
    """After CONNECTED one of the two left: the other leaves too. Never half a call in silence."""
    state, effects = drop_agent(state)
    state, stop = stop_witness(replace(state, caller=Left(), mix=Bridge.GONE))
    mix = names.merge_bridge(state.request.handoff_id)
    return state, (
        *effects, hang_up(state, state.request.caller), _tear_down(state, mix), *stop
    )  # fmt: skip


# --- the end ----------------------------------------------------------------------------------

_DUE_BEFORE_THE_END = tuple(which for which in Deadline if which is not Deadline.WITNESS)


def finish(state: State, outcome: Outcome, phase: Phase, at: float) -> Step:
    """Reports the outcome, once; the witness watches on for a while where there is a caller."""
    state = replace(state, finished=True, outcome=outcome, phase=phase)
    effects: tuple[Effect, ...] = (
        Finish(outcome),
        *(ClearDeadline(which) for which in _DUE_BEFORE_THE_END),
    )
    if phase in {Phase.CONNECTED, Phase.QUEUED, Phase.RETURNED} and state.watch is Watch.WATCHING:
        return state, (*effects, SetDeadline(Deadline.WITNESS, at + WATCH_AFTER))
    state, stop = stop_witness(state)
    return state, (*effects, *stop)


def stop_witness(state: State) -> Step:
    if state.watch is not Watch.WATCHING:
        return state, ()
    return replace(state, watch=Watch.ENDING), (
        ClearDeadline(Deadline.WITNESS),
        StopWitness(effect_id(state, "unwatch")),
    )


def release_bot(state: State, reason: Release) -> tuple[Effect, ...]:
    """The bot leaves for good: its stream, its channel, and the bridge it shared."""
    return (DropBot(effect_id(state, "drop-bot"), reason), *_bot_leg(state))


def _bot_leg(state: State) -> tuple[Effect, ...]:
    """The bot's channel, where there is one just then, and the bridge it shared."""
    place = state.request.place
    bridge = _tear_down(state, place.bridge)
    return (hang_up(state, place.bot), bridge) if place.bot else (bridge,)


def _remains(state: State) -> tuple[Effect, ...]:
    """Takes down whatever this handoff made, and what a superseded one left to it."""
    handoff = state.request.handoff_id
    bridges = (
        *((names.holding_bridge(handoff),) if _stands(state.hold) else ()),
        *((names.merge_bridge(handoff),) if _stands(state.mix) else ()),
        *state.request.leftovers,
    )
    return (_tear_down(state, *bridges),) if bridges else ()


def _stands(bridge: Bridge) -> bool:
    return bridge in {Bridge.MAKING, Bridge.READY}


def _tear_down(state: State, *bridges: BridgeId) -> TearDown:
    return TearDown(f"{state.request.handoff_id}:tear-down:{'+'.join(bridges)}", bridges)
