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
    StartMusic,
    StopWitness,
    TearDown,
    UnfreezeBot,
)
from orchestrator.handoff.events import Deadline
from orchestrator.handoff.phrases import hush_caller
from orchestrator.handoff.state import State, dialplan_variables
from orchestrator.handoff.steps import (
    Step,
    drop_agent,
    effect_id,
    hang_up,
    hold,
)
from orchestrator.handoff.tracks import (
    AwaitingHold,
    BeingTold,
    Bridge,
    Bridged,
    FinishingPhrase,
    Held,
    InQueue,
    Left,
    Merged,
    Merging,
    Queueing,
    Returning,
    Stranded,
    Talking,
    Watch,
)
from orchestrator.model import BridgeId, DialplanEntry, Outcome, Pattern, Phase

WATCH_AFTER = 2.0  # dead air is counted until two seconds after the caller's last move
QUEUE_TRIES = 5
RETRY_SECONDS = 0.25  # doubled with every try


def connected(state: State, agent: Talking, at: float) -> Step:
    """Caller and agent hear each other: the bot leaves, the music is torn down."""
    outcome = Outcome.BACKUP_CENTRE if state.backup else Outcome.CONNECTED
    moved, effects = finish(
        replace(state, caller=Bridged(), hold=Bridge.GONE), outcome, Phase.CONNECTED, at
    )
    holding = names.holding_bridge(state.request.handoff_id)
    return moved, (
        *release_bot(state, Release.HUMAN_CONNECTED),
        *effects,
        _tear_down(state, holding, *_of_briefing(state)),
    )


def phrase_over(state: State, at: float) -> Step:
    leave: Outcome | None = None
    match state.caller:
        case BeingTold(leave):
            state = replace(state, caller=Held())
        case FinishingPhrase(leave):
            state = replace(state, caller=AwaitingHold(), phrase_ended_at=at)
        case _:
            return state, ()
    moved, effects = (state, ()) if leave is None else to_dialplan(state, leave)
    return moved, (ClearDeadline(Deadline.PHRASE), *effects)


# --- where the caller is sent to ---------------------------------------------------------------


def to_queue(state: State, tries: int = 0) -> Step:
    """The way out that always exists."""
    return to_dialplan(state, Outcome.QUEUED, tries)


def to_dialplan(state: State, place: Outcome, tries: int = 0) -> Step:
    """The dialplan takes the caller (QUEUED, VOICEMAIL, CALLBACK), after the phrase if that plays.

    A caller who was on the way to an agent or back to the bot hears music first: should the
    dialplan refuse, they would wait for the next try alone in a bridge.
    """
    state, effects = drop_agent(state)
    if isinstance(state.caller, FinishingPhrase | BeingTold):
        return replace(state, caller=replace(state.caller, leave=place)), effects
    state, back = back_to_music(state)
    request, move = state.request, state.moves + 1
    moved = replace(state, caller=Queueing(move, tries, place), moves=move)
    return moved, (
        *effects,
        *back,
        ContinueInDialplan(
            effect_id(state, "move", move),
            move,
            request.caller,
            _entry(state, place),
            dialplan_variables(request),
            request.plan.music,
        ),
    )


def _entry(state: State, place: Outcome) -> DialplanEntry | None:
    """None: who comes from the queue is not sent there again, the dialplan knows what is next."""
    request, plan = state.request, state.request.plan
    match place:
        case Outcome.VOICEMAIL if plan.voicemail:
            return plan.voicemail
        case Outcome.CALLBACK if plan.callback:
            return plan.callback
        case _:
            usual = plan.usual_queue if state.place_missing else None
            return None if request.came_back or state.gave_up else usual or plan.queue


def back_to_music(state: State) -> Step:
    """A caller who is with an agent, or on the way to one or to the bot, is held again."""
    match state.caller:
        case Merging() | Merged() | Returning():
            return hold(state)
        case _:
            return state, ()


def queue_failed(state: State, tries: int, outcome: Outcome, at: float) -> Step:
    """The last way out failed: tried again while music plays, hung up when it never works.

    The music is the channel's own: the hold may have failed, too. Whom only the dialplan has is not
    hung up: they are still with the bot, or on the dialplan's own way out of the queue, or of what
    followed it.
    """
    if tries < QUEUE_TRIES:
        request, again = state.request, at + RETRY_SECONDS * 2 ** (tries - 1)
        return replace(state, caller=Stranded(tries), outcome=outcome), (
            StartMusic(effect_id(state, "music", state.moves), request.caller, request.plan.music),
            SetDeadline(Deadline.RETRY, again),
        )
    if state.request.place.dialplan_only:
        if state.gave_up:
            return queued(state, Outcome.QUEUED, at)
        return (caller_gone if state.left_bot else returned)(state, outcome, at)
    moved, effects = caller_gone(state, outcome, at)
    return moved, (hang_up(state, state.request.caller), *effects)


