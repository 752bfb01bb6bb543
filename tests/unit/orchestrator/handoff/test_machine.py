"""The handoff's table, row by row: what the caller, the agent and the AI get."""

from __future__ import annotations

from dataclasses import replace

import pytest
from orchestrator.handoff import names
from orchestrator.handoff.effects import (
    AddAgent,
    ContinueInDialplan,
    DialAgent,
    DropBot,
    Effect,
    Finish,
    FreezeBot,
    HangUp,
    HoldCaller,
    MakeHolding,
    MakeMix,
    MoveCaller,
    Notify,
    PlayPrompt,
    PublishContext,
    Release,
    ReturnToBot,
    SetDeadline,
    StartMusic,
    StartWitness,
    StopWitness,
    TearDown,
    UnfreezeBot,
)
from orchestrator.handoff.events import (
    AgentAccepted,
    AgentAnswered,
    AgentJoined,
    AgentKey,
    AgentLost,
    AgentRinging,
    AriFailed,
    CallerHeld,
    CallerLeft,
    CallerMerged,
    CallerReturned,
    CancelRequested,
    ContextAcked,
    ContextFailed,
    ContextPatched,
    ContextPublished,
    Deadline,
    DeadlinePassed,
    HoldReady,
    MixReady,
    PhraseEnded,
    QueueEntered,
    Requested,
    Superseded,
    WitnessEnded,
    WitnessReported,
)
from orchestrator.handoff.state import view
from orchestrator.handoff.tracks import (
    AwaitingKey,
    Bridged,
    Held,
    Holding,
    Queueing,
    Returning,
    Unavailable,
    Waiting,
)
from orchestrator.model import (
    BridgeId,
    ChannelId,
    Fallback,
    Limits,
    Outcome,
    Pattern,
    Phase,
    Witness,
)

from tests.builders.handoffs import ALICE, BOB, HANDOFF, HOLD, MIX, PLACE, QUEUE, agent, started


def kinds(effects: tuple[Effect, ...]) -> list[type]:
    return [type(effect) for effect in effects if not isinstance(effect, Notify)]


# --- attended -------------------------------------------------------------------------------


def test_a_request_starts_witness_context_and_music_at_once() -> None:
    handoff = started()
    assert kinds(handoff.effects) == [StartWitness, PublishContext, SetDeadline, MakeHolding]


def test_freezing_keeps_only_the_phrase() -> None:
    (freeze,) = started(freeze_bot=True, say_first="u7").wants(FreezeBot)
    assert freeze.phrase == "u7"


def test_the_caller_is_held_before_the_agent_is_dialled() -> None:
    handoff = started().feed(HoldReady(100.01))
    assert kinds(handoff.effects) == [HoldCaller, DialAgent, SetDeadline, MakeMix]


def test_the_agent_is_dialled_while_the_phrase_still_plays() -> None:
    handoff = started(say_first="u7").feed(HoldReady(100.01))
    (dialled,) = handoff.wants(DialAgent)
    assert (dialled.channel, dialled.target) == ("vf-h1-agent-1", ALICE)
    assert not handoff.ever(HoldCaller)


def test_the_end_of_the_phrase_moves_the_caller_into_the_music() -> None:
    handoff = started(say_first="u7").feed(HoldReady(100.01), PhraseEnded(102.0))
    (held,) = handoff.wants(HoldCaller)
    assert (held.caller, held.bridge) == (PLACE.caller, HOLD)


def test_a_phrase_that_never_ends_is_waited_for_ten_seconds() -> None:
    handoff = started(say_first="u7")
    assert SetDeadline(Deadline.PHRASE, 110.0) in handoff.effects
    handoff.feed(HoldReady(100.01), DeadlinePassed(110.0, Deadline.PHRASE))
    assert handoff.wants(HoldCaller)


def test_a_phrase_that_ends_before_the_music_stands_waits_for_it() -> None:
    handoff = started(say_first="u7").feed(PhraseEnded(100.005))
    assert not handoff.wants(HoldCaller)
    assert handoff.feed(HoldReady(100.01)).wants(HoldCaller)


