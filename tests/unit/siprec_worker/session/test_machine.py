"""The conversation machine: who is dialled when, who may speak, what is told to whom."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from siprec_worker.media.model import (
    AudioFormat,
    Dtmf,
    Encoding,
    Gap,
    GapCause,
    PlayState,
    PlayStatus,
    Speech,
    TalkbackCodec,
)
from siprec_worker.session import effects as fx
from siprec_worker.session import events as ev
from siprec_worker.session.machine import Conversation
from siprec_worker.session.model import (
    NARROWBAND,
    AgentLost,
    BargeVerdict,
    CallState,
    CallStatus,
    CancelEscalation,
    Clear,
    Close,
    CloseReason,
    Escalate,
    Freeze,
    HandoffUpdate,
    HangUp,
    Leg,
    LegKind,
    Mark,
    Notice,
    Opened,
    Party,
    PartyChange,
    Role,
    Sensitive,
    Speak,
)
from siprec_worker.session.seats import Seat, Stage

CUSTOMER = Leg(1, LegKind.CUSTOMER, "1")
PBX = Leg(2, LegKind.PBX, "0")
OPENED = Opened(NARROWBAND, 20, NARROWBAND)
ATTACHED = ev.TalkbackAttached(TalkbackCodec.PCMU, CallStatus.ANSWERED)
HELLO = Speak("hello", b"\0" * 320, last=True)


def conversation(*roles: Role, on_fork: bool = False) -> Conversation:
    return Conversation(tuple(Seat(role, on_fork) for role in roles or (Role.PRIMARY,)))


def said(message: object, agent: int = 0) -> ev.AgentSaid:
    return ev.AgentSaid(agent, message)  # type: ignore[arg-type]


def talking(*roles: Role) -> Conversation:
    """A call whose AIs are open and whose bot may speak."""
    call = conversation(*roles)
    call.handle(ev.Recording((CUSTOMER, PBX)))
    call.handle(ATTACHED)
    for i in range(len(call.seats)):
        call.handle(said(OPENED, i))
    return call


def test_a_primary_waits_for_the_talkback() -> None:
    call = conversation()
    assert call.handle(ev.Recording((CUSTOMER, PBX))) == []
    assert call.handle(ATTACHED) == [fx.Dial(0)]


def test_a_primary_of_a_fork_route_is_dialled_at_once() -> None:
    call = conversation(on_fork=True)
    assert call.handle(ev.Recording((CUSTOMER,))) == [fx.Dial(0)]


def test_a_shadow_listens_even_on_a_plain_pbx_call() -> None:
    call = conversation(Role.PRIMARY, Role.SHADOW)
    assert call.handle(ev.Recording((CUSTOMER, PBX))) == [fx.Dial(1)]


def test_a_primary_gets_the_customer_only_and_a_shadow_both_legs() -> None:
    call = conversation(Role.PRIMARY, Role.SHADOW)
    call.handle(ev.Recording((CUSTOMER, PBX)))
    call.handle(ATTACHED)
    assert fx.Listen(0, (1,)) in call.handle(said(OPENED, 0))
    assert fx.Listen(1, (1, 2)) in call.handle(said(OPENED, 1))


def test_a_primary_that_asks_for_the_pbx_leg_gets_it_but_no_unknown_handle() -> None:
    call = conversation()
    call.handle(ev.Recording((CUSTOMER, PBX)))
    call.handle(ATTACHED)
    assert fx.Listen(0, (2,)) in call.handle(said(replace(OPENED, legs=(2, 9))))


def test_a_leg_of_unknown_kind_is_not_withheld_from_the_primary() -> None:
    call = conversation(on_fork=True)
    call.handle(ev.Recording((Leg(1, LegKind.UNKNOWN, "a"), Leg(2, LegKind.UNKNOWN, "b"))))
    assert fx.Listen(0, (1, 2)) in call.handle(said(OPENED))


def test_an_opened_ai_is_told_the_call_state() -> None:
    call = conversation()
    call.handle(ev.Recording((CUSTOMER,)))
    call.handle(ATTACHED)
    assert fx.Tell(0, CallState(CallStatus.ANSWERED)) in call.handle(said(OPENED))


def test_nothing_is_spoken_before_the_call_is_answered() -> None:
    call = conversation()
    call.handle(ev.Recording((CUSTOMER,)))
    call.handle(replace(ATTACHED, status=CallStatus.EARLY))
    call.handle(said(OPENED))
    assert call.handle(said(HELLO)) == [fx.Play(HELLO), fx.Report(fx.BotSpeaks("hello"))]
    assert not call.speaking
    answered = call.handle(ev.StatusChanged(CallStatus.ANSWERED))
    assert fx.StartVoice(TalkbackCodec.PCMU) in answered


def test_a_bot_that_is_ready_before_the_answer_is_told_to_the_orchestrator() -> None:
    call = conversation()
    call.handle(ev.Recording((CUSTOMER,)))
    call.handle(replace(ATTACHED, status=CallStatus.EARLY))
    assert fx.Report(fx.BotReady()) in call.handle(said(OPENED))


def test_an_orchestrator_that_attaches_again_hears_of_the_bot_again() -> None:
    call = talking()
    call.handle(said(HELLO))
    assert fx.Report(fx.BotSpeaks("hello")) in call.handle(ATTACHED)


def test_a_goodbye_is_played_before_the_hang_up_is_reported() -> None:
    call = talking()
    call.handle(said(HELLO))
    parting = HangUp("bye")
    assert call.handle(said(parting)) == []
    assert fx.Report(parting) in call.handle(ev.Played(PlayState("hello", PlayStatus.FINISHED)))


def test_a_hang_up_with_nothing_left_to_play_is_reported_at_once() -> None:
    call = talking()
    assert call.handle(said(HangUp("bye"))) == [fx.Report(HangUp("bye"))]


def test_a_hang_up_after_a_given_time_is_reported_at_once() -> None:
    call = talking()
    call.handle(said(HELLO))
    assert call.handle(said(HangUp("bye", 500))) == [fx.Report(HangUp("bye", 500))]


def test_the_first_words_are_announced_once() -> None:
    call = talking()
    assert fx.Report(fx.BotSpeaks("hello")) in call.handle(said(HELLO))
    assert call.handle(said(replace(HELLO, utterance_id="more"))) == [
        fx.Play(replace(HELLO, utterance_id="more"))
    ]


@pytest.mark.parametrize(
    "message", [HELLO, Clear(), Mark("m"), HangUp("bye"), Escalate("r", "", False, b"")]
)
def test_only_a_primary_may_act(message: object) -> None:
    call = talking(Role.PRIMARY, Role.SHADOW)
    effects = call.handle(said(message, 1))
    assert [type(effect) for effect in effects] == [fx.Tell, fx.Count]


@pytest.mark.parametrize(
    "asked",
    [
        replace(OPENED, uplink=AudioFormat(Encoding.PCM_S16LE, 11_025)),
        replace(OPENED, uplink=AudioFormat(Encoding.G711_ULAW, 16_000)),
        replace(OPENED, chunk_ms=30),
        replace(OPENED, chunk_ms=0),
    ],
)
def test_an_ai_that_asks_for_what_cannot_be_made_is_closed_and_reported(asked: Opened) -> None:
    call = conversation(on_fork=True)
    call.handle(ev.Recording((CUSTOMER,)))
    effects = call.handle(said(asked))
    assert isinstance(effects[0], fx.Goodbye)
    assert effects[0].close.reason is CloseReason.PROTOCOL_ERROR
    assert any(isinstance(e, fx.Report) and isinstance(e.news, fx.BotFailed) for e in effects)


def test_an_ai_gets_the_form_it_asks_for_before_any_audio() -> None:
    call = conversation(on_fork=True)
    call.handle(ev.Recording((CUSTOMER,)))
    wide = AudioFormat(Encoding.PCM_S16LE, 24_000)
    effects = call.handle(said(replace(OPENED, uplink=wide, chunk_ms=60)))
    assert effects[:2] == [fx.UseForm(0, wide, 60), fx.Listen(0, (1,))]


def test_the_form_that_was_proposed_needs_no_word() -> None:
    wide = AudioFormat(Encoding.PCM_S16LE, 16_000)
    call = Conversation((Seat(Role.PRIMARY, True, wide),))
    call.handle(ev.Recording((CUSTOMER,)))
    effects = call.handle(said(replace(OPENED, uplink=wide)))
    assert effects[0] == fx.Listen(0, (1,))


def test_news_of_one_form_is_for_those_who_have_it() -> None:
    call = conversation(Role.PRIMARY, Role.SHADOW, on_fork=True)
    call.handle(ev.Recording((CUSTOMER,)))
    call.handle(said(OPENED, 0))
    call.handle(said(OPENED, 1))
    key = Dtmf(1, "5", 100, 0)
    assert call.handle(ev.Heard(key)) == [fx.Tell(0, key), fx.Tell(1, key)]
    assert call.handle(ev.Heard(key, (1,))) == [fx.Tell(1, key)]


SPEECH = Speech(1, True, 800)


def test_the_customers_speech_is_told_and_interrupts_the_bot() -> None:
    call = talking()
    assert call.handle(ev.Heard(SPEECH)) == [fx.Tell(0, SPEECH), fx.BargeIn()]
    ended = replace(SPEECH, started=False)
    assert call.handle(ev.Heard(ended)) == [fx.Tell(0, ended)]


def test_nobody_elses_speech_interrupts_the_bot() -> None:
    call = talking()
    assert fx.BargeIn() not in call.handle(ev.Heard(replace(SPEECH, leg=2)))
    call.handle(ev.LegsChanged((replace(CUSTOMER, kind=LegKind.UNKNOWN),)))
    assert fx.BargeIn() not in call.handle(ev.Heard(SPEECH))


def test_a_verdict_is_passed_on_to_the_playout() -> None:
    call = talking()
    verdict = BargeVerdict("hello", True)
    assert call.handle(said(verdict)) == [fx.JudgeBarge(verdict)]


def test_sensitive_audio_is_withheld_until_the_ai_says_so() -> None:
    call = talking()
    assert call.handle(said(Sensitive(True))) == [fx.Withhold(GapCause.REDACTED)]
    assert call.handle(said(Sensitive(True))) == []
    assert call.handle(said(Sensitive(False))) == [fx.Withhold(None)]


def test_a_pause_outlasts_the_ais_own_wish() -> None:
    call = talking()
    call.handle(said(Sensitive(True)))
    assert call.handle(ev.PauseAsked()) == [fx.Withhold(GapCause.PAUSED)]
    assert call.handle(said(Sensitive(False))) == []
    assert call.handle(ev.ResumeAsked()) == [fx.Withhold(None)]


def test_what_an_ai_asked_to_withhold_ends_when_a_human_takes_over() -> None:
    call = talking()
    call.handle(said(Sensitive(True)))
    assert fx.Withhold(None) in call.handle(ev.PartyChanged(Party.AGENT, "Ann"))


def test_an_ai_that_is_lost_leaves_what_it_withheld_withheld() -> None:
    call = talking()
    call.handle(said(Sensitive(True)))
    assert fx.Withhold(None) not in call.handle(said(AgentLost("reset")))


def test_a_shadow_may_not_withhold_audio_from_others() -> None:
    call = conversation(Role.PRIMARY, Role.SHADOW, on_fork=True)
    call.handle(ev.Recording((CUSTOMER,)))
    call.handle(said(OPENED, 1))
    assert not [e for e in call.handle(said(Sensitive(True), 1)) if isinstance(e, fx.Withhold)]


def test_a_lost_primary_is_reported_once() -> None:
    call = talking()
    assert fx.Report(fx.BotFailed("reset")) in call.handle(said(AgentLost("reset")))
    assert call.handle(said(AgentLost("reset"))) == []


def test_a_lost_shadow_fails_nobody() -> None:
    call = talking(Role.PRIMARY, Role.SHADOW)
    assert call.handle(said(AgentLost("reset"), 1)) == [fx.Count("agent_lost", Role.SHADOW)]


def test_a_play_state_goes_to_the_primary_only() -> None:
    call = talking(Role.PRIMARY, Role.SHADOW)
    started = PlayState("hello", PlayStatus.STARTED)
    assert call.handle(ev.Played(started)) == [fx.Tell(0, started)]


def test_what_is_heard_goes_to_those_who_get_the_leg() -> None:
    call = talking(Role.PRIMARY, Role.SHADOW)
    gap = Gap(2, 0, 160, GapCause.NETWORK_LOSS, 1)
    key = Dtmf(1, "5", 120, 800)
    assert call.handle(ev.Heard(gap)) == [fx.Tell(1, gap)]
    assert call.handle(ev.Heard(key)) == [fx.Tell(0, key), fx.Tell(1, key)]


def test_a_connected_human_ends_the_primary_and_keeps_the_shadow() -> None:
    call = talking(Role.PRIMARY, Role.SHADOW)
    effects = call.handle(ev.PartyChanged(Party.AGENT, "Alice"))
    assert fx.StopVoice() in effects
    assert fx.Goodbye(0, Close(CloseReason.HUMAN_CONNECTED)) in effects
    assert fx.Tell(1, PartyChange(2, Party.AGENT, "Alice", 0)) in effects
    assert call.seats[1].stage is Stage.OPEN


def test_an_assist_is_dialled_when_the_human_is_there() -> None:
    call = conversation(Role.PRIMARY, Role.ASSIST)
    call.handle(ev.Recording((CUSTOMER, PBX)))
    assert call.handle(ATTACHED) == [fx.Dial(0)]
    assert fx.Dial(1) in call.handle(ev.PartyChanged(Party.AGENT, "Alice"))


def test_music_changes_the_party_but_not_the_bot() -> None:
    call = talking()
    effects = call.handle(ev.PartyChanged(Party.MUSIC, ""))
    assert effects == [fx.Tell(0, PartyChange(2, Party.MUSIC, "", 0))]


def test_a_frozen_bot_plays_the_phrase_only() -> None:
    call = talking()
    effects = call.handle(said(Escalate("r", "transition", True, b"x")))
    assert fx.FreezeVoice("transition") in effects
    assert fx.Tell(0, Freeze("the AI asked for a human", "transition")) in effects
    assert call.handle(said(HELLO)) == [fx.Tell(0, PlayState("hello", PlayStatus.CUT))]
    phrase = Speak("transition", b"\0\0", last=True)
    assert fx.Play(phrase) in call.handle(said(phrase))


def test_the_end_of_the_phrase_is_reported() -> None:
    call = talking()
    call.handle(said(Escalate("r", "transition", False, b"x")))
    effects = call.handle(ev.Played(PlayState("transition", PlayStatus.FINISHED)))
    assert fx.Report(fx.PhraseEnded("transition", cut=False)) in effects


def test_a_phrase_that_was_over_before_the_escalation_is_reported_at_once() -> None:
    call = talking()
    call.handle(ev.Played(PlayState("transition", PlayStatus.FINISHED)))
    effects = call.handle(said(Escalate("r", "transition", False, b"x")))
    assert fx.Report(fx.PhraseEnded("transition", cut=False)) in effects


def test_a_refused_escalation_thaws_the_bot_and_tells_it() -> None:
    call = talking()
    call.handle(said(Escalate("r", "", True, b"x")))
    effects = call.handle(ev.Refused("r", "no such target"))
    assert effects[0] == fx.UnfreezeVoice()
    assert isinstance(effects[1], fx.Tell)
    assert isinstance(effects[1].message, Notice)
    assert fx.Play(HELLO) in call.handle(said(HELLO))


def test_handoff_updates_reach_every_open_ai() -> None:
    call = talking(Role.PRIMARY, Role.SHADOW)
    update = HandoffUpdate("h", 2, 0, 3)
    assert call.handle(ev.HandoffChanged(update)) == [fx.Tell(0, update), fx.Tell(1, update)]


def test_a_cancelled_escalation_is_passed_on() -> None:
    call = talking()
    cancel = CancelEscalation("r", "changed its mind")
    assert call.handle(said(cancel)) == [fx.Report(cancel)]


def test_a_detached_talkback_closes_the_primary_with_its_reason() -> None:
    call = talking()
    effects = call.handle(ev.TalkbackDetached(CloseReason.LEFT_BOT))
    assert effects == [fx.StopVoice(), fx.Goodbye(0, Close(CloseReason.LEFT_BOT))]


def test_the_end_of_an_unanswered_call_says_so() -> None:
    call = conversation()
    call.handle(ev.Recording((CUSTOMER,)))
    call.handle(replace(ATTACHED, status=CallStatus.EARLY))
    call.handle(said(OPENED))
    assert call.handle(ev.Ended("bye")) == [fx.Goodbye(0, Close(CloseReason.NOT_ANSWERED))]


@pytest.mark.parametrize(
    ("detached", "told"),
    [
        (CloseReason.NOT_ANSWERED, CloseReason.NOT_ANSWERED),
        (CloseReason.LEFT_BOT, CloseReason.CALL_ENDED),
    ],
)
def test_a_listener_is_told_why_an_early_call_was_over(
    detached: CloseReason, told: CloseReason
) -> None:
    call = conversation(Role.PRIMARY, Role.SHADOW)
    call.handle(ev.Recording((CUSTOMER,)))
    call.handle(replace(ATTACHED, status=CallStatus.EARLY))
    call.handle(ev.TalkbackDetached(detached))
    assert call.handle(ev.Ended("bye")) == [fx.Goodbye(1, Close(told))]


def test_nothing_happens_after_the_end() -> None:
    call = talking()
    call.handle(ev.Ended("bye"))
    assert call.handle(said(HELLO)) == []
    assert call.handle(ATTACHED) == []


EVENTS = st.one_of(
    st.just(ev.Recording((CUSTOMER, PBX))),
    st.builds(ev.TalkbackAttached, st.sampled_from(TalkbackCodec), st.sampled_from(CallStatus)),
    st.builds(ev.TalkbackDetached, st.sampled_from(CloseReason)),
    st.builds(ev.StatusChanged, st.sampled_from(CallStatus)),
    st.builds(ev.PartyChanged, st.sampled_from(Party), st.just("")),
    st.builds(
        ev.AgentSaid,
        st.integers(0, 1),
        st.sampled_from(
            [OPENED, HELLO, Clear(), AgentLost("x"), Escalate("r", "hello", True, b"")]
        ),
    ),
    st.builds(lambda status: ev.Played(PlayState("hello", status)), st.sampled_from(PlayStatus)),
    st.just(ev.FreezeAsked("why", "")),
    st.just(ev.UnfreezeAsked()),
    st.just(ev.Ended("bye")),
)


@given(st.lists(EVENTS, max_size=25))
def test_in_every_history_an_ai_is_dialled_once_closed_once_and_told_only_while_open(
    history: list[ev.Event],
) -> None:
    call = conversation(Role.PRIMARY, Role.SHADOW)
    dialled: list[int] = []
    closed: list[int] = []
    lost: set[int] = set()
    voice = False
    for event in history:
        if isinstance(event, ev.AgentSaid):
            if event.agent not in dialled or event.agent in (*closed, *lost):
                continue  # a sink says nothing before it is dialled or after the end
            if isinstance(event.message, AgentLost):
                lost.add(event.agent)
        for effect in call.handle(event):
            match effect:
                case fx.Dial(agent):
                    dialled.append(agent)
                case fx.Goodbye(agent):
                    closed.append(agent)
                case fx.Tell(agent):
                    assert agent in dialled
                    assert agent not in closed
                case fx.StartVoice():
                    assert not voice
                    voice = True
                case fx.StopVoice():
                    assert voice
                    voice = False
    assert len(dialled) == len(set(dialled))
    assert len(closed) == len(set(closed))
    assert set(closed) <= set(dialled)
    assert voice == call.speaking


# --- a call of another worker -------------------------------------------------------------------


def adopted(*seats: Seat, **how: object) -> list[fx.Effect]:
    call = Conversation(seats, **how)  # type: ignore[arg-type]
    return call.handle(ev.Adopted((CUSTOMER, PBX)))


def test_an_adopted_call_dials_who_was_there_and_gives_them_what_they_had_chosen() -> None:
    wide = AudioFormat(Encoding.PCM_S16LE, 16_000)
    opened = Opened(wide, 40, NARROWBAND, (2,), resume_token="t")
    there = Seat(Role.PRIMARY, False, stage=Stage.OPEN, opened=opened)
    assert adopted(there) == [fx.Dial(0), fx.UseForm(0, wide, 40), fx.Listen(0, (2,))]


def test_an_adopted_call_leaves_those_alone_who_wait_or_have_gone() -> None:
    waiting, gone = Seat(Role.PRIMARY, False), Seat(Role.SHADOW, False, stage=Stage.OVER)
    assert adopted(waiting, gone) == []


def test_an_ai_that_cannot_resume_is_dialled_as_in_a_new_call() -> None:
    assert adopted(Seat(Role.PRIMARY, False, stage=Stage.OPEN, opened=OPENED)) == [fx.Dial(0)]


def test_what_was_withheld_stays_so_in_an_adopted_call() -> None:
    assert adopted(sensitive=True) == [fx.Withhold(GapCause.REDACTED)]


def test_an_adopted_call_whose_bot_is_frozen_keeps_it_frozen_but_for_the_phrase() -> None:
    call = Conversation(
        (Seat(Role.PRIMARY, False, stage=Stage.OPEN),), frozen=True, phrase="transition"
    )
    assert fx.FreezeVoice("transition") in call.handle(ev.Adopted((CUSTOMER, PBX)))
    ended = call.handle(ev.Played(PlayState("transition", PlayStatus.FINISHED)))
    assert fx.Report(fx.PhraseEnded("transition", cut=False)) in ended


def test_a_phrase_that_the_former_worker_had_still_to_play_has_ended() -> None:
    effects = adopted(frozen=True, phrase="transition", cut=("transition",))
    assert fx.Report(fx.PhraseEnded("transition", cut=True)) in effects


def test_an_ai_that_is_being_resumed_is_told_what_is_missing() -> None:
    opened = replace(OPENED, resume_token="t")
    call = Conversation((Seat(Role.PRIMARY, False, stage=Stage.OPEN, opened=opened),))
    call.handle(ev.Adopted((CUSTOMER, PBX)))
    gap = Gap(1, 0, 160, GapCause.SOURCE_SWITCH)
    assert call.handle(ev.Heard(gap)) == [fx.Tell(0, gap)]


def test_what_an_ai_is_told_while_it_is_being_resumed_waits_in_its_stream() -> None:
    call = talking()
    call.handle(ev.Adopted((CUSTOMER, PBX)))
    update = HandoffUpdate("h1", 1, 0, 1, "")
    assert call.handle(ev.HandoffChanged(update)) == [fx.Tell(0, update)]
    assert fx.Tell(0, Freeze("a human", "")) in call.handle(ev.FreezeAsked("a human", ""))


def test_an_ai_that_has_never_opened_is_told_nothing_yet() -> None:
    call = conversation(on_fork=True)
    call.handle(ev.Recording((CUSTOMER, PBX)))
    assert call.handle(ev.StatusChanged(CallStatus.ANSWERED)) == []