def queued(state: State, place: Outcome, at: float) -> Step:
    """The dialplan has the caller. Let go after a queue: the outcome is why that one ended."""
    phase, why = Phase.QUEUED, state.request.came_back or state.gave_up
    if place is Outcome.QUEUED and why:
        place, phase = why, Phase.FAILED
    elif place is Outcome.QUEUED and state.request.place.dialplan_only:
        return in_queue(state)
    moved, effects = finish(replace(state, caller=Left()), place, phase, at)
    bot = () if state.gave_up else release_bot(state, Release.LEFT_BOT)
    return moved, (*bot, *effects, *remains(state))


def in_queue(state: State) -> Step:
    """The queue has the caller and will tell what comes of it; the bot's leg has ended."""
    moved = replace(
        state,
        caller=InQueue(),
        phase=Phase.DIALLING,
        outcome=Outcome.UNSPECIFIED,
        left_bot=True,
    )
    clear = tuple(ClearDeadline(which) for which in _DUE_BEFORE_THE_END)
    return moved, (*release_bot(state, Release.LEFT_BOT), *clear, *remains(state))


def to_bot(state: State, outcome: Outcome, at: float) -> Step:
    state, effects = _left_alone(state)
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
    return moved, (UnfreezeBot(effect_id(state, "unfreeze")), *effects, *remains(state))


def caller_gone(state: State, outcome: Outcome, at: float) -> Step:
    """The caller hung up (or must be): everything comes down."""
    state, effects = _left_alone(state)
    moved, more = finish(replace(state, caller=Left()), outcome, Phase.FAILED, at)
    return moved, (*effects, *more, *_bot_leg(state), *remains(state))


def superseded(state: State, at: float) -> Step:
    """The caller stays where they are, holding bridge included: the next handoff goes on there."""
    state, effects = _left_alone(state)
    moved, more = finish(replace(state, caller=Left()), Outcome.SUPERSEDED, Phase.CANCELLED, at)
    mix = names.merge_bridge(state.request.handoff_id)
    bridges = (*((mix,) if _stands(state.mix) else ()), *_of_briefing(state))
    return moved, (*effects, *more, *((_tear_down(state, *bridges),) if bridges else ()))


def _left_alone(state: State) -> Step:
    """Nobody calls, or speaks to, this caller any more."""
    quiet = hush_caller(state)
    moved, effects = drop_agent(state)
    return moved, (*quiet, *effects)


def conversation_over(state: State) -> Step:
    """After CONNECTED one of the two left: the other leaves too. Never half a call in silence."""
    state, effects = drop_agent(state)
    state, stop = stop_witness(replace(state, caller=Left(), mix=Bridge.GONE))
    bridges = names.bridges(state.request.handoff_id)
    return state, (
        *effects, hang_up(state, state.request.caller), _tear_down(state, *bridges), *stop
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
    if not place.bridge:
        return ()
    bridge = _tear_down(state, place.bridge)
    return (hang_up(state, place.bot), bridge) if place.bot else (bridge,)


def remains(state: State) -> tuple[Effect, ...]:
    """Takes down whatever this handoff made, and what a superseded one left to it."""
    handoff = state.request.handoff_id
    bridges = (
        *((names.holding_bridge(handoff),) if _stands(state.hold) else ()),
        *((names.merge_bridge(handoff),) if _stands(state.mix) else ()),
        *_of_briefing(state),
        *state.request.leftovers,
    )
    return (_tear_down(state, *bridges),) if bridges else ()


def _of_briefing(state: State) -> tuple[BridgeId, ...]:
    """Its bridge goes with it; unless the PBX could not be asked just then."""
    if state.request.plan.pattern is not Pattern.WARM_WHISPER or not state.attempts:
        return ()
    return (names.briefing_bridge(state.request.handoff_id),)


def _stands(bridge: Bridge) -> bool:
    return bridge in {Bridge.MAKING, Bridge.READY}


def _tear_down(state: State, *bridges: BridgeId) -> TearDown:
    return TearDown(f"{state.request.handoff_id}:tear-down:{'+'.join(bridges)}", bridges)