def test_an_agent_who_answers_before_the_phrase_ends_waits_in_the_mix() -> None:
    handoff = started(say_first="u7").feed(ContextPublished(100.0, 1), HoldReady(100.01))
    handoff.feed(MixReady(100.02)).joined(101.0)
    assert isinstance(handoff.state.agent, Waiting)
    assert not handoff.ever(MoveCaller)
    handoff.feed(PhraseEnded(102.0), CallerHeld(102.01, 1))
    (move,) = handoff.wants(MoveCaller)
    assert move.bridge == MIX


def test_the_agent_enters_the_mix_before_the_caller() -> None:
    handoff = started().held().feed(AgentAnswered(104.0, agent()))
    assert AddAgent("h1:add:1", agent(), MIX) in handoff.effects
    assert not handoff.wants(MoveCaller)
    assert handoff.feed(AgentJoined(104.01, agent())).wants(MoveCaller)


def test_an_agent_who_answers_before_the_mix_stands_is_added_when_it_does() -> None:
    handoff = started().feed(HoldReady(100.01), AgentAnswered(100.02, agent()))
    assert not handoff.ever(AddAgent)
    assert handoff.feed(MixReady(100.03)).wants(AddAgent)


def test_the_merge_waits_for_the_context() -> None:
    handoff = started().feed(HoldReady(100.0), CallerHeld(100.0, 1), MixReady(100.0)).joined()
    assert SetDeadline(Deadline.CONTEXT, 104.3) in handoff.history
    assert not handoff.ever(MoveCaller)
    assert handoff.feed(ContextPublished(104.1, 1)).wants(MoveCaller)


@pytest.mark.parametrize("news", [DeadlinePassed(104.3, Deadline.CONTEXT), ContextFailed(104.1, 1)])
def test_the_merge_does_not_wait_for_a_lost_context(
    news: DeadlinePassed | ContextFailed,
) -> None:
    handoff = started().feed(HoldReady(100.0), CallerHeld(100.0, 1), MixReady(100.0)).joined()
    assert handoff.feed(news).wants(MoveCaller)
    assert isinstance(handoff.state.context, Unavailable)


def test_the_merge_connects_and_removes_bot_and_music() -> None:
    handoff = started().connected()
    assert handoff.wants(Finish) == [Finish(Outcome.CONNECTED)]
    assert handoff.wants(DropBot)[0].reason is Release.HUMAN_CONNECTED
    assert [effect.channel for effect in handoff.wants(HangUp)] == [PLACE.bot]
    torn = {bridge for effect in handoff.wants(TearDown) for bridge in effect.bridges}
    assert torn == {HOLD, PLACE.bridge}
    assert (handoff.state.phase, handoff.state.caller) == (Phase.CONNECTED, Bridged())


def test_the_bot_hears_how_it_ended_before_it_leaves() -> None:
    told = [type(e) for e in started().connected().effects if isinstance(e, Notify | DropBot)]
    assert told == [Notify, DropBot]


def test_the_timing_is_that_of_the_events() -> None:
    handoff = started().feed(ContextPublished(100.1, 1), HoldReady(100.2), MixReady(100.3))
    handoff.feed(CallerHeld(100.3, 1), AgentAnswered(103.2, agent()))
    handoff.feed(AgentJoined(103.21, agent()), CallerMerged(103.25, 2))
    timing = handoff.state.timing
    assert (timing.ring_ms, timing.merge_ms, timing.context_lead_ms) == (3000, 50, 3150)


# --- accepting ------------------------------------------------------------------------------


def test_an_agent_who_must_accept_hears_the_prompt() -> None:
    handoff = started(accept_key="1", prompt="sound:accept").held()
    handoff.feed(AgentRinging(102.0, agent()), AgentAnswered(104.0, agent()))
    assert handoff.wants(PlayPrompt)[0].media == "sound:accept"
    assert handoff.state.agent == AwaitingKey(1)


