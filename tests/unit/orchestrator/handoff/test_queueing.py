"""A queue that tells: its news bring the handoff to its end, whoever is faster."""

from __future__ import annotations

from typing import Any

import pytest
from orchestrator.handoff.codec import dump, load
from orchestrator.handoff.effects import (
    ContinueInDialplan,
    DialAgent,
    DropBot,
    Finish,
    HangUp,
    MakeHolding,
    SetDeadline,
    UnfreezeBot,
)
from orchestrator.handoff.endings import QUEUE_TRIES
from orchestrator.handoff.events import (
    AgentLost,
    AgentRinging,
    AriFailed,
    BotLost,
    CallerKey,
    CallerLeft,
    CancelRequested,
    Deadline,
    DeadlinePassed,
    QueueAnswered,
    QueueCalled,
    QueueEntered,
    QueueGaveUp,
    QueueMerged,
    Requested,
    WitnessReported,
)
from orchestrator.handoff.machine import begin
from orchestrator.handoff.state import State
from orchestrator.handoff.tracks import InQueue, Left, Queueing
from orchestrator.model import (
    Fallback,
    Menu,
    Outcome,
    Pattern,
    Phase,
    Queue,
    Witness,
)

from tests.builders.handoffs import QUEUE, Driven, request
from tests.builders.queueing import CALLBACK, VOICEMAIL, asked, ends, queueing


@pytest.mark.parametrize("pattern", list(Pattern))
def test_whatever_is_asked_for_the_queue_takes_the_caller_at_once(pattern: Pattern) -> None:
    driven = asked(pattern=pattern)
    (effect,) = driven.ever(ContinueInDialplan)
    assert effect.entry == QUEUE
    assert not driven.ever(MakeHolding)


def test_the_handoff_goes_on_while_the_queue_has_the_caller() -> None:
    driven = queueing()
    assert driven.state.caller == InQueue()
    assert driven.state.phase is Phase.DIALLING
    assert not driven.ever(Finish)
    assert len(driven.ever(DropBot)) == 1


def test_an_agent_who_has_the_caller_connects() -> None:
    driven = queueing().feed(
        QueueCalled(101.0, "support"),
        QueueAnswered(
            103.5,
        ),
        QueueMerged(103.6),
    )
    assert ends(driven) == (Phase.CONNECTED, Outcome.CONNECTED)
    assert (driven.state.timing.ring_ms, driven.state.timing.merge_ms) == (2500, 100)
    assert driven.state.target == Queue("support")
    assert isinstance(driven.state.caller, Left)


def test_each_step_is_told() -> None:
    driven = queueing().feed(QueueCalled(101.0, "support"))
    assert driven.state.phase is Phase.RINGING
    assert driven.feed(QueueAnswered(103.5)).state.phase is Phase.ACCEPTED


def test_the_next_member_rings_anew() -> None:
    driven = queueing().feed(QueueCalled(101.0, "support"), QueueCalled(110.0, "support"))
    driven.feed(QueueAnswered(112.0), QueueMerged(112.0))
    assert driven.state.timing.ring_ms == 2000


def test_a_dialplan_without_a_queue_connects_by_its_bridge_alone() -> None:
    driven = queueing().feed(QueueMerged(103.0))
    assert ends(driven) == (Phase.CONNECTED, Outcome.CONNECTED)
    assert driven.state.timing.merge_ms is None


def test_news_may_overtake_the_answer_to_our_own_redirect() -> None:
    driven = asked().feed(QueueCalled(100.1, "support"))
    assert isinstance(driven.state.caller, InQueue)
    driven.feed(QueueEntered(100.2, 1), QueueAnswered(101.1), QueueMerged(101.2))
    assert ends(driven) == (Phase.CONNECTED, Outcome.CONNECTED)
    assert driven.state.timing.ring_ms == 1000


