"""The table's rows of the ways out, the menu, the queue's end, and of audio that goes one way."""

from __future__ import annotations

from orchestrator.handoff.effects import (
    Announce,
    ContinueInDialplan,
    DialAgent,
    DropBot,
    Finish,
    HoldCaller,
    ReturnToBot,
    SetDeadline,
    StopPlaying,
)
from orchestrator.handoff.events import (
    AgentAnswered,
    AriFailed,
    BotLost,
    CallerHeld,
    CallerKey,
    CallerMerged,
    Deadline,
    DeadlinePassed,
    HoldReady,
    QueueEntered,
    WitnessEnded,
    WitnessReported,
)
from orchestrator.handoff.tracks import Bridged, Choosing, Joining, Merged
from orchestrator.model import (
    DialplanEntry,
    Endpoint,
    Fallback,
    Limits,
    Menu,
    Outcome,
    Phase,
    Witness,
)

from tests.builders.handoffs import ALICE, BOB, QUEUE, Driven, agent, both_heard, started

VOICEMAIL, CALLBACK = DialplanEntry("mail", "2000"), DialplanEntry("callback", "s")
BACKUP = Endpoint("PJSIP/centre")
MENU = Menu(
    "sound:menu",
    {
        "1": Fallback.NEXT_TARGET,
        "2": Fallback.VOICEMAIL,
        "3": Fallback.HOLDING_MENU,
        "4": Fallback.CALLBACK,
    },
    every=20.0,
    lasts=60.0,
)


def untaken(*ways: Fallback, **changes: object) -> Driven:
    """The only agent is busy."""
    return started(fallbacks=ways, **changes).held().lost()


def entries(driven: Driven) -> list[DialplanEntry | None]:
    return [effect.entry for effect in driven.wants(ContinueInDialplan)]


def test_voicemail_is_a_place_of_the_dialplan() -> None:
    driven = untaken(Fallback.VOICEMAIL, voicemail=VOICEMAIL)
    assert entries(driven) == [VOICEMAIL]
    driven.feed(QueueEntered(105.0, driven.state.moves))
    assert driven.wants(Finish) == [Finish(Outcome.VOICEMAIL)]
    assert driven.state.phase is Phase.QUEUED


def test_the_callback_is_one_too() -> None:
    driven = untaken(Fallback.CALLBACK, callback=CALLBACK)
    assert entries(driven) == [CALLBACK]
    driven.feed(QueueEntered(105.0, driven.state.moves))
    assert driven.wants(Finish) == [Finish(Outcome.CALLBACK)]


def test_a_place_that_fails_leads_to_the_queue() -> None:
    driven = untaken(Fallback.VOICEMAIL, voicemail=VOICEMAIL)
    failed = AriFailed(105.0, f"h1:move:{driven.state.moves}", Outcome.PBX_ERROR)
    assert entries(driven.feed(failed)) == [QUEUE]


def test_ways_without_a_place_are_skipped() -> None:
    driven = untaken(Fallback.VOICEMAIL, Fallback.BACKUP_CENTRE, Fallback.HOLDING_MENU)
    assert entries(driven) == [QUEUE]


def test_the_backup_centre_gets_the_caller_without_a_key() -> None:
    driven = untaken(Fallback.BACKUP_CENTRE, backup=BACKUP, accept_key="1")
    assert [effect.target for effect in driven.wants(DialAgent)] == [BACKUP]
    driven.feed(AgentAnswered(106.0, agent(2)))
    assert driven.state.agent == Joining(2, 106.0)
    driven.joined().feed(CallerMerged(107.0, driven.state.moves), both_heard(107.1))
    assert driven.ever(Finish) == [Finish(Outcome.BACKUP_CENTRE)]
    assert driven.state.phase is Phase.CONNECTED


def test_a_backup_centre_that_is_busy_is_followed_by_the_next_way() -> None:
    ways = (Fallback.BACKUP_CENTRE, Fallback.VOICEMAIL)
    driven = untaken(*ways, backup=BACKUP, voicemail=VOICEMAIL).lost()
    assert entries(driven) == [VOICEMAIL]


def test_nobody_is_returned_to_a_bot_that_is_lost() -> None:
    driven = started(fallbacks=(Fallback.RETURN_TO_BOT,)).held().feed(BotLost(103.0)).lost()
    assert driven.ever(ReturnToBot) == []
    assert entries(driven) == [QUEUE]


# --- the menu ---------------------------------------------------------------------------------


def in_menu(**changes: object) -> Driven:
    return untaken(Fallback.HOLDING_MENU, menu=MENU, voicemail=VOICEMAIL, **changes)


def test_the_menu_is_announced_to_the_caller_in_the_music() -> None:
    driven = in_menu()
    assert driven.state.agent == Choosing(1)
    assert [effect.media for effect in driven.wants(Announce)] == ["sound:menu"]
    assert SetDeadline(Deadline.MENU, 164.0) in driven.effects
    assert SetDeadline(Deadline.ANNOUNCE, 124.0) in driven.effects