def test_only_the_right_key_accepts() -> None:
    handoff = started(accept_key="1").held().feed(AgentAnswered(104.0, agent()))
    assert not handoff.feed(AgentKey(105.0, agent(), "2")).wants(AddAgent)
    assert handoff.feed(AgentKey(106.0, agent(), "1")).wants(AddAgent)


def test_a_click_accepts_as_a_key_does() -> None:
    handoff = started(accept_key="1").held().feed(AgentAnswered(104.0, agent()))
    assert handoff.feed(AgentAccepted(105.0)).wants(AddAgent)


def test_an_agent_who_never_accepts_is_hung_up_and_the_queue_takes_the_caller() -> None:
    handoff = started(accept_key="1").held().feed(AgentAnswered(104.0, agent()))
    handoff.feed(DeadlinePassed(119.0, Deadline.ACCEPT))
    assert [effect.channel for effect in handoff.wants(HangUp)] == [agent()]
    assert handoff.wants(ContinueInDialplan)
    assert handoff.state.outcome is Outcome.NO_ANSWER


# --- ways out -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sip_status", "q850_cause", "outcome"),
    [
        (486, 17, Outcome.BUSY),
        (603, 21, Outcome.DECLINED),
        (0, 21, Outcome.DECLINED),
        (480, 19, Outcome.NO_ANSWER),
        (404, 1, Outcome.UNREACHABLE),
        (0, 20, Outcome.UNREACHABLE),
        (0, 0, Outcome.UNREACHABLE),  # it was not even dialled
    ],
)
def test_a_lost_agent_has_a_typed_outcome(
    sip_status: int, q850_cause: int, outcome: Outcome
) -> None:
    handoff = started().held().lost(sip_status, q850_cause)
    assert (handoff.state.phase, handoff.state.outcome) == (Phase.FALLBACK, outcome)
    assert (handoff.state.sip_status, handoff.state.q850_cause) == (sip_status, q850_cause)


def test_a_phone_that_rang_and_was_lost_without_a_cause_did_not_answer() -> None:
    handoff = started().held().feed(AgentRinging(102.0, agent())).lost(0, 0)
    assert handoff.state.outcome is Outcome.NO_ANSWER


def test_the_next_target_is_dialled_under_a_new_channel() -> None:
    handoff = started(targets=(ALICE, BOB)).held().lost()
    (dialled,) = handoff.wants(DialAgent)
    assert (dialled.target, dialled.channel) == (BOB, "vf-h1-agent-2")
    assert handoff.state.caller == Held()


def test_without_a_next_target_the_queue_takes_the_caller() -> None:
    handoff = started().held().lost()
    (entered,) = handoff.wants(ContinueInDialplan)
    assert (entered.entry, entered.caller) == (QUEUE, PLACE.caller)
    assert entered.variables["VOICEFORK_QUEUE"] == "support"


def test_next_target_must_be_wanted() -> None:
    handoff = started(targets=(ALICE, BOB), fallbacks=()).held().lost()
    assert handoff.wants(ContinueInDialplan)


def test_the_queue_is_the_end_of_the_handoff() -> None:
    handoff = started().held().lost().feed(QueueEntered(104.1, 2))
    assert handoff.wants(Finish) == [Finish(Outcome.QUEUED)]
    assert handoff.wants(DropBot)[0].reason is Release.LEFT_BOT
    torn = {bridge for effect in handoff.wants(TearDown) for bridge in effect.bridges}
    assert torn == {HOLD, MIX, PLACE.bridge}
    assert handoff.state.phase is Phase.QUEUED


def test_the_caller_returns_to_the_bot_where_that_is_asked() -> None:
    handoff = started(fallbacks=(Fallback.RETURN_TO_BOT,)).held().lost()
    (move,) = handoff.wants(ReturnToBot)
    assert move.bridge == PLACE.bridge
    handoff.feed(CallerReturned(104.1, move.move))
    assert handoff.wants(Finish) == [Finish(Outcome.RETURNED_TO_BOT)]
    assert handoff.wants(UnfreezeBot)
    assert handoff.state.phase is Phase.RETURNED


