"""The table's rows for what goes wrong: deadlines, a PBX that fails, a wish that is withdrawn."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.handoff import endings, merging, phrases, referring, steps, ways
from orchestrator.handoff.events import (
    AriFailed,
    CancelRequested,
    Deadline,
    DeadlinePassed,
    Superseded,
)
from orchestrator.handoff.state import State
from orchestrator.handoff.steps import Step, effect_id
from orchestrator.handoff.tracks import (
    Accepted,
    Asking,
    AwaitingHold,
    AwaitingKey,
    BeingTold,
    Briefing,
    Choosing,
    Dialling,
    FinishingPhrase,
    Held,
    Holding,
    Joining,
    Merged,
    Merging,
    Publishing,
    Queueing,
    Returning,
    Ringing,
    Stranded,
    Talking,
    Unavailable,
    Waiting,
)
from orchestrator.model import Fallback, Outcome, Phase


def deadline(state: State, event: DeadlinePassed) -> Step:
    at = event.at
    match event.which, state.caller, state.agent:
        case Deadline.PHRASE, FinishingPhrase(), _:
            return endings.phrase_over(state, at)
        case Deadline.PHRASE, BeingTold(), _:
            return _heard_enough(state, at)
        case Deadline.RING, _, (Dialling() | Ringing()):
            return ways.way_out(state, Outcome.NO_ANSWER, at)
        case Deadline.BRIEFING, _, Briefing(attempt):
            return steps.briefed(state, attempt, at)
        case Deadline.ACCEPT, _, AwaitingKey():
            return ways.way_out(state, Outcome.NO_ANSWER, at)
        case Deadline.LIVE, Merged(), Talking() as agent:
            return merging.unproven(state, agent, at)
        case Deadline.ANNOUNCE, _, Choosing():
            return ways.announce(state, at)
        case Deadline.MENU, _, Choosing():
            return ways.way_out(state, Outcome.TIMED_OUT, at)
        case Deadline.CONTEXT, _, _ if isinstance(state.context, Publishing):
            return replace(state, context=Unavailable()), ()
        case Deadline.GIVE_UP, _, _:
            return _give_up(state, at)
        case Deadline.REFER, Asking(), _:
            return referring.overdue(state)
        case Deadline.RETRY, Stranded(tries), _:
            return endings.to_queue(state, tries)
        case _:
            return state, ()


def _give_up(state: State, at: float) -> Step:
    """Nobody else is called any more.

    Who has taken the call, or a carrier that is being asked, may still get the caller; if that
    fails, no further target is tried.
    """
    later = tuple(way for way in state.ways if way is not Fallback.NEXT_TARGET)
    match state.caller, state.agent:
        case Held(), _ if state.request.place.dialplan_only:  # it goes on without us
            return replace(state, ways=later), ()
        case _ if may_withdraw(state) and state.request.straight:
            return endings.to_queue(state)
        case _ if may_withdraw(state):
            return ways.way_out(replace(state, ways=later), Outcome.TIMED_OUT, at)
        case (Asking(), _) | (_, (Accepted() | Joining() | Waiting() | Talking())):
            return replace(state, ways=later), ()
        case _:  # nothing is done yet, or the caller is on the way out already
            return state, ()


def ari_failed(state: State, event: AriFailed) -> Step:
    at, outcome, effect = event.at, event.outcome, event.effect
    match state.caller, state.agent:
        case BeingTold(), _ if effect == phrases.say_id(state):
            return _heard_enough(state, at)
        case (
            (FinishingPhrase() | AwaitingHold() | Holding() | BeingTold() | Held()), _
        ) if effect in {effect_id(state, "make-hold"), effect_id(state, "make-mix")}:  # fmt: skip
            return _queue_at_once(state, outcome)
        case Holding(move), _ if effect == effect_id(state, "move", move):
            return _queue_at_once(state, outcome)
        case Merging(move), _ if effect == effect_id(state, "move", move):
            return ways.way_out(state, outcome, at)
        case Returning(move), _ if effect == effect_id(state, "move", move):
            return _queue_at_once(state, outcome)
        case Queueing(move, _, Outcome.QUEUED), _ if (
            outcome is Outcome.UNREACHABLE
            and effect == effect_id(state, "move", move)
            and state.request.plan.usual_queue is not None
            and not state.place_missing
        ):
            return ways.elsewhere(state, at)
        case Queueing(move, tries, place), _ if effect == effect_id(state, "move", move):
            if place is not Outcome.QUEUED:
                return _queue_at_once(state, outcome)
            return endings.queue_failed(state, tries + 1, outcome, at)
        case Asking(move), _ if effect == effect_id(state, "move", move):
            return referring.failed(state, outcome, at)
        case _, (Dialling(attempt) | Ringing(attempt)) if effect == effect_id(
            state, "dial", attempt
        ):
            return ways.way_out(state, outcome, at)
        case _, Joining(attempt) if effect == effect_id(state, "add", attempt):
            return ways.way_out(state, outcome, at)
        case _, Choosing(announced) if state.request.place.dialplan_only and effect == effect_id(
            state, "announce", announced
        ):  # without it there is neither music nor a menu
            return ways.way_out(state, outcome, at)
        case _:
            return state, ()


def _heard_enough(state: State, at: float) -> Step:
    """The phrase is not waited for. It may play for all that."""
    quiet = phrases.hush_caller(state)
    moved, effects = ways.heard_out(state, at)
    return moved, (*quiet, *effects)


def _queue_at_once(state: State, outcome: Outcome) -> Step:
    """Without a bridge no other target helps: the dialplan needs none."""
    return endings.to_queue(replace(state, outcome=outcome, phase=Phase.FALLBACK))


def withdrawn(state: State, event: CancelRequested | Superseded) -> Step:
    """One winner: an agent who has accepted, or a caller on the way out, beats the withdrawal."""
    if not may_withdraw(state):
        return state, ()
    match event:
        case CancelRequested(at) if ways.is_open(state, Fallback.RETURN_TO_BOT):
            return endings.to_bot(state, Outcome.CANCELLED, at)
        case Superseded(at):
            return endings.superseded(state, at)
        case _:  # there is no bot to go back to
            return state, ()


def may_withdraw(state: State) -> bool:
    """Whether a cancel, a supersede or giving up still comes in time."""
    match state.caller, state.agent:
        case _, (Accepted() | Joining() | Waiting() | Talking()):
            return False
        case ((FinishingPhrase() | AwaitingHold() | Holding() | BeingTold() | Held()), _):
            return True
        case _:
            return False
