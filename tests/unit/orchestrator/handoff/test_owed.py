"""What a handoff owes: kept until its answer is heard, not until it was performed."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.handoff.codec import dump, load
from orchestrator.handoff.effects import (
    ClearDeadline,
    Effect,
    Finish,
    HangUp,
    HoldCaller,
    Notify,
    SetDeadline,
    StartWitness,
)
from orchestrator.handoff.events import CallerHeld, Deadline, DeadlinePassed
from orchestrator.handoff.owed import NOTHING, Debts, Owed
from orchestrator.model import BridgeId, ChannelId, Outcome

HOLD = HoldCaller("h1:move:1", 1, ChannelId("c"), BridgeId("b"), "default")
RING = SetDeadline(Deadline.RING, 30.0)


def debts(*effects: Effect) -> Debts:
    kept = Debts()
    kept.enter(effects)
    return kept


def test_an_effect_is_owed_until_its_answer_is_heard() -> None:
    kept = debts(HOLD)
    assert kept.owed().effects == (HOLD,)
    kept.heard(CallerHeld(1.0, 1), HOLD.id)
    assert kept.owed() == NOTHING


def test_a_hold_that_an_older_replica_owes_is_read() -> None:
    """It did not say what music."""
    written = dump(Owed((HOLD,)))
    older = written.replace(',"music":"default"', "")
    assert older != written
    assert load(Owed, older) == Owed((replace(HOLD, music=""),))


def test_news_that_answer_nothing_pay_for_nothing() -> None:
    kept = debts(HOLD)
    kept.heard(CallerHeld(1.0, 1), "")
    assert kept.owed().effects == (HOLD,)


def test_effects_are_owed_in_the_order_of_the_table() -> None:
    hang_up = HangUp("h1:hang-up:x", ChannelId("x"))
    assert debts(HOLD, hang_up, Notify("h1:notify:2")).owed().effects == (
        HOLD,
        hang_up,
        Notify("h1:notify:2"),
    )


def test_the_latest_setting_of_a_deadline_counts() -> None:
    later = SetDeadline(Deadline.RING, 40.0)
    assert debts(RING, later).owed().deadlines == (later,)
    assert debts(RING, ClearDeadline(Deadline.RING)).owed() == NOTHING


def test_a_deadline_that_has_passed_is_not_owed_but_what_it_sets_again_is() -> None:
    kept = debts(RING)
    kept.heard(DeadlinePassed(30.0, Deadline.RING), "")
    assert kept.owed() == NOTHING
    kept.enter((RING,))
    assert kept.owed().deadlines == (RING,)


def test_what_follows_from_the_state_itself_is_not_written() -> None:
    assert debts(StartWitness("h1:watch"), Finish(Outcome.CONNECTED)).owed() == NOTHING


def test_what_is_owed_survives_being_stored() -> None:
    owed = Owed((HOLD, Notify("h1:notify:2")), (RING,))
    assert load(Owed, dump(owed)) == owed