def test_a_way_back_that_fails_leads_to_the_queue() -> None:
    handoff = started(fallbacks=(Fallback.RETURN_TO_BOT,)).held().lost()
    handoff.feed(AriFailed(104.1, "h1:move:2", Outcome.PBX_ERROR))
    assert handoff.wants(ContinueInDialplan)


def test_fallbacks_that_do_not_exist_yet_lead_to_the_queue() -> None:
    ways = (Fallback.VOICEMAIL, Fallback.CALLBACK)
    assert started(fallbacks=ways).held().lost().wants(ContinueInDialplan)


def test_a_busy_agent_does_not_cut_the_phrase() -> None:
    handoff = started(say_first="u7").feed(HoldReady(100.01)).lost(at=101.0)
    assert not handoff.wants(ContinueInDialplan)
    assert handoff.feed(PhraseEnded(102.0)).wants(ContinueInDialplan)


def test_giving_up_hangs_the_ringing_agent_up() -> None:
    handoff = started(limits=Limits(give_up=20.0), targets=(ALICE, BOB)).held()
    assert SetDeadline(Deadline.GIVE_UP, 120.0) in handoff.history
    handoff.feed(DeadlinePassed(120.0, Deadline.GIVE_UP))
    assert [effect.channel for effect in handoff.wants(HangUp)] == [agent()]
    assert handoff.wants(ContinueInDialplan)
    assert not handoff.wants(DialAgent)
    assert handoff.state.outcome is Outcome.TIMED_OUT


def test_giving_up_comes_too_late_for_an_accepted_agent() -> None:
    handoff = started().held().feed(AgentAnswered(119.9, agent()))
    before = handoff.state
    after = handoff.feed(DeadlinePassed(120.0, Deadline.GIVE_UP)).state
    assert (after.caller, after.agent, after.phase) == (before.caller, before.agent, before.phase)
    assert handoff.effects == ()


@pytest.mark.parametrize("step", ["accepted", "waiting", "merging"])
def test_whoever_is_lost_after_giving_up_is_followed_by_nobody(step: str) -> None:
    handoff = started(targets=(ALICE, BOB), phrase="sound:moment" if step == "waiting" else "")
    if step == "accepted":
        handoff.feed(HoldReady(101.0), AgentAnswered(104.0, agent()))
    else:
        handoff.held().joined()
    handoff.feed(DeadlinePassed(120.0, Deadline.GIVE_UP))
    assert not handoff.wants(HangUp)
    handoff.lost(0, 16, at=121.0)
    assert not handoff.wants(DialAgent)
    assert handoff.state.outcome is Outcome.AGENT_HUNG_UP


def test_a_silent_phone_is_given_up_a_second_after_the_pbx_should_have() -> None:
    handoff = started(limits=Limits(ring=5.0)).held()
    assert SetDeadline(Deadline.RING, 106.0 + 1.0) in handoff.history
    handoff.feed(DeadlinePassed(107.0, Deadline.RING))
    assert handoff.state.outcome is Outcome.NO_ANSWER


def test_an_agent_lost_while_the_caller_is_moved_brings_the_music_back_first() -> None:
    handoff = started(targets=(ALICE, BOB)).held().joined()
    assert handoff.wants(MoveCaller)
    handoff.lost(0, 16)
    assert kinds(handoff.effects)[:3] == [HangUp, HoldCaller, DialAgent]
    assert handoff.state.caller == Holding(3)
    assert handoff.state.outcome is Outcome.AGENT_HUNG_UP


def test_a_caller_on_the_move_hears_music_before_the_queue_is_tried() -> None:
    handoff = started().held().joined().lost(0, 16)
    assert kinds(handoff.effects)[:3] == [HangUp, HoldCaller, ContinueInDialplan]


