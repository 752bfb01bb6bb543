"""What an AI says to the human alone: in one form, bounded, told, counted; never the caller's."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from siprec_worker.media.model import (
    AudioFormat,
    Encoding,
    PlayState,
    PlayStatus,
    TalkbackCodec,
)
from siprec_worker.session import effects as fx
from siprec_worker.session import events as ev
from siprec_worker.session.asides import LONGEST_MS, MOST_OPEN, PIECE_BYTES, Asides
from siprec_worker.session.machine import Conversation
from siprec_worker.session.model import (
    NARROWBAND,
    Audience,
    CallStatus,
    Clear,
    FromAgent,
    Leg,
    LegKind,
    Opened,
    Party,
    Role,
    Speak,
)
from siprec_worker.session.seats import Seat

LEGS = (Leg(1, LegKind.CUSTOMER, "1"), Leg(2, LegKind.PBX, "0"))
OPENED = Opened(NARROWBAND, 20, NARROWBAND)
SECOND = bytes(16_000)


def talking(opened: Opened = OPENED, *roles: Role) -> Conversation:
    """A call whose AIs are open and whose bot may speak."""
    call = Conversation(tuple(Seat(role, dial_on_fork=False) for role in roles or (Role.PRIMARY,)))
    call.handle(ev.Recording(LEGS))
    call.handle(ev.TalkbackAttached(TalkbackCodec.PCMU, CallStatus.ANSWERED))
    for agent in range(len(call.seats)):
        say(call, opened, agent)
    return call


def say(call: Conversation, message: FromAgent, agent: int = 0) -> list[fx.Effect]:
    return call.handle(ev.AgentSaid(agent, message))


def aside(name: str, data: bytes = b"", *, last: bool = False) -> Speak:
    return Speak(name, data, last, audience=Audience.AGENT)


def speech(effects: list[fx.Effect]) -> list[fx.AgentSpeech]:
    news = [effect.news for effect in effects if isinstance(effect, fx.Report)]
    return [item for item in news if isinstance(item, fx.AgentSpeech)]


def told(effects: list[fx.Effect]) -> list[tuple[str, PlayStatus]]:
    states = [effect.message for effect in effects if isinstance(effect, fx.Tell)]
    return [(s.utterance_id, s.status) for s in states if isinstance(s, PlayState)]


def test_it_goes_to_the_orchestrator_and_not_to_the_caller() -> None:
    effects = say(talking(), aside("brief", b"\x01\x02", last=True))
    assert speech(effects) == [fx.AgentSpeech(0, "brief", b"\x01\x02", 8000, 0, last=True)]
    assert told(effects) == [("brief", PlayStatus.FINISHED)]
    assert not [effect for effect in effects if isinstance(effect, fx.Play)]


def test_it_does_not_count_as_the_bots_first_words() -> None:
    call = talking()
    say(call, aside("brief", SECOND))
    assert call.voice.unplayed == ()


def test_a_frozen_bot_may_still_speak_to_the_human() -> None:
    call = talking()
    call.handle(ev.FreezeAsked("a human is called", ""))
    assert told(say(call, Speak("talk", SECOND))) == [("talk", PlayStatus.CUT)]
    assert len(speech(say(call, aside("brief", SECOND, last=True)))) == 1


def test_a_shadow_may_not() -> None:
    effects = say(talking(OPENED, Role.PRIMARY, Role.SHADOW), aside("brief", SECOND), agent=1)
    assert fx.Count("not_primary", Role.SHADOW) in effects
    assert speech(effects) == []


def test_an_assist_may_after_the_merge_in_its_own_form_and_name() -> None:
    call = talking(OPENED, Role.PRIMARY, Role.ASSIST)
    call.handle(ev.PartyChanged(Party.AGENT, ""))
    say(call, replace(OPENED, downlink=AudioFormat(Encoding.G711_ULAW, 8000)), agent=1)
    pieces = speech(say(call, aside("tip", b"\xff" * 160, last=True), agent=1))
    assert pieces == [fx.AgentSpeech(1, "tip", bytes(320), 8000, 0, last=True)]


@pytest.mark.parametrize(
    ("spoken", "rate"),
    [
        (AudioFormat(Encoding.PCM_S16LE, 8000), 8000),
        (AudioFormat(Encoding.PCM_S16LE, 16_000), 16_000),
        (AudioFormat(Encoding.PCM_S16LE, 24_000), 16_000),
        (AudioFormat(Encoding.G711_ULAW, 8000), 8000),
        (AudioFormat(Encoding.G711_ALAW, 8000), 8000),
    ],
    ids=str,
)
def test_every_form_becomes_linear_samples_of_the_same_length(
    spoken: AudioFormat, rate: int
) -> None:
    call = talking(replace(OPENED, downlink=spoken))
    size = spoken.bytes_per_sample * spoken.sample_rate // 10
    effects = [effect for _ in range(9) for effect in say(call, aside("brief", bytes(size)))]
    pieces = speech([*effects, *say(call, aside("brief", bytes(size), last=True))])
    assert {piece.rate for piece in pieces} == {rate}
    assert sum(len(piece.pcm) for piece in pieces) == 2 * rate
    assert [piece.last for piece in pieces].index(True) == len(pieces) - 1


@given(sizes=st.lists(st.integers(0, 128 * 1024), min_size=1, max_size=6))
def test_pieces_follow_on_each_other_and_none_is_too_large(sizes: list[int]) -> None:
    call, found = talking(), []
    for number, size in enumerate(sizes, 1):
        found += speech(say(call, aside("u", bytes(2 * size), last=number == len(sizes))))
    position = 0
    for piece in found:
        assert piece.position == position
        assert len(piece.pcm) <= PIECE_BYTES
        position += len(piece.pcm) // 2
    assert position * 1000 // 8000 <= LONGEST_MS
    assert [piece.last for piece in found].count(True) == 1


def test_more_than_thirty_seconds_is_refused_and_ends_the_utterance() -> None:
    call = talking()
    say(call, aside("long", SECOND * 4))
    for _ in range(6):
        say(call, aside("long", SECOND * 4))
    effects = say(call, aside("long", SECOND * 4))
    assert told(effects) == [("long", PlayStatus.OVERRUN), ("long", PlayStatus.CUT)]
    assert fx.Count("agent_speech_overrun", Role.PRIMARY) in effects
    assert [piece.last for piece in speech(effects)] == [True]
    assert say(call, aside("long", SECOND)) == []


def test_an_ai_that_begins_without_end_is_refused_and_counted() -> None:
    call = talking()
    for number in range(MOST_OPEN):
        say(call, aside(f"u{number}", b"\0\0"))
    effects = say(call, aside("one more", b"\0\0"))
    assert told(effects) == [("one more", PlayStatus.OVERRUN), ("one more", PlayStatus.CUT)]
    assert speech(effects) == []


def test_of_one_that_was_refused_no_later_part_is_said_though_there_is_room() -> None:
    call = talking()
    for number in range(MOST_OPEN):
        say(call, aside(f"u{number}", b"\0\0"))
    say(call, aside("one more", b"\0\0"))
    say(call, aside("u0", last=True))
    assert say(call, aside("one more", b"\0\0", last=True)) == []
    assert len(speech(say(call, aside("one more", b"\0\0", last=True)))) == 1  # it begins anew


def test_what_was_cut_and_never_ended_makes_room() -> None:
    call = talking()
    for number in range(2 * MOST_OPEN):
        say(call, aside(f"u{number}", b"\0\0"))
        say(call, Clear((f"u{number}",)))
    assert len(speech(say(call, aside("one more", b"\0\0", last=True)))) == 1


def test_clear_cuts_it_wherever_it_is() -> None:
    call = talking()
    say(call, aside("brief", SECOND))
    effects = say(call, Clear(("brief",)))
    assert fx.Report(fx.AgentSpeechCleared(0, ("brief",))) in effects
    assert told(effects) == [("brief", PlayStatus.CUT)]
    assert say(call, aside("brief", SECOND)) == []


def test_clear_of_an_ai_that_said_nothing_to_the_human_concerns_the_caller_alone() -> None:
    assert say(talking(), Clear()) == [fx.Play(Clear())]


def test_clear_silences_what_was_said_at_the_worker_that_the_call_was_at_before() -> None:
    call = talking()
    call.asides = Asides(spoke={0})
    assert fx.Report(fx.AgentSpeechCleared(0, ("brief",))) in say(call, Clear(("brief",)))


def test_an_assist_clears_its_own_only() -> None:
    call = talking(OPENED, Role.PRIMARY, Role.ASSIST)
    say(call, aside("brief", SECOND), agent=0)
    call.handle(ev.PartyChanged(Party.AGENT, ""))
    say(call, OPENED, agent=1)
    say(call, aside("tip", SECOND), agent=1)
    effects = say(call, Clear(), agent=1)
    assert told(effects) == [("tip", PlayStatus.CUT)]
    assert not [effect for effect in effects if isinstance(effect, fx.Play)]


def test_who_paces_itself_by_the_play_states_is_told_of_progress() -> None:
    call, states = talking(), []
    for _ in range(5):
        states += told(say(call, aside("brief", bytes(3200))))
    assert states == [("brief", PlayStatus.STARTED), *[("brief", PlayStatus.PROGRESS)] * 4]
