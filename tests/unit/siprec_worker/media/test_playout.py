"""The AI's voice: paced, reported, cut within a frame."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st
from siprec_worker.media.g711 import ulaw_to_linear
from siprec_worker.media.model import (
    AudioFormat,
    Encoding,
    PlayState,
    PlayStatus,
)
from siprec_worker.media.playout import MAX_UTTERANCES, Playout

PCM8 = AudioFormat(Encoding.PCM_S16LE, 8000)
PCM16 = AudioFormat(Encoding.PCM_S16LE, 16000)
ULAW = AudioFormat(Encoding.G711_ULAW, 8000)
SILENCE = b"\xff" * 160
LOUD = 8031  # exact in mu-law


def voice(milliseconds: int, rate: int = 8000) -> bytes:
    return array("h", [LOUD] * (milliseconds * rate // 1000)).tobytes()


def playout(source: AudioFormat = PCM8, *, buffer_ms: int = 30_000, lead_in_ms: int = 0) -> Playout:
    return Playout(source, buffer_ms=buffer_ms, lead_in_ms=lead_in_ms)


def heard_ms(out: Playout, frames: int) -> int:
    """How much voice the next frames hold."""
    sound = ulaw_to_linear(b"".join(out.frame() for _ in range(frames)))
    return sum(sample != 0 for sample in array("h", sound)) // 8


def statuses(out: Playout) -> list[tuple[str, PlayStatus, int]]:
    return [(event.utterance_id, event.status, event.played_ms) for event in out.events()]


def test_nothing_queued_is_silence_and_no_event() -> None:
    out = playout()
    assert [out.frame() for _ in range(3)] == [SILENCE] * 3
    assert (out.events(), out.speaking, out.idle) == ([], False, True)


def test_an_utterance_is_played_and_reported() -> None:
    out = playout()
    out.speak("u", voice(40), last=True)
    assert out.queued_ms == 40
    assert heard_ms(out, 3) == 40
    assert statuses(out) == [("u", PlayStatus.STARTED, 20), ("u", PlayStatus.FINISHED, 40)]
    assert out.idle


def test_a_piece_that_is_no_whole_frame_is_padded() -> None:
    out = playout()
    out.speak("u", voice(25), last=True)
    assert heard_ms(out, 4) == 25
    assert statuses(out)[-1] == ("u", PlayStatus.FINISHED, 25)


def test_pieces_and_utterances_follow_without_a_gap() -> None:
    out = playout()
    out.speak("a", voice(15))
    out.speak("a", voice(10), last=True)
    out.speak("b", voice(35), last=True)
    assert heard_ms(out, 3) == 60


def test_the_first_utterance_of_a_call_has_a_lead_in() -> None:
    out = playout(lead_in_ms=60)
    out.frame()
    out.speak("u", voice(20), last=True)
    assert heard_ms(out, 3) == 0
    assert heard_ms(out, 1) == 20
    out.speak("v", voice(20), last=True)
    assert heard_ms(out, 1) == 20


def test_progress_is_told_every_second() -> None:
    out = playout()
    out.speak("u", voice(3000), last=True)
    heard_ms(out, 149)
    assert statuses(out) == [
        ("u", PlayStatus.STARTED, 20),
        ("u", PlayStatus.PROGRESS, 1000),
        ("u", PlayStatus.PROGRESS, 2000),
    ]


def test_running_dry_is_told_once_until_more_comes() -> None:
    out = playout()
    out.speak("u", voice(20))
    heard_ms(out, 5)
    out.speak("u", voice(20))
    heard_ms(out, 5)
    assert statuses(out) == [
        ("u", PlayStatus.STARTED, 20),
        ("u", PlayStatus.STARVED, 20),
        ("u", PlayStatus.STARVED, 40),
    ]


def test_a_dry_utterance_ends_when_its_last_piece_is_empty() -> None:
    out = playout()
    out.speak("u", voice(20))
    heard_ms(out, 1)
    out.speak("u", b"", last=True)
    heard_ms(out, 1)
    assert statuses(out)[-1] == ("u", PlayStatus.FINISHED, 20)


def test_an_utterance_without_an_end_gives_way_to_the_next() -> None:
    out = playout()
    out.speak("a", voice(20))
    out.speak("b", voice(20), last=True)
    assert heard_ms(out, 2) == 40
    out.speak("a", voice(20))
    assert heard_ms(out, 2) == 0
    assert [status for _, status, _ in statuses(out)] == [
        PlayStatus.STARTED,
        PlayStatus.FINISHED,
        PlayStatus.STARTED,
        PlayStatus.FINISHED,
    ]


def test_more_than_the_buffer_is_refused_and_told() -> None:
    out = playout(buffer_ms=100)
    out.speak("u", voice(80))
    out.speak("u", voice(40), last=True)
    assert heard_ms(out, 10) == 80
    assert [(e.status, e.queued_ms) for e in out.events()] == [
        (PlayStatus.OVERRUN, 80),
        (PlayStatus.STARTED, 60),
        (PlayStatus.FINISHED, 0),
    ]


def test_the_number_of_utterances_is_bounded() -> None:
    out = playout()
    for number in range(MAX_UTTERANCES + 5):
        out.speak(str(number), b"")
    assert [status for _, status, _ in statuses(out)] == [PlayStatus.OVERRUN] * 5


def test_clear_silences_the_next_frame_and_tells_what_was_heard() -> None:
    out = playout()
    out.speak("a", voice(100), last=True)
    out.speak("b", voice(100), last=True)
    heard_ms(out, 2)
    out.clear()
    assert heard_ms(out, 5) == 0
    assert statuses(out) == [
        ("a", PlayStatus.STARTED, 20),
        ("a", PlayStatus.CUT, 40),
        ("b", PlayStatus.CUT, 0),
    ]


def test_clear_of_one_utterance_leaves_the_others() -> None:
    out = playout()
    out.speak("a", voice(40), last=True)
    out.speak("b", voice(40), last=True)
    out.clear(["a"])
    assert heard_ms(out, 4) == 40


def test_late_pieces_of_what_was_cut_are_ignored() -> None:
    out = playout()
    out.speak("a", voice(40))
    out.clear()
    out.speak("a", voice(40))
    out.speak("a", voice(40), last=True)
    out.speak("b", voice(20), last=True)
    assert heard_ms(out, 4) == 20


def test_a_fade_goes_down_within_one_frame() -> None:
    out = playout()
    out.speak("u", voice(100), last=True)
    heard_ms(out, 1)
    out.clear(fade_ms=500)
    fading = array("h", ulaw_to_linear(out.frame()))
    assert fading[0] > 0.9 * LOUD
    assert list(fading) == sorted(fading, reverse=True)
    assert fading[-1] < 0.05 * LOUD
    assert out.frame() == SILENCE
    assert statuses(out)[-1] == ("u", PlayStatus.CUT, 40)


def test_a_mark_comes_when_what_was_queued_is_played() -> None:
    out = playout()
    out.speak("u", voice(40))
    out.mark("here")
    out.speak("u", voice(40), last=True)
    heard_ms(out, 1)
    assert PlayState("u", PlayStatus.MARK, mark="here") not in out.events()
    heard_ms(out, 1)
    assert PlayState("u", PlayStatus.MARK, mark="here") in out.events()


def test_a_mark_behind_nothing_comes_at_once() -> None:
    out = playout()
    out.mark("here")
    assert out.events() == [PlayState("", PlayStatus.MARK, mark="here")]


def test_a_mark_of_what_was_cut_comes_with_the_cut() -> None:
    out = playout()
    out.speak("u", voice(40), last=True)
    out.mark("here")
    out.clear()
    assert [status for _, status, _ in statuses(out)] == [PlayStatus.CUT, PlayStatus.MARK]


def test_frozen_only_the_phrase_is_played() -> None:
    out = playout()
    out.speak("a", voice(40), last=True)
    out.speak("phrase", voice(60))
    assert out.freeze("phrase") == 60
    out.speak("phrase", voice(20), last=True)
    out.speak("b", voice(40))
    out.speak("b", voice(40), last=True)
    assert heard_ms(out, 10) == 80
    cut = [identifier for identifier, status, _ in statuses(out) if status is PlayStatus.CUT]
    assert cut == ["a", "b"]


def test_frozen_without_a_phrase_everything_is_cut() -> None:
    out = playout()
    out.speak("a", voice(40), last=True)
    assert out.freeze() == 0
    assert heard_ms(out, 3) == 0


def test_unfrozen_it_speaks_again() -> None:
    out = playout()
    out.freeze()
    out.unfreeze()
    out.speak("a", voice(20), last=True)
    assert heard_ms(out, 2) == 20


def test_paused_it_holds_its_place() -> None:
    out = playout()
    out.speak("u", voice(60), last=True)
    heard_ms(out, 1)
    out.pause()
    assert heard_ms(out, 5) == 0
    assert out.playing == ("u", 0)
    out.resume()
    assert heard_ms(out, 5) == 40


def test_playing_names_the_utterance_and_its_barge() -> None:
    out = playout()
    out.speak("u", voice(60), last=True, barge=3)
    assert out.playing is None
    out.frame()
    assert out.playing == ("u", 3)


NOTHING = st.just(0)
SPOKEN = st.tuples(st.just("speak"), st.sampled_from("abcd"), st.integers(0, 70), st.booleans())
CLEARED = st.tuples(st.just("clear"), st.sampled_from(["", "a", "b"]), NOTHING, NOTHING)
FRAMED = st.tuples(st.just("frame"), st.just(""), st.integers(1, 6), NOTHING)
OTHER = st.sampled_from(["mark", "pause", "resume", "freeze", "unfreeze"])
OTHERS = st.tuples(OTHER, st.just("a"), NOTHING, NOTHING)


@given(st.lists(SPOKEN | SPOKEN | CLEARED | FRAMED | FRAMED | OTHERS, max_size=60))
def test_whatever_is_asked_what_is_told_as_played_is_what_was_heard(
    actions: list[tuple[str, str, int, int]],
) -> None:
    out = playout()
    heard = marks = 0
    events: list[PlayState] = []
    for action, name, number, flag in actions:
        match action:
            case "speak":
                out.speak(name, voice(number), last=bool(flag))
            case "clear":
                out.clear([name] if name else ())
            case "frame":
                heard += heard_ms(out, number)
            case "mark":
                out.mark("m")
                marks += 1
            case "freeze":
                out.freeze(name)
            case _:
                getattr(out, action)()
        events += out.events()
    out.clear()
    events += out.events()
    final = [e for e in events if e.status in (PlayStatus.FINISHED, PlayStatus.CUT)]
    assert sum(event.played_ms for event in final) == heard
    assert sum(event.status is PlayStatus.MARK for event in events) == marks
    assert out.idle