def test_the_result_of_an_overtaken_move_changes_nothing() -> None:
    handoff = started(targets=(ALICE, BOB)).held().joined().lost(0, 16)
    before = handoff.state
    assert handoff.feed(CallerMerged(104.2, 2)).state == before


def test_a_late_answer_of_a_given_up_agent_is_hung_up() -> None:
    handoff = started(targets=(ALICE, BOB)).held().lost()
    handoff.feed(AgentAnswered(105.0, agent(1)))
    assert [effect.channel for effect in handoff.wants(HangUp)] == [agent(1)]


# --- the PBX fails --------------------------------------------------------------------------


@pytest.mark.parametrize("effect", ["h1:make-hold", "h1:make-mix", "h1:move:1", "h1:dial:1"])
def test_a_failing_step_leads_to_the_queue(effect: str) -> None:
    handoff = started().feed(HoldReady(100.0) if effect != "h1:make-hold" else PhraseEnded(100.0))
    handoff.feed(AriFailed(100.1, effect, Outcome.PBX_ERROR))
    assert handoff.wants(ContinueInDialplan)
    assert handoff.state.outcome is Outcome.PBX_ERROR


def test_an_agent_who_cannot_be_added_makes_room_for_the_next() -> None:
    handoff = started(targets=(ALICE, BOB)).held().feed(AgentAnswered(104.0, agent()))
    handoff.feed(AriFailed(104.1, "h1:add:1", Outcome.PBX_ERROR))
    assert handoff.wants(DialAgent)[0].target == BOB


def test_the_queue_is_tried_again_with_music_of_the_callers_own_then_the_caller_hung_up() -> None:
    handoff = started().held().lost()
    for tries in range(1, 5):
        move = handoff.state.moves
        handoff.feed(AriFailed(105.0, f"h1:move:{move}", Outcome.PBX_UNREACHABLE))
        assert Deadline.RETRY in {effect.which for effect in handoff.wants(SetDeadline)}
        music = StartMusic(f"h1:music:{move}", PLACE.caller, "default")
        assert handoff.wants(StartMusic) == [music]
        handoff.feed(DeadlinePassed(106.0, Deadline.RETRY))
        assert handoff.state.caller == Queueing(move + 1, tries)
    handoff.feed(AriFailed(107.0, f"h1:move:{handoff.state.moves}", Outcome.PBX_UNREACHABLE))
    assert handoff.wants(Finish) == [Finish(Outcome.PBX_UNREACHABLE)]
    assert PLACE.caller in [effect.channel for effect in handoff.wants(HangUp)]


def test_a_queue_whose_answer_was_lost_has_the_caller_all_the_same() -> None:
    handoff = started().held().lost()
    move = handoff.state.moves
    handoff.feed(AriFailed(105.0, f"h1:move:{move}", Outcome.PBX_UNREACHABLE))
    handoff.feed(CallerLeft(105.1, hung_up=False))
    assert handoff.wants(Finish) == [Finish(Outcome.QUEUED)]


# --- the caller leaves, the asker withdraws -------------------------------------------------------


def test_a_caller_who_hangs_up_takes_everything_down() -> None:
    handoff = started().held().feed(CallerLeft(103.0))
    assert handoff.wants(Finish) == [Finish(Outcome.CALLER_HUNG_UP)]
    assert {effect.channel for effect in handoff.wants(HangUp)} == {agent(), PLACE.bot}
    torn = {bridge for effect in handoff.wants(TearDown) for bridge in effect.bridges}
    assert torn == {HOLD, MIX, PLACE.bridge}
    assert handoff.wants(StopWitness)


def test_leaving_our_application_by_our_own_continue_is_no_hang_up() -> None:
    handoff = started().held().lost()
    before = handoff.state
    assert handoff.feed(CallerLeft(104.1, hung_up=False)).state == before