def test_a_caller_who_hangs_up_in_the_queue_is_told_as_one() -> None:
    driven = queueing().feed(QueueCalled(101.0, "support"), CallerLeft(104.0))
    assert ends(driven) == (Phase.FAILED, Outcome.CALLER_HUNG_UP)


def test_leaving_the_bot_is_no_hang_up() -> None:
    assert queueing().feed(CallerLeft(101.0, hung_up=False)).state.caller == InQueue()


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("TIMEOUT", Outcome.NO_ANSWER),
        ("FULL", Outcome.QUEUE_FULL),
        ("JOINEMPTY", Outcome.QUEUE_CLOSED),
        ("UNKNOWN", Outcome.UNREACHABLE),
    ],
)
def test_a_queue_that_gives_up_leads_to_the_next_way_out(status: str, outcome: Outcome) -> None:
    driven = queueing(fallbacks=(Fallback.VOICEMAIL,), voicemail=VOICEMAIL)
    driven.feed(QueueGaveUp(160.0, status))
    assert (driven.state.phase, driven.state.outcome) == (Phase.FALLBACK, outcome)
    assert driven.wants(ContinueInDialplan)[0].entry == VOICEMAIL
    driven.feed(QueueEntered(160.1, driven.state.moves))
    assert ends(driven) == (Phase.QUEUED, Outcome.VOICEMAIL)
    assert len(driven.ever(DropBot)) == 1


@pytest.mark.parametrize(
    ("way", "changes"),
    [(Fallback.RETURN_TO_BOT, {}), (Fallback.NEXT_TARGET, {"accept_key": "1"})],
)
def test_a_way_that_needs_a_bridge_is_none(way: Fallback, changes: dict[str, Any]) -> None:
    """A way back to the bot, whose leg has ended; an agent who is asked for a key."""
    driven = queueing(fallbacks=(way, Fallback.CALLBACK), callback=CALLBACK, **changes)
    driven.feed(QueueGaveUp(160.0, "FULL"))
    assert not driven.ever(DialAgent)
    assert driven.wants(ContinueInDialplan)[0].entry == CALLBACK


def test_without_a_way_out_the_dialplan_is_let_go_on_and_the_queue_is_not_tried_again() -> None:
    driven = queueing().feed(QueueGaveUp(160.0, "TIMEOUT"))
    assert driven.wants(ContinueInDialplan)[0].entry is None
    driven.feed(QueueEntered(160.1, driven.state.moves))
    assert ends(driven) == (Phase.FAILED, Outcome.NO_ANSWER)


def test_a_voicemail_that_fails_leads_there_too() -> None:
    driven = queueing(fallbacks=(Fallback.VOICEMAIL,), voicemail=VOICEMAIL)
    driven.feed(QueueGaveUp(160.0, "FULL"))
    moving = driven.state.caller
    assert isinstance(moving, Queueing)
    driven.feed(AriFailed(160.1, f"h1:move:{moving.move}", Outcome.PBX_ERROR))
    assert driven.wants(ContinueInDialplan)[0].entry is None


def refused_for_good(driven: Driven, at: float) -> Driven:
    for number in range(QUEUE_TRIES):
        driven.feed(DeadlinePassed(at + 10 * number, Deadline.RETRY))
        effect = driven.ever(ContinueInDialplan)[-1]
        driven.feed(AriFailed(at + 10 * number + 1, effect.id, Outcome.PBX_UNREACHABLE))
    return driven


def test_who_cannot_be_redirected_stays_with_the_bot_and_is_not_hung_up() -> None:
    driven = refused_for_good(asked(freeze_bot=True), 101.0)
    assert ends(driven) == (Phase.RETURNED, Outcome.PBX_UNREACHABLE)
    assert driven.ever(UnfreezeBot)
    assert not driven.ever(HangUp)
    assert not driven.ever(DropBot)


