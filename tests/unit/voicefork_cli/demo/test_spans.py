"""Stretches of a call: who is heard, and the handoff's phases."""

from __future__ import annotations

from voicefork_cli.demo.spans import AGENT, BOT, MUSIC, Span, handoff_spans, heard_spans
from voicefork_cli.demo.timeline import Moment

from tests.unit.voicefork_cli.demo.made import handed_over, speech
from tests.unit.voicefork_cli.measure.made import at, steady


def rounded(spans: list[Span]) -> list[tuple[float, float, str]]:
    return [(round(span.begin, 2), round(span.end, 2), span.what) for span in spans]


def test_bot_music_and_agent_follow_each_other_without_overlap() -> None:
    assert rounded(heard_spans(handed_over(), at(0))) == [
        (0.0, 1.0, BOT),
        (1.0, 2.0, MUSIC),
        (2.0, 3.0, AGENT),
    ]


def test_a_pause_between_two_words_is_no_end_of_the_speech() -> None:
    packets = [*speech(0, 10), *steady(10, 30, None), *speech(30, 40)]
    assert rounded(heard_spans(packets, at(0))) == [(0.0, 0.8, BOT)]


def test_a_long_silence_parts_two_speeches() -> None:
    packets = [*speech(0, 10), *steady(10, 70, None), *speech(70, 80)]
    assert rounded(heard_spans(packets, at(0))) == [(0.0, 0.2, BOT), (1.4, 1.6, BOT)]


def test_who_hears_nothing_has_no_spans() -> None:
    assert heard_spans([], at(0)) == []
    assert heard_spans(steady(0, 50, None), at(0)) == []


def test_a_phase_lasts_to_the_next_one_and_the_last_to_the_end() -> None:
    moments = [
        Moment(at(1), "handoff", "RINGING"),
        Moment(at(2), "bot", "handoff RINGING"),
        Moment(at(3), "handoff", "CONNECTED (CONNECTED)"),
    ]
    assert handoff_spans(moments, at(0), 5.0) == [
        Span(1.0, 3.0, "RINGING"),
        Span(3.0, 5.0, "CONNECTED"),
    ]


def test_a_call_without_a_handoff_has_no_phases() -> None:
    assert handoff_spans([Moment(at(1), "bot", "said hello")], at(0), 5.0) == []