def test_a_cancel_during_the_phrase_leaves_the_caller_with_the_bot() -> None:
    handoff = started(say_first="u7", freeze_bot=True).feed(HoldReady(100.0))
    handoff.feed(CancelRequested(101.0))
    assert handoff.wants(Finish) == [Finish(Outcome.CANCELLED)]
    assert not handoff.ever(ReturnToBot)
    assert handoff.wants(UnfreezeBot)
    assert handoff.state.phase is Phase.CANCELLED


def test_a_cancel_brings_a_held_caller_back_to_the_bot() -> None:
    handoff = started().held().feed(CancelRequested(103.0))
    assert handoff.state.caller == Returning(2, Outcome.CANCELLED)
    handoff.feed(CallerReturned(103.1, 2))
    assert handoff.wants(Finish) == [Finish(Outcome.CANCELLED)]


def test_an_accepted_agent_beats_a_cancel() -> None:
    handoff = started().held().feed(AgentAnswered(104.0, agent()))
    before = handoff.state
    assert handoff.feed(CancelRequested(104.0)).state == before


def test_a_cancel_beats_an_agent_who_answers_after_it() -> None:
    handoff = started().held().feed(CancelRequested(104.0), AgentAnswered(104.0, agent()))
    assert [effect.channel for effect in handoff.wants(HangUp)] == [agent()]


def test_a_superseded_handoff_leaves_the_caller_in_the_music() -> None:
    handoff = started().held().feed(Superseded(103.0))
    assert handoff.wants(Finish) == [Finish(Outcome.SUPERSEDED)]
    torn = {bridge for effect in handoff.wants(TearDown) for bridge in effect.bridges}
    assert torn == {MIX}


def test_the_following_handoff_removes_the_left_over_music_once_it_holds_the_caller() -> None:
    handoff = started(leftovers=(BridgeId("vf-h0-hold"),)).feed(HoldReady(100.0))
    assert not handoff.ever(TearDown)
    handoff.feed(CallerHeld(100.1, 1))
    assert handoff.wants(TearDown)[0].bridges == ("vf-h0-hold",)


def test_the_left_over_music_is_removed_also_when_the_queue_takes_the_caller() -> None:
    handoff = started(leftovers=(BridgeId("vf-h0-hold"),), pattern=Pattern.DIALPLAN)
    handoff.feed(QueueEntered(100.1, 1))
    torn = {bridge for effect in handoff.wants(TearDown) for bridge in effect.bridges}
    assert "vf-h0-hold" in torn


# --- dialplan -------------------------------------------------------------------------------


def test_the_dialplan_pattern_goes_straight_to_the_queue() -> None:
    handoff = started(pattern=Pattern.DIALPLAN)
    assert handoff.wants(ContinueInDialplan)
    handoff.feed(QueueEntered(100.1, 1))
    assert handoff.wants(Finish) == [Finish(Outcome.QUEUED)]
    assert not handoff.ever(DialAgent)


def test_the_dialplan_pattern_lets_the_phrase_end() -> None:
    handoff = started(pattern=Pattern.DIALPLAN, say_first="u7")
    assert not handoff.wants(ContinueInDialplan)
    assert handoff.feed(PhraseEnded(102.0)).wants(ContinueInDialplan)


# --- context and witness ------------------------------------------------------------------------


def test_a_patched_context_is_published_again() -> None:
    handoff = started().held().feed(ContextPatched(102.0, 2))
    assert handoff.wants(PublishContext)[0].revision == 2
    assert handoff.state.context_revision == 2


def test_a_screen_that_showed_the_context_is_a_milestone() -> None:
    assert started().held().feed(ContextAcked(102.0)).state.phase is Phase.CONTEXT_ACKED


def test_the_witness_measures_from_the_request_and_from_the_phrase() -> None:
    handoff = started(say_first="u7")
    report = Witness(first_hold_audio_ms=2030, phrase_end_ms=2000)
    handoff.feed(WitnessReported(102.1, 100.005, report))
    timing = handoff.state.timing
    assert (timing.request_to_hold_ms, timing.say_first_to_hold_ms) == (2035, 30)