def test_whom_a_queue_gave_up_is_left_to_the_dialplan_when_nothing_else_works() -> None:
    driven = refused_for_good(queueing().feed(QueueGaveUp(160.0, "TIMEOUT")), 161.0)
    assert ends(driven) == (Phase.FAILED, Outcome.NO_ANSWER)
    assert not driven.ever(HangUp)


def test_who_wants_the_queue_again_and_cannot_be_redirected_has_no_bot_to_return_to() -> None:
    menu = Menu("sound:menu", {"1": Fallback.NEXT_TARGET})
    driven = queueing(fallbacks=(Fallback.HOLDING_MENU,), menu=menu)
    driven.feed(QueueGaveUp(160.0, "TIMEOUT"), CallerKey(161.0, "1"))
    refused_for_good(driven, 162.0)
    assert ends(driven) == (Phase.FAILED, Outcome.PBX_UNREACHABLE)
    assert not driven.ever(HangUp)
    assert not driven.ever(UnfreezeBot)


def test_who_never_left_a_bot_whose_fork_was_lost_is_given_back() -> None:
    driven = refused_for_good(asked(freeze_bot=True).feed(BotLost(100.5)), 101.0)
    assert ends(driven) == (Phase.RETURNED, Outcome.PBX_UNREACHABLE)


@pytest.mark.parametrize("rang", [False, True])
def test_an_agent_whom_the_dialplan_called_has_taken_the_caller_from_the_bot(
    rang: bool,
) -> None:
    """The rules' queue is missing, so that the targets come first; then the node is gone."""
    driven = asked(freeze_bot=True, fallbacks=(Fallback.NEXT_TARGET,), usual_queue=QUEUE)
    driven.feed(AriFailed(100.1, driven.ever(ContinueInDialplan)[0].id, Outcome.UNREACHABLE))
    (dial,) = driven.ever(DialAgent)
    if rang:
        driven.feed(AgentRinging(100.2, dial.channel), AgentLost(100.3, dial.channel))
    else:
        driven.feed(AriFailed(100.3, dial.id, Outcome.PBX_UNREACHABLE))
    refused_for_good(driven, 101.0)
    assert driven.state.phase is (Phase.FAILED if rang else Phase.RETURNED)
    assert bool(driven.ever(UnfreezeBot)) is not rang


def test_a_queue_that_gives_up_twice_is_heard_once() -> None:
    driven = queueing().feed(QueueGaveUp(160.0, "TIMEOUT"))
    before = driven.state
    assert driven.feed(QueueGaveUp(160.1, "TIMEOUT"), QueueMerged(160.2)).state == before


def test_a_cancel_comes_too_late_for_who_is_in_the_queue() -> None:
    driven = queueing()
    before = driven.state
    assert driven.feed(CancelRequested(101.0)).state == before


def test_nothing_of_the_bots_and_no_deadline_matters_any_more() -> None:
    driven = queueing()
    driven.feed(BotLost(101.0), DeadlinePassed(190.0, Deadline.GIVE_UP))
    assert driven.state.caller == InQueue()
    assert not [due for due in driven.ever(SetDeadline) if due.which is Deadline.GIVE_UP]


def test_a_node_with_stasis_tells_nothing_and_the_queue_is_the_end() -> None:
    driven = Driven(begin(request(pattern=Pattern.DIALPLAN), 100.0)).feed(Requested(100.0))
    driven.feed(QueueCalled(100.1, "support"), QueueEntered(100.2, 1))
    assert ends(driven) == (Phase.QUEUED, Outcome.QUEUED)


def test_the_voice_of_the_queues_agent_is_not_taken_for_the_first_hold_audio() -> None:
    driven = queueing().feed(QueueMerged(100.2))
    driven.feed(WitnessReported(100.3, 100.0, Witness(first_hold_audio_ms=250)))
    assert driven.state.timing.request_to_hold_ms is None


def test_the_state_is_stored_and_read_again() -> None:
    state = queueing().feed(QueueCalled(101.0, "support")).state
    assert load(State, dump(state)) == state
