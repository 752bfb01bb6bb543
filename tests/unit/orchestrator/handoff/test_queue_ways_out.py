"""Callers whom a queue gave up and only the dialplan has: somebody is called, or they are asked."""

from __future__ import annotations

from typing import Any

import pytest
from orchestrator.handoff.causes import cause_of_dial
from orchestrator.handoff.effects import (
    Announce,
    ContinueInDialplan,
    DialAgent,
    DropBot,
    HoldCaller,
)
from orchestrator.handoff.events import (
    AgentAnswered,
    AgentJoined,
    AgentLost,
    AgentRinging,
    AriFailed,
    CallerKey,
    CallerMerged,
    ContextPublished,
    Deadline,
    DeadlinePassed,
    MixReady,
    QueueAnswered,
    QueueCalled,
    QueueEntered,
    QueueGaveUp,
    QueueMerged,
    WitnessReported,
)
from orchestrator.model import (
    Fallback,
    Menu,
    Outcome,
    Pattern,
    Phase,
    SipUri,
    Witness,
)

from tests.builders.handoffs import BOB, QUEUE, Driven, agent, both_heard
from tests.builders.queueing import CALLBACK, VOICEMAIL, asked, ends, queueing

# --- the next target ------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", [Pattern.ATTENDED, Pattern.WARM_WHISPER, Pattern.REFER])
def test_the_targets_are_called_one_by_one_for_whom_the_queue_gave_up(pattern: Pattern) -> None:
    """Whatever the pattern: there is nobody to brief who is in the caller's bridge already."""
    ways = (Fallback.NEXT_TARGET, Fallback.VOICEMAIL)
    outside = SipUri("sip:desk@example.org")
    driven = queueing(fallbacks=ways, voicemail=VOICEMAIL, targets=(outside, BOB), pattern=pattern)
    driven.feed(ContextPublished(100.2, 1), QueueGaveUp(160.0, "TIMEOUT"), MixReady(160.1))
    driven.feed(AgentLost(170.0, agent(1), q850_cause=17))
    assert [effect.target for effect in driven.ever(DialAgent)] == [outside, BOB]
    merged(driven).feed(both_heard(173.5))
    assert ends(driven) == (Phase.CONNECTED, Outcome.CONNECTED)
    assert driven.state.target == BOB


def test_after_the_last_target_comes_the_next_way() -> None:
    ways = (Fallback.NEXT_TARGET, Fallback.VOICEMAIL)
    driven = queueing(fallbacks=ways, voicemail=VOICEMAIL, targets=(BOB,))
    driven.feed(QueueGaveUp(160.0, "TIMEOUT"), AgentLost(170.0, agent(1), q850_cause=17))
    assert driven.wants(ContinueInDialplan)[0].entry == VOICEMAIL


# --- the backup centre ----------------------------------------------------------------------


def at_the_centre(**changes: Any) -> Driven:
    """The queue has given up, and the centre is called."""
    ways = (Fallback.BACKUP_CENTRE, Fallback.VOICEMAIL)
    driven = queueing(fallbacks=ways, backup=BOB, voicemail=VOICEMAIL, **changes)
    return driven.feed(ContextPublished(100.2, 1), QueueGaveUp(160.0, "TIMEOUT"), MixReady(160.1))


def merged(driven: Driven) -> Driven:
    """The dialplan has connected them."""
    channel = agent(driven.state.attempts)
    driven.feed(AgentRinging(161.0, channel), AgentAnswered(163.0, channel))
    driven.feed(AgentJoined(163.1, channel))
    return driven.feed(CallerMerged(163.2, driven.state.moves))


def test_the_backup_centre_is_called_for_whom_the_queue_gave_up() -> None:
    driven = at_the_centre()
    (effect,) = driven.ever(DialAgent)
    assert effect.target == BOB
    assert (driven.state.phase, driven.state.outcome) == (Phase.DIALLING, Outcome.NO_ANSWER)
    merged(driven).feed(both_heard(163.5))
    assert ends(driven) == (Phase.CONNECTED, Outcome.BACKUP_CENTRE)
    assert driven.state.timing.ring_ms == 3000
    assert not driven.ever(HoldCaller)


def test_the_caller_of_a_centre_that_is_not_heard_is_held_and_goes_another_way() -> None:
    driven = merged(at_the_centre())
    not_heard = WitnessReported(163.5, 100.0, Witness(one_way=True))
    driven.feed(not_heard, DeadlinePassed(164.5, Deadline.LIVE))
    held, left = driven.wants(HoldCaller)[0], driven.wants(ContinueInDialplan)[0]
    assert driven.effects.index(held) < driven.effects.index(left)
    assert left.entry == VOICEMAIL
    assert driven.state.outcome is Outcome.ONE_WAY_AUDIO