@pytest.mark.parametrize("connected", [False, True], ids=["on the way", "connected"])
def test_the_agents_voice_is_not_taken_for_the_first_hold_audio(connected: bool) -> None:
    """As by a witness that began when the caller was on hold already."""
    handoff = started().connected(105.0) if connected else started().held().joined()
    handoff.feed(WitnessReported(105.1, 100.0, Witness(first_hold_audio_ms=5000)))
    assert handoff.state.timing.request_to_hold_ms is None


def test_the_witness_last_words_of_a_short_conversation_tell_no_hold_audio_either() -> None:
    """Every report repeats what the witness took for it."""
    handoff = started().connected(105.0).feed(CallerLeft(105.5))
    handoff.feed(WitnessReported(105.6, 100.0, Witness(first_hold_audio_ms=5000, final=True)))
    assert handoff.state.timing.request_to_hold_ms is None


def test_reports_between_the_first_and_the_last_make_no_revision() -> None:
    handoff = started()
    handoff.feed(WitnessReported(102.1, 100.0, Witness(first_hold_audio_ms=30)))
    before = handoff.state
    later = Witness(first_hold_audio_ms=30, missing_ms=60)
    assert handoff.feed(WitnessReported(103.0, 100.0, later)).state == before


def test_the_witness_watches_two_seconds_beyond_the_merge() -> None:
    handoff = started().connected(105.0)
    assert handoff.wants(SetDeadline) == [SetDeadline(Deadline.WITNESS, 107.0)]
    assert handoff.feed(DeadlinePassed(107.0, Deadline.WITNESS)).wants(StopWitness)
    final = Witness(silent_ms=0, missing_ms=20, longest_gap_ms=80, final=True)
    handoff.feed(WitnessReported(107.0, 100.0, final), WitnessEnded(107.0))
    assert handoff.state.timing.dead_air_ms == 20
    assert handoff.state.settled


# --- after the end ------------------------------------------------------------------------------


def test_when_the_agent_hangs_up_the_conversation_is_over() -> None:
    handoff = started().connected().feed(AgentLost(200.0, agent(), 0, 16))
    assert PLACE.caller in [effect.channel for effect in handoff.wants(HangUp)]
    assert handoff.wants(TearDown)[0].bridges == names.bridges(HANDOFF)
    assert handoff.state.outcome is Outcome.CONNECTED


def test_when_the_caller_hangs_up_the_agent_leaves_too() -> None:
    handoff = started().connected().feed(CallerLeft(200.0))
    assert agent() in [effect.channel for effect in handoff.wants(HangUp)]


def test_every_change_is_one_revision_and_every_phase_is_told() -> None:
    handoff = started()
    before = handoff.state.revision
    handoff.feed(ContextPublished(100.1, 1))
    assert handoff.state.revision == before + 1
    assert handoff.wants(Notify)
    assert view(handoff.state).phase is Phase.CONTEXT_PUBLISHED


def test_a_repeated_request_changes_nothing() -> None:
    handoff = started()
    before = handoff.state
    assert handoff.feed(Requested(101.0)).state == before
    assert not handoff.effects


def test_a_dial_that_failed_late_does_not_touch_the_agent_who_answered() -> None:
    handoff = started(accept_key="1").held().feed(AgentAnswered(104.0, agent()))
    before = replace(handoff.state)
    assert handoff.feed(AriFailed(104.1, "h1:dial:1", Outcome.PBX_ERROR)).state == before


def test_the_ai_is_told_at_once_that_the_request_was_taken() -> None:
    assert started().wants(Notify)


def test_a_bot_that_has_no_leg_just_now_is_not_hung_up() -> None:
    handoff = started(place=replace(PLACE, bot=ChannelId(""))).held().feed(CallerLeft(103.0))
    assert {effect.channel for effect in handoff.wants(HangUp)} == {agent()}