def test_it_is_announced_again_and_never_twice_at_a_time() -> None:
    driven = in_menu().feed(DeadlinePassed(124.0, Deadline.ANNOUNCE))
    assert len(driven.wants(Announce)) == len(driven.wants(StopPlaying)) == 1
    assert len(in_menu().feed(CallerKey(110.0, "3")).wants(Announce)) == 1


def test_a_caller_who_is_not_held_yet_hears_it_when_they_are() -> None:
    driven = started(fallbacks=(Fallback.HOLDING_MENU,), menu=MENU).feed(HoldReady(100.0)).lost()
    assert driven.wants(Announce) == []
    assert len(driven.feed(CallerHeld(104.5, driven.state.moves)).wants(Announce)) == 1


def test_a_key_takes_its_way_and_ends_the_announcement() -> None:
    driven = in_menu().feed(CallerKey(110.0, "2"))
    assert entries(driven) == [VOICEMAIL]
    assert len(driven.wants(StopPlaying)) == 1


def test_trying_again_begins_with_the_first_target_and_has_its_own_time() -> None:
    driven = in_menu(targets=(ALICE, BOB)).feed(CallerKey(110.0, "1"))
    assert [effect.target for effect in driven.wants(DialAgent)] == [ALICE]
    assert SetDeadline(Deadline.GIVE_UP, 200.0) in driven.effects
    assert [effect.target for effect in driven.lost().wants(DialAgent)] == [BOB]
    assert entries(driven.lost()) == [QUEUE]  # the menu was had


def test_keys_that_lead_nowhere_are_not_heard() -> None:
    driven = in_menu()
    before = driven.state
    assert driven.feed(CallerKey(110.0, "9"), CallerKey(110.0, "4")).state == before


def test_a_menu_in_which_nobody_chooses_gives_way() -> None:
    driven = in_menu().feed(DeadlinePassed(164.0, Deadline.MENU))
    assert entries(driven) == [QUEUE]
    assert driven.state.outcome is Outcome.TIMED_OUT


# --- back from the queue ----------------------------------------------------------------------


def test_who_comes_back_from_a_queue_is_held_and_goes_the_next_way() -> None:
    driven = started(
        came_back=Outcome.QUEUE_CLOSED, fallbacks=(Fallback.BACKUP_CENTRE,), backup=BACKUP
    ).feed(HoldReady(100.1))
    assert len(driven.wants(HoldCaller)) == 1
    assert [effect.target for effect in driven.wants(DialAgent)] == [BACKUP]
    assert driven.state.outcome is Outcome.QUEUE_CLOSED


def test_where_no_way_is_left_the_dialplan_goes_on_and_the_queues_end_is_the_outcome() -> None:
    driven = started(came_back=Outcome.QUEUE_FULL, fallbacks=()).feed(HoldReady(100.1))
    assert entries(driven) == [None]
    driven.feed(QueueEntered(100.3, driven.state.moves))
    assert driven.wants(Finish) == [Finish(Outcome.QUEUE_FULL)]
    assert driven.state.phase is Phase.FAILED


# --- both are heard ---------------------------------------------------------------------------


def merged(**changes: object) -> Driven:
    driven = started(**changes).held().joined()
    return driven.feed(CallerMerged(105.0, driven.state.moves))


def test_connected_is_said_once_both_are_heard() -> None:
    driven = merged()
    assert isinstance(driven.state.caller, Merged)
    assert driven.wants(DropBot) == []
    assert SetDeadline(Deadline.LIVE, 106.0) in driven.effects
    assert driven.feed(both_heard(105.1)).wants(Finish) == [Finish(Outcome.CONNECTED)]


def test_what_was_heard_before_the_merge_proves_nothing() -> None:
    before = WitnessReported(105.1, 100.0, Witness(both_live_ms=1000))
    assert merged().feed(before).wants(Finish) == []


def test_an_agent_who_is_not_heard_in_time_is_dropped_for_the_next() -> None:
    driven = merged(targets=(ALICE, BOB))
    driven.feed(WitnessReported(105.5, 100.0, Witness(one_way=True)))
    driven.feed(DeadlinePassed(106.0, Deadline.LIVE))
    assert driven.state.outcome is Outcome.ONE_WAY_AUDIO
    assert len(driven.wants(HoldCaller)) == 1
    assert [effect.target for effect in driven.wants(DialAgent)] == [BOB]


def test_without_proof_or_fault_the_bridge_is_trusted() -> None:
    assert merged().feed(DeadlinePassed(106.0, Deadline.LIVE)).state.caller == Bridged()


def test_without_a_witness_the_bridge_is_trusted_at_once() -> None:
    assert merged().feed(WitnessEnded(105.1)).state.caller == Bridged()
    driven = started().feed(WitnessEnded(100.5)).held().joined()
    assert driven.feed(CallerMerged(105.0, driven.state.moves)).state.caller == Bridged()


def test_the_proof_can_be_switched_off() -> None:
    assert merged(limits=Limits(live=0.0)).state.caller == Bridged()
