"""How a call goes on that another replica has left."""

from __future__ import annotations

from dataclasses import replace

import pytest
from orchestrator.fleet import effects as do
from orchestrator.fleet.effects import Effect, Outcome
from orchestrator.fleet.resumption import Found, resume
from orchestrator.fleet.states import (
    Adrift,
    Answering,
    Closed,
    Connecting,
    EntryPolicy,
    Expecting,
    Leaving,
    Lent,
    Parting,
    Seeking,
    State,
    Talking,
    deadline_of,
)

from tests.unit.orchestrator.fleet.surroundings import FORK

NOW = 100.0
WHOLE = Found(answered=True, bridged=True, voiced=True, lent=False)
MUTE = replace(WHOLE, voiced=False)
LOST = replace(MUTE, bridged=False)
STATES: tuple[State, ...] = (
    Seeking(True, 1.0),
    Connecting(True, FORK, 1.0),
    Expecting(True, FORK, 1.0),
    Answering(FORK, 1.0),
    Talking(FORK),
    Lent(FORK),
    Adrift(FORK, "worker lost", 1.0, may_return=True),
    Leaving("no fork", 3, 1.0),
    Parting(FORK, 1.0),
)


def resumed(state: State, found: Found) -> tuple[State, tuple[Effect, ...]]:
    return resume(state, found, EntryPolicy(), NOW)


def test_a_bot_that_is_heard_is_left_alone() -> None:
    assert resumed(Talking(FORK), WHOLE) == (Talking(FORK), ())


def test_a_bot_that_is_about_to_speak_keeps_its_voice() -> None:
    state, effects = resumed(Expecting(True, FORK, 1.0), WHOLE)
    assert (type(state), effects) == (Expecting, ())


@pytest.mark.parametrize("found", [MUTE, LOST])
@pytest.mark.parametrize("state", [each for each in STATES if not isinstance(each, Parting | Lent)])
def test_a_caller_whom_no_bot_speaks_to_hears_music_first(state: State, found: Found) -> None:
    _, effects = resumed(state, found)
    audible = [effect for effect in effects if not isinstance(effect, do.SeekFork)]
    assert audible[0] == do.StartMusic()


@pytest.mark.parametrize("state", [Talking(FORK), Connecting(True, FORK, 1.0)])
def test_a_voice_that_is_gone_is_made_anew(state: State) -> None:
    _, effects = resumed(state, LOST)
    assert do.OpenTalkback(FORK) in effects
    assert do.OpenBridge() in effects


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("found", [WHOLE, MUTE, LOST])
def test_deadlines_are_of_our_own_clock(state: State, found: Found) -> None:
    after, _ = resumed(state, found)
    due = deadline_of(after)
    assert due is None or due > NOW


@pytest.mark.parametrize("state", [Talking(FORK), Lent(FORK), Expecting(True, FORK, 1.0)])
def test_a_handoff_that_has_the_caller_keeps_them(state: State) -> None:
    after, effects = resumed(state, replace(WHOLE, lent=True))
    assert isinstance(after, Lent)
    assert after.fork == FORK
    assert not effects


def test_a_handoff_whose_bot_lost_its_voice_cannot_give_back() -> None:
    after, _ = resumed(Lent(FORK), replace(MUTE, lent=True))
    assert isinstance(after, Lent)
    assert after.lost


def test_a_caller_whom_an_ended_handoff_left_with_the_bot_talks_on() -> None:
    after, _ = resumed(Lent(FORK), WHOLE)
    assert after == Talking(FORK)


def test_a_caller_whom_an_ended_handoff_left_without_a_bot_goes_to_the_queue() -> None:
    after, effects = resumed(Lent(FORK), MUTE)
    assert isinstance(after, Leaving)
    assert effects[:2] == (do.StartMusic(), do.GoToQueue())


def test_who_was_on_the_way_to_the_queue_gets_there() -> None:
    _, effects = resumed(Leaving("no fork", 3, 1.0), WHOLE)
    assert effects == (do.StartMusic(), do.GoToQueue())


def test_a_call_that_was_over_stays_over() -> None:
    closed = Closed(Outcome.HUNG_UP, "caller hung up")
    assert resumed(closed, WHOLE) == (closed, ())
