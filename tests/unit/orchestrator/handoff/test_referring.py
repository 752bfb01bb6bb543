"""REFER's rows: the caller is in the music, then in the dialplan that asks, then gone or back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from orchestrator.handoff.codec import dump, load
from orchestrator.handoff.effects import (
    ContinueInDialplan,
    DialAgent,
    DropBot,
    Finish,
    HangUp,
    HoldCaller,
    Release,
    ReturnToBot,
    SetDeadline,
    TearDown,
)
from orchestrator.handoff.events import (
    AriFailed,
    BotLost,
    CallerHeld,
    CallerLeft,
    CancelRequested,
    Deadline,
    DeadlinePassed,
    HoldReady,
    PhraseEnded,
    QueueEntered,
    Referred,
)
from orchestrator.handoff.names import holding_bridge, merge_bridge
from orchestrator.handoff.referring import ENTRY, GRACE
from orchestrator.handoff.state import State
from orchestrator.handoff.tracks import Asking, Bridge, Held, Holding, Left, Queueing, Returning
from orchestrator.model import Fallback, Limits, Outcome, Pattern, Phase, SipUri

from tests.builders.handoffs import ALICE, PLACE, QUEUE, Driven, started

DESK, OTHER = SipUri("sip:desk@example.com"), SipUri("sip:other@example.com")
LIMITS = Limits(ring=20.0)


def refer(**changes: Any) -> Driven:
    usual: dict[str, Any] = {"pattern": Pattern.REFER, "targets": (DESK,), "limits": LIMITS}
    return started(**{**usual, **changes})


def asking(**changes: Any) -> Driven:
    return refer(**changes).feed(HoldReady(101.0), CallerHeld(101.1, 1), QueueEntered(101.2, 2))


def test_the_caller_hears_music_before_the_carrier_is_asked() -> None:
    driven = refer()
    assert not driven.ever(ContinueInDialplan)
    driven.feed(HoldReady(101.0))
    assert driven.wants(HoldCaller)
    assert not driven.ever(ContinueInDialplan)


def test_the_dialplan_is_told_whom_to_ask_for_and_for_how_long() -> None:
    driven = refer().feed(HoldReady(101.0), CallerHeld(101.1, 1))
    (effect,) = driven.wants(ContinueInDialplan)
    assert effect.entry == ENTRY
    assert effect.variables["VOICEFORK_REFER_TO"] == DESK.uri
    assert effect.variables["VOICEFORK_REFER_SECONDS"] == "20"
    assert driven.wants(SetDeadline) == [SetDeadline(Deadline.REFER, 101.1 + 20.0 + GRACE)]
    assert driven.state.target == DESK


def test_nobody_is_dialled_by_us() -> None:
    assert not asking().ever(DialAgent)


def test_the_phrase_is_said_first() -> None:
    driven = refer(say_first="bye").feed(HoldReady(101.0))
    assert not driven.ever(HoldCaller)
    driven.feed(PhraseEnded(102.0))
    assert driven.wants(HoldCaller)


def test_a_carrier_that_took_the_caller_connects_and_our_leg_ends() -> None:
    driven = asking().feed(Referred(105.0, "SUCCESS"))
    assert (driven.state.phase, driven.state.outcome) == (Phase.CONNECTED, Outcome.CONNECTED)
    assert driven.state.sip_status == 200
    assert isinstance(driven.state.caller, Left)
    assert [drop.reason for drop in driven.wants(DropBot)] == [Release.HUMAN_CONNECTED]
    assert PLACE.caller in [effect.channel for effect in driven.wants(HangUp)]


def test_bridges_of_earlier_tries_go_with_the_caller() -> None:
    driven = asking()
    driven.state = replace(driven.state, mix=Bridge.READY)
    driven.feed(Referred(105.0, "SUCCESS"))
    gone = [bridge for effect in driven.wants(TearDown) for bridge in effect.bridges]
    handoff = driven.state.request.handoff_id
    assert {holding_bridge(handoff), merge_bridge(handoff)} <= set(gone)


@pytest.mark.parametrize(
    ("status", "sip", "outcome"),
    [
        ("FAILURE", 403, Outcome.UNREACHABLE),
        ("FAILURE", 486, Outcome.BUSY),
        ("FAILURE", 503, Outcome.UNREACHABLE),
        ("FAILURE", 603, Outcome.DECLINED),
        ("TIMEOUT", 0, Outcome.TIMED_OUT),
        ("UNSUPPORTED", 0, Outcome.PBX_ERROR),
    ],
)
def test_a_carrier_that_did_not_gives_the_caller_back_to_the_music_and_says_why(
    status: str, sip: int, outcome: Outcome
) -> None:
    driven = asking(fallbacks=()).feed(Referred(105.0, status, sip))
    assert (driven.state.outcome, driven.state.sip_status) == (outcome, sip)
    assert driven.wants(HoldCaller)
    (queue,) = driven.wants(ContinueInDialplan)
    assert queue.entry == QUEUE


def test_the_next_target_is_asked_for_once_the_music_plays_again() -> None:
    driven = asking(targets=(DESK, OTHER)).feed(Referred(105.0, "FAILURE", 486))
    assert isinstance(driven.state.caller, Holding)
    driven.feed(CallerHeld(105.1, driven.state.moves))
    (effect,) = driven.wants(ContinueInDialplan)
    assert effect.variables["VOICEFORK_REFER_TO"] == OTHER.uri


def test_a_phone_of_ours_after_a_target_outside_is_dialled() -> None:
    driven = asking(targets=(DESK, ALICE)).feed(Referred(105.0, "FAILURE", 486))
    assert [effect.target for effect in driven.wants(DialAgent)] == [ALICE]


def test_the_bot_takes_the_caller_back() -> None:
    driven = asking(fallbacks=(Fallback.RETURN_TO_BOT,)).feed(Referred(105.0, "FAILURE", 403))
    assert isinstance(driven.state.caller, Returning)
    assert driven.wants(ReturnToBot)


def test_whom_the_dialplan_does_not_give_back_is_sent_to_the_queue() -> None:
    driven = asking().feed(DeadlinePassed(125.0, Deadline.REFER))
    assert [effect.entry for effect in driven.wants(ContinueInDialplan)] == [QUEUE]
    driven.feed(QueueEntered(125.1, driven.state.moves))
    assert (driven.state.phase, driven.state.outcome) == (Phase.QUEUED, Outcome.QUEUED)
    assert isinstance(driven.state.caller, Left)


def test_who_has_not_even_got_to_the_dialplan_stays_in_the_music_for_the_queue() -> None:
    driven = refer(fallbacks=()).feed(HoldReady(101.0), CallerHeld(101.1, 1))
    driven.feed(DeadlinePassed(125.0, Deadline.REFER))
    driven.feed(AriFailed(125.1, "h1:move:2", Outcome.PBX_ERROR))
    assert isinstance(driven.state.caller, Queueing)
    assert not driven.ever(TearDown)


def test_a_pbx_that_does_not_let_the_caller_go_takes_a_way_out() -> None:
    driven = refer(fallbacks=()).feed(HoldReady(101.0), CallerHeld(101.1, 1))
    driven.feed(AriFailed(101.5, "h1:move:2", Outcome.PBX_ERROR))
    assert driven.state.outcome is Outcome.PBX_ERROR
    assert [effect.entry for effect in driven.wants(ContinueInDialplan)] == [QUEUE]


def test_leaving_our_application_for_the_dialplan_is_no_hang_up() -> None:
    driven = asking().feed(CallerLeft(102.0, hung_up=False))
    assert isinstance(driven.state.caller, Asking)


def test_a_caller_who_hangs_up_while_the_carrier_is_asked_has_hung_up() -> None:
    driven = asking().feed(CallerLeft(102.0))
    assert [finish.outcome for finish in driven.wants(Finish)] == [Outcome.CALLER_HUNG_UP]


def test_a_carrier_that_is_being_asked_is_not_called_back() -> None:
    driven = asking().feed(CancelRequested(102.0), DeadlinePassed(103.0, Deadline.GIVE_UP))
    assert isinstance(driven.state.caller, Asking)


def test_who_gives_up_meanwhile_has_no_other_carrier_asked() -> None:
    driven = asking(targets=(DESK, OTHER)).feed(DeadlinePassed(103.0, Deadline.GIVE_UP))
    driven.feed(Referred(105.0, "FAILURE", 486))
    driven.feed(CallerHeld(105.1, driven.state.moves))
    assert driven.state.target == DESK
    assert [effect.entry for effect in driven.ever(ContinueInDialplan)] == [ENTRY, QUEUE]


def test_before_it_is_asked_a_cancel_brings_the_bot_back() -> None:
    driven = refer().feed(HoldReady(101.0), CancelRequested(101.05), CallerHeld(101.1, 1))
    assert isinstance(driven.state.caller, Returning)
    assert not driven.ever(ContinueInDialplan)


def test_a_bot_that_dies_meanwhile_changes_nothing_but_the_way_back() -> None:
    driven = asking(fallbacks=(Fallback.RETURN_TO_BOT,)).feed(BotLost(102.0))
    driven.feed(Referred(105.0, "FAILURE", 403))
    assert not driven.wants(ReturnToBot)
    assert driven.wants(ContinueInDialplan)


def test_the_state_outlives_the_process() -> None:
    state = asking().state
    assert isinstance(refer().feed(HoldReady(101.0), CallerHeld(101.1, 1)).state.caller, Asking)
    assert load(State, dump(state)) == state
    assert not isinstance(state.caller, Held)