@pytest.mark.parametrize(
    ("status", "cause", "outcome"),
    [
        ("BUSY", 17, Outcome.BUSY),
        ("BUSY", None, Outcome.BUSY),
        ("CHANUNAVAIL", 21, Outcome.DECLINED),
        ("CHANUNAVAIL", 0, Outcome.UNREACHABLE),
        ("CONGESTION", 34, Outcome.UNREACHABLE),
        ("NOANSWER", 16, Outcome.NO_ANSWER),
        ("", None, Outcome.NO_ANSWER),
    ],
)
def test_a_centre_that_does_not_take_the_call_says_why(
    status: str, cause: int | None, outcome: Outcome
) -> None:
    driven = at_the_centre().feed(AgentRinging(161.0, agent()))
    driven.feed(AgentLost(162.0, agent(), 0, cause_of_dial(status, cause)))
    assert (driven.state.phase, driven.state.outcome) == (Phase.FALLBACK, outcome)
    assert driven.wants(ContinueInDialplan)[0].entry == VOICEMAIL


def test_a_centre_that_cannot_be_called_is_followed_by_the_next_way() -> None:
    driven = at_the_centre()
    driven.feed(AriFailed(160.2, driven.ever(DialAgent)[0].id, Outcome.PBX_ERROR))
    assert driven.wants(ContinueInDialplan)[0].entry == VOICEMAIL


def test_an_orchestrator_that_drains_leaves_who_is_being_called_to_the_dialplan() -> None:
    driven = at_the_centre()
    before = driven.state
    assert driven.feed(DeadlinePassed(161.0, Deadline.GIVE_UP)).state == before


def test_a_queue_that_is_not_there_leads_to_the_centre_too() -> None:
    driven = asked(fallbacks=(Fallback.BACKUP_CENTRE,), backup=BOB, usual_queue=QUEUE)
    (move,) = driven.ever(ContinueInDialplan)
    driven.feed(AriFailed(100.1, move.id, Outcome.UNREACHABLE), MixReady(100.2))
    driven.feed(ContextPublished(100.2, 1))
    merged(driven).feed(both_heard(163.5))
    assert ends(driven) == (Phase.CONNECTED, Outcome.BACKUP_CENTRE)
    assert len(driven.ever(DropBot)) == 1


# --- the menu -------------------------------------------------------------------------------


def choosing(**changes: Any) -> Driven:
    """The queue has given up, and the caller is asked."""
    keys = {"1": Fallback.NEXT_TARGET, "2": Fallback.VOICEMAIL, "3": Fallback.RETURN_TO_BOT}
    asked = {"menu": Menu("sound:menu", keys), "voicemail": VOICEMAIL, **changes}
    driven = queueing(
        fallbacks=(Fallback.HOLDING_MENU, Fallback.CALLBACK), callback=CALLBACK, **asked
    )
    return driven.feed(QueueGaveUp(160.0, "TIMEOUT"))


def test_whom_a_queue_gave_up_is_asked() -> None:
    driven = choosing()
    assert [each.media for each in driven.ever(Announce)] == ["sound:menu"]
    driven.feed(DeadlinePassed(180.0, Deadline.ANNOUNCE))
    assert len(driven.ever(Announce)) == 2


def test_a_key_leads_where_the_menu_says() -> None:
    driven = choosing().feed(CallerKey(161.0, "2"))
    assert driven.wants(ContinueInDialplan)[0].entry == VOICEMAIL


def test_a_key_that_leads_nowhere_there_is_not_heard() -> None:
    before = choosing()
    assert before.feed(CallerKey(161.0, "3")).effects == ()


def test_who_wants_to_try_again_waits_in_the_queue_again() -> None:
    driven = choosing().feed(CallerKey(161.0, "1"))
    assert driven.wants(ContinueInDialplan)[0].entry == QUEUE
    driven.feed(QueueEntered(161.1, driven.state.moves), QueueCalled(162.0, "support"))
    driven.feed(QueueAnswered(163.0), QueueMerged(163.0))
    assert ends(driven) == (Phase.CONNECTED, Outcome.CONNECTED)


def test_who_is_given_up_again_is_not_asked_again() -> None:
    driven = choosing().feed(CallerKey(161.0, "1"))
    driven.feed(QueueEntered(161.1, driven.state.moves), QueueGaveUp(200.0, "TIMEOUT"))
    assert driven.wants(ContinueInDialplan)[0].entry == CALLBACK


@pytest.mark.parametrize("menu", [Deadline.MENU, None])
def test_a_menu_in_which_nobody_chooses_or_that_is_not_said_gives_way(
    menu: Deadline | None,
) -> None:
    driven = choosing()
    effect = driven.ever(Announce)[0].id
    failed = AriFailed(160.1, effect, Outcome.PBX_ERROR)
    driven.feed(DeadlinePassed(280.0, menu) if menu else failed)
    assert driven.wants(ContinueInDialplan)[0].entry == CALLBACK
