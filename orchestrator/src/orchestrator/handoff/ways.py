"""Nobody took the call: the ways out, one after the other, and the menu through which to choose.

A way out without its place is skipped; the dialplan's queue, or for a caller who comes from there
the dialplan itself, is the last.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator.handoff import names
from orchestrator.handoff.effects import Announce, ClearDeadline, Effect, MakeHolding, SetDeadline
from orchestrator.handoff.endings import (
    back_to_music,
    phrase_over,
    to_bot,
    to_dialplan,
    to_queue,
)
from orchestrator.handoff.events import Deadline
from orchestrator.handoff.state import State
from orchestrator.handoff.steps import Step, dial, dial_next, drop_agent, effect_id, hush
from orchestrator.handoff.tracks import AwaitingHold, Bridge, Choosing, Held
from orchestrator.model import Fallback, Menu, Outcome, Phase


def way_out(state: State, outcome: Outcome, at: float) -> Step:
    """Nobody took the call for `outcome`: the next way that is open."""
    state, effects = drop_agent(replace(state, outcome=outcome, phase=Phase.FALLBACK))
    moved, more = _next(state, at)
    return moved, (*effects, *more)


def elsewhere(state: State, at: float) -> Step:
    """The dialplan lacks the place that was asked for: the caller, still here, goes another way.

    Some ways need music first; the bridge for it was not needed so far.
    """
    made: tuple[Effect, ...] = ()
    if state.hold is Bridge.READY or state.request.place.dialplan_only:
        state = replace(state, caller=Held(), place_missing=True)
    else:
        state = replace(state, caller=AwaitingHold(), place_missing=True)
    if state.hold is Bridge.ABSENT and isinstance(state.caller, AwaitingHold):
        request = state.request
        bridge = names.holding_bridge(request.handoff_id)
        made = (MakeHolding(effect_id(state, "make-hold"), bridge, request.plan.music),)
        state = replace(state, hold=Bridge.MAKING)
    moved, effects = way_out(state, Outcome.UNREACHABLE, at)
    return moved, (*made, *effects)


def _next(state: State, at: float) -> Step:
    for number, way in enumerate(state.ways):
        if is_open(state, way):
            # The targets are one way, taken one by one.
            left = state.ways[number if way is Fallback.NEXT_TARGET else number + 1 :]
            return _take(replace(state, ways=left), way, at)
    return to_queue(replace(state, ways=()))


def is_open(state: State, way: Fallback) -> bool:
    """Whether this way leads anywhere just now."""
    plan = state.request.plan
    match way:
        case Fallback.NEXT_TARGET:
            unasked = state.request.place.dialplan_only and plan.accept_key
            return state.following < len(plan.targets) and not unasked
        case Fallback.VOICEMAIL:
            return plan.voicemail is not None
        case Fallback.BACKUP_CENTRE:
            return plan.backup is not None
        case Fallback.CALLBACK:
            return plan.callback is not None
        case Fallback.HOLDING_MENU:
            return plan.menu is not None
        case Fallback.RETURN_TO_BOT:  # no bridge: the bot's leg ended when the dialplan took them
            return bool(state.request.place.bridge) and not state.bot_lost


def _take(state: State, way: Fallback, at: float) -> Step:
    plan = state.request.plan
    match way:
        case Fallback.VOICEMAIL:
            return to_dialplan(state, Outcome.VOICEMAIL)
        case Fallback.CALLBACK:
            return to_dialplan(state, Outcome.CALLBACK)
        case Fallback.RETURN_TO_BOT:
            return to_bot(state, Outcome.RETURNED_TO_BOT, at)
        case _:
            state, effects = back_to_music(state)
    if way is Fallback.HOLDING_MENU and plan.menu is not None:
        moved, more = _open_menu(state, plan.menu, at)
    elif way is Fallback.BACKUP_CENTRE and plan.backup is not None:
        moved, more = dial(replace(state, backup=True), plan.backup, at)
    else:
        moved, more = dial_next(state, at)
    return moved, (*effects, *more)


def heard_out(state: State, at: float) -> Step:
    """The phrase has ended: what waited for it goes on, and so does a menu."""
    moved, effects = phrase_over(state, at)
    moved, more = announce(moved, at)
    return moved, (*effects, *more)


# --- the menu ---------------------------------------------------------------------------------


def _open_menu(state: State, menu: Menu, at: float) -> Step:
    """The caller has time to choose: the menu's own limit counts from here on."""
    moved, effects = announce(replace(state, agent=Choosing()), at)
    closes = SetDeadline(Deadline.MENU, at + menu.lasts)
    return moved, (ClearDeadline(Deadline.GIVE_UP), closes, *effects)


def announce(state: State, at: float) -> Step:
    """Says the menu, to a caller who hears the music already."""
    request, menu = state.request, state.request.plan.menu
    if menu is None or not isinstance(state.agent, Choosing) or not isinstance(state.caller, Held):
        return state, ()
    number = state.agent.announced + 1
    return replace(state, agent=Choosing(number)), (
        *hush(state),
        Announce(
            effect_id(state, "announce", number),
            request.caller,
            names.announcement(request.handoff_id, number),
            menu.announcement,
        ),
        SetDeadline(Deadline.ANNOUNCE, at + menu.every),
    )


def chosen(state: State, digit: str, at: float) -> Step:
    """A key of the menu. One that leads nowhere is not heard, as one that is none."""
    plan = state.request.plan
    way = plan.menu.keys.get(digit) if plan.menu is not None else None
    if way is Fallback.HOLDING_MENU:
        return announce(state, at)
    if way is Fallback.NEXT_TARGET and state.request.place.dialplan_only:
        return _queue_again(state)
    if way is Fallback.NEXT_TARGET:  # all of them again, and the time for it
        state = replace(state, following=0)
    if way is None or not is_open(state, way):
        return state, ()
    state, closed = drop_agent(replace(state, phase=Phase.FALLBACK))
    again: tuple[Effect, ...] = ()
    if way is Fallback.NEXT_TARGET:
        others = tuple(other for other in state.ways if other is not Fallback.NEXT_TARGET)
        state = replace(state, ways=(Fallback.NEXT_TARGET, *others))
        again = (SetDeadline(Deadline.GIVE_UP, at + plan.limits.give_up),)
    moved, effects = _take(state, way, at)
    return moved, (*closed, *again, *effects)


def _queue_again(state: State) -> Step:
    """Where the dialplan alone has the caller its queue is all there is to try again."""
    state, closed = drop_agent(replace(state, phase=Phase.FALLBACK, gave_up=Outcome.UNSPECIFIED))
    moved, effects = to_queue(state)
    return moved, (*closed, *effects)
