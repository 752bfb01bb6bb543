"""An AI asks for an extension that the dialplan lacks: nobody is sent there, nobody is dropped."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from orchestrator.errors import NoSuchPlace
from orchestrator.handoff.codec import dump, load
from orchestrator.handoff.effects import (
    ContinueInDialplan,
    DialAgent,
    HoldCaller,
    MakeHolding,
    UnfreezeBot,
)
from orchestrator.handoff.events import AriFailed, CallerHeld, HoldReady, PhraseEnded, QueueEntered
from orchestrator.handoff.rescue import rescue
from orchestrator.handoff.state import State
from orchestrator.model import CallId, DialplanEntry, Fallback, Outcome, Pattern, Phase

from tests.builders.handoffs import BOB, QUEUE, Driven, started
from tests.fakes.telephony import FakePbx

NOWHERE, MAIL = DialplanEntry("queues", "nowhere"), DialplanEntry("mail", "2000")


def asked(**changes: Any) -> Driven:
    usual: dict[str, Any] = {
        "pattern": Pattern.DIALPLAN,
        "targets": (),
        "queue": NOWHERE,
        "usual_queue": QUEUE,
        "fallbacks": (),
    }
    return started(**{**usual, **changes})


def refused(driven: Driven) -> Driven:
    effect = driven.ever(ContinueInDialplan)[-1]
    return driven.feed(AriFailed(100.1, effect.id, Outcome.UNREACHABLE))


def test_the_next_way_out_is_taken_at_once() -> None:
    driven = refused(asked(fallbacks=(Fallback.VOICEMAIL,), voicemail=MAIL))
    assert (driven.state.phase, driven.state.outcome) == (Phase.FALLBACK, Outcome.UNREACHABLE)
    assert driven.wants(ContinueInDialplan)[0].entry == MAIL
    driven.feed(QueueEntered(100.2, driven.state.moves))
    assert driven.state.outcome is Outcome.VOICEMAIL


def test_without_a_way_out_the_usual_queue_takes_the_caller() -> None:
    driven = refused(asked())
    assert driven.wants(ContinueInDialplan)[0].entry == QUEUE
    driven.feed(QueueEntered(100.2, driven.state.moves))
    assert (driven.state.phase, driven.state.outcome) == (Phase.QUEUED, Outcome.QUEUED)


def test_the_caller_may_go_back_to_the_bot_whom_they_never_left() -> None:
    driven = refused(asked(fallbacks=(Fallback.RETURN_TO_BOT,)))
    assert driven.state.outcome is Outcome.RETURNED_TO_BOT
    assert driven.wants(UnfreezeBot)


def test_the_backup_centre_is_dialled_while_the_caller_hears_music() -> None:
    driven = refused(asked(fallbacks=(Fallback.BACKUP_CENTRE,), backup=BOB))
    assert driven.wants(MakeHolding)
    assert [dial.target for dial in driven.wants(DialAgent)] == [BOB]
    driven.feed(HoldReady(100.2))
    assert driven.wants(HoldCaller)
    driven.feed(CallerHeld(100.3, driven.state.moves))
    assert driven.state.phase is Phase.CALLER_HELD


def test_after_a_phrase_of_the_rules_the_caller_stays_in_the_music() -> None:
    driven = asked(phrase="sound:one-moment", fallbacks=(Fallback.BACKUP_CENTRE,), backup=BOB)
    driven.feed(HoldReady(100.1), CallerHeld(100.2, 1), PhraseEnded(102.0))
    refused(driven)
    assert len(driven.ever(MakeHolding)) == 1
    assert [dial.target for dial in driven.wants(DialAgent)] == [BOB]


def test_a_usual_queue_that_is_missing_too_is_tried_again_as_ever() -> None:
    driven = refused(refused(asked()))
    assert driven.state.outcome is Outcome.UNREACHABLE
    assert len(driven.ever(ContinueInDialplan)) == 2


def test_it_is_stored_and_read_again() -> None:
    state = refused(asked()).state
    assert load(State, dump(state)) == state


async def test_a_crash_on_the_way_there_brings_the_caller_to_the_usual_queue() -> None:
    pbx, state = FakePbx(), asked().state
    place = pbx.place(CallId("call-1"))
    state = replace(state, request=replace(state.request, place=place))
    pbx.fail("continue", NoSuchPlace("POST", "queues/nowhere", 0, "the dialplan lacks it"))
    await rescue(state, pbx)
    assert pbx.in_dialplan == {place.caller: QUEUE}
