"""The rules' phrase: told on hold where the AI says nothing, waited for, and never in the way."""

from __future__ import annotations

import pytest
from orchestrator.handoff import names
from orchestrator.handoff.effects import (
    Announce,
    ContinueInDialplan,
    DialAgent,
    Effect,
    HoldCaller,
    HushPhrase,
    MoveCaller,
    ReturnToBot,
    SayPhrase,
    SetDeadline,
    StopPlaying,
)
from orchestrator.handoff.events import (
    AriFailed,
    CallerHeld,
    CallerLeft,
    CancelRequested,
    Deadline,
    DeadlinePassed,
    HoldReady,
    PhraseEnded,
    Superseded,
)
from orchestrator.handoff.tracks import BeingTold, Held, Left, Merging, Queueing, Returning
from orchestrator.model import Fallback, Menu, Outcome, Pattern

from tests.builders.handoffs import HANDOFF, Driven, started

SPOKEN, PLAYED = "One moment, please.", "sound:moment"
ENDED = PhraseEnded(103.0)


def told(phrase: str = SPOKEN, **changes: object) -> Driven:
    """A caller who hears the phrase, in the music."""
    driven = started(phrase=phrase, **changes).feed(HoldReady(101.0))
    return driven.feed(CallerHeld(101.0, driven.state.moves))


def test_a_text_is_said_once_the_caller_is_held_and_not_before() -> None:
    driven = started(phrase=SPOKEN).feed(HoldReady(101.0))
    assert [held.move for held in driven.wants(HoldCaller)] == [1]
    assert not driven.ever(SayPhrase)
    driven.feed(CallerHeld(101.1, 1))
    assert driven.wants(SayPhrase) == [SayPhrase("h1:phrase", driven.state.request.caller, SPOKEN)]
    assert driven.wants(SetDeadline) == [SetDeadline(Deadline.PHRASE, 111.1)]
    assert driven.state.caller == BeingTold()


def test_media_of_the_pbx_is_played_by_the_pbx() -> None:
    driven = told(PLAYED)
    caller, playback = driven.state.request.caller, names.phrase(HANDOFF)
    assert driven.wants(Announce) == [Announce("h1:phrase", caller, playback, PLAYED)]
    assert not driven.wants(SayPhrase)


def test_the_phone_rings_meanwhile() -> None:
    assert len(told().ever(DialAgent)) == 1


def test_an_ai_that_speaks_first_says_it_better() -> None:
    driven = started(phrase=SPOKEN, say_first="u7").feed(PhraseEnded(100.5))
    driven.feed(HoldReady(101.0), CallerHeld(101.0, 1))
    assert driven.state.caller == Held()
    assert not driven.ever(SayPhrase)


def test_a_caller_whom_a_queue_gave_back_is_not_told_again() -> None:
    driven = started(phrase=SPOKEN, came_back=Outcome.QUEUE_CLOSED, fallbacks=())
    driven.feed(HoldReady(101.0), CallerHeld(101.0, 1))
    assert not driven.ever(SayPhrase)


def test_an_agent_who_is_there_already_waits_for_the_phrases_end() -> None:
    driven = started(phrase=SPOKEN).held().joined()
    assert isinstance(driven.state.caller, BeingTold)
    assert not driven.ever(MoveCaller)
    driven.feed(ENDED)
    assert isinstance(driven.state.caller, Merging)
    assert len(driven.wants(MoveCaller)) == 1


def test_the_phrase_is_told_once_however_often_the_caller_is_held() -> None:
    driven = started(phrase=SPOKEN, fallbacks=(Fallback.NEXT_TARGET,)).held().feed(ENDED)
    driven.joined().lost()
    driven.feed(CallerHeld(105.0, driven.state.moves))
    assert len(driven.ever(SayPhrase)) == 1


@pytest.mark.parametrize(
    ("phrase", "hush"), [(SPOKEN, HushPhrase), (PLAYED, StopPlaying)], ids=["spoken", "played"]
)
def test_a_phrase_that_takes_too_long_is_hushed_and_not_waited_for(
    phrase: str, hush: type[Effect]
) -> None:
    driven = told(phrase).feed(DeadlinePassed(111.0, Deadline.PHRASE))
    assert driven.state.caller == Held()
    assert len(driven.wants(hush)) == 1


def test_media_that_the_pbx_does_not_play_is_not_waited_for() -> None:
    driven = told(PLAYED).feed(AriFailed(101.2, "h1:phrase", Outcome.PBX_ERROR))
    assert driven.state.caller == Held()


@pytest.mark.parametrize("phrase", [SPOKEN, PLAYED])
def test_the_dialplan_has_the_caller_only_after_the_phrase(phrase: str) -> None:
    driven = told(phrase, pattern=Pattern.DIALPLAN)
    assert driven.state.caller == BeingTold(Outcome.QUEUED)
    assert not driven.ever(ContinueInDialplan)
    assert not driven.ever(DialAgent)
    driven.feed(ENDED)
    assert isinstance(driven.state.caller, Queueing)
    assert len(driven.wants(ContinueInDialplan)) == 1


def test_nobody_to_dial_and_nothing_to_say_is_the_queue_at_once() -> None:
    assert started(pattern=Pattern.DIALPLAN).wants(ContinueInDialplan)


def test_a_dialplans_caller_goes_to_the_queue_when_nobody_is_waited_for_any_more() -> None:
    driven = told(pattern=Pattern.DIALPLAN, fallbacks=(Fallback.RETURN_TO_BOT,))
    driven.feed(DeadlinePassed(102.0, Deadline.GIVE_UP))
    assert driven.state.caller == BeingTold(Outcome.QUEUED)


def test_a_way_out_into_the_dialplan_waits_for_the_phrase() -> None:
    driven = started(phrase=SPOKEN, fallbacks=()).held().lost()
    assert driven.state.caller == BeingTold(Outcome.QUEUED)
    driven.feed(ENDED)
    assert isinstance(driven.state.caller, Queueing)


def test_a_menu_is_said_after_the_phrase() -> None:
    menu = Menu("sound:menu", {"1": Fallback.RETURN_TO_BOT})
    driven = started(phrase=SPOKEN, fallbacks=(Fallback.HOLDING_MENU,), menu=menu).held().lost()
    assert not driven.ever(Announce)
    driven.feed(ENDED)
    assert [said.media for said in driven.wants(Announce)] == ["sound:menu"]


@pytest.mark.parametrize(
    ("phrase", "hush"), [(SPOKEN, HushPhrase), (PLAYED, StopPlaying)], ids=["spoken", "played"]
)
def test_a_cancel_hushes_the_phrase_before_the_bot_has_the_caller_again(
    phrase: str, hush: type[Effect]
) -> None:
    driven = told(phrase).feed(CancelRequested(102.0))
    assert isinstance(driven.state.caller, Returning)
    kinds = [type(effect) for effect in driven.effects]
    assert kinds.index(hush) < kinds.index(ReturnToBot)


def test_a_handoff_that_takes_over_finds_the_caller_in_plain_music() -> None:
    driven = told(PLAYED).feed(Superseded(102.0))
    assert driven.state.outcome is Outcome.SUPERSEDED
    assert len(driven.wants(StopPlaying)) == 1


def test_a_caller_who_hangs_up_during_the_phrase_ends_it() -> None:
    driven = told().feed(CallerLeft(102.0))
    assert driven.state.caller == Left()
    assert len(driven.wants(HushPhrase)) == 1
    assert driven.state.outcome is Outcome.CALLER_HUNG_UP
