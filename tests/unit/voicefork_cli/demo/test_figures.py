"""The demo's table: what it measures, and what it calls good."""

from __future__ import annotations

import pytest
from voicefork.handoff.v1 import handoff_pb2
from voicefork_cli.demo.figures import dispute_figures, question_figures
from voicefork_cli.demo.question import Question
from voicefork_cli.demo.rows import Figure, milliseconds, since, steady_tone_from
from voicefork_cli.measure.packets import Packet

from tests.unit.voicefork_cli.demo.made import AGENT, MUSIC, dispute, handed_over, speech, vowel
from tests.unit.voicefork_cli.measure.made import at, packet, steady

CONNECTED = handoff_pb2.OUTCOME_CONNECTED


def tabled(figures: list[Figure]) -> dict[str, Figure]:
    return {figure.name.strip(): figure for figure in figures}


def talk() -> list[Packet]:
    """An agent who goes on talking instead of falling silent after a second."""
    return [*handed_over()[:100], *steady(100, 250, AGENT)]


def test_music_is_heard_where_it_begins_to_be_steady() -> None:
    assert steady_tone_from(handed_over(), MUSIC, at(0)) == at(1.0)
    assert steady_tone_from(handed_over(), AGENT, at(0)) == at(2.0)


def test_a_voice_at_the_tones_frequency_is_not_the_tone() -> None:
    assert steady_tone_from(speech(0, 100), MUSIC, at(0)) is None


def test_less_than_100_ms_of_a_tone_is_not_heard() -> None:
    packets = [*speech(0, 10), *steady(10, 14, MUSIC), *speech(14, 30)]
    assert steady_tone_from(packets, MUSIC, at(0)) is None


def test_a_tone_that_began_before_the_moment_is_heard_from_the_moment_on() -> None:
    assert steady_tone_from(steady(0, 50, MUSIC), MUSIC, at(0.5)) == at(0.5)


def test_a_vowel_shares_its_power_with_its_overtones() -> None:
    assert steady_tone_from([packet(i, vowel(i)) for i in range(9)], MUSIC, 0) is None


def test_a_moment_that_was_not_has_no_time() -> None:
    assert since(None, at(0)) is None
    assert since(at(0), None) is None
    assert milliseconds(None) == "-"
    assert milliseconds(since(at(1.5), at(0))) == "1500 ms"


def test_a_handoff_without_a_gap_is_good_in_every_figure() -> None:
    table = tabled(dispute_figures(talk(), dispute(), CONNECTED))
    assert table["escalation -> hold music heard"].value == "1000 ms"
    assert table["of it after the bot's last word"].value == "20 ms"
    assert table["agent answered -> caller hears agent"].value == "100 ms"
    assert table["dead air during the whole handoff"].value == "0 ms (missing 0 + silent 0)"
    assert table["context published before the merge by"].value == "1900 ms"
    assert table["connected -> agent hears caller"].value == "40 ms"
    assert all(figure.good is not False for figure in table.values())


def bad(figures: list[Figure]) -> list[str]:
    return [figure.name.strip() for figure in figures if figure.good is False]


def test_a_caller_who_never_hears_the_agent_is_not_connected() -> None:
    music = [*speech(0, 50), *steady(50, 250, MUSIC)]
    assert bad(dispute_figures(music, dispute(), CONNECTED)) == [
        "agent answered -> caller hears agent",
        "context published before the merge by",
    ]


def test_an_agent_who_never_hears_the_caller_is_not_good() -> None:
    alone = dispute(agent_heard=tuple(steady(100, 250, None)))
    assert bad(dispute_figures(talk(), alone, CONNECTED)) == ["connected -> agent hears caller"]


def test_a_caller_who_hears_no_music_is_not_held() -> None:
    bot = [*speech(0, 100), *steady(100, 250, AGENT)]
    assert bad(dispute_figures(bot, dispute(), CONNECTED)) == ["escalation -> hold music heard"]


def test_what_the_control_call_misses_is_not_the_handoffs_fault() -> None:
    hole = range(60, 64)  # 100 ms without a packet
    loaded = [p for n, p in enumerate(talk()) if n not in hole]
    control = tuple(p for n, p in enumerate(steady(0, 250, MUSIC)) if n not in hole)
    witnessed = dispute(silent_ms=100, control=control)
    figures = dispute_figures(loaded, witnessed, CONNECTED)
    assert bad(figures) == []
    assert tabled(figures)["missing in a call without a handoff"].value == "100 ms"


def test_a_control_call_that_hears_nothing_excuses_nothing() -> None:
    holes = [p for p in talk() if not at(1.2) < p.arrival_ns < at(1.4)]
    deaf = dispute(silent_ms=200, control=())
    assert bad(dispute_figures(holes, deaf, CONNECTED)) == ["missing in a call without a handoff"]


def test_dead_air_is_not_good() -> None:
    holes = [p for p in talk() if not at(1.2) < p.arrival_ns < at(1.4)]
    table = tabled(dispute_figures(holes, dispute(), CONNECTED))
    assert table["dead air during the whole handoff"].value == "200 ms (missing 200 + silent 0)"
    assert table["dead air during the whole handoff"].good is False


def test_a_witness_that_tells_another_story_is_not_good() -> None:
    table = tabled(dispute_figures(talk(), dispute(silent_ms=21), CONNECTED))
    assert table["witness against caller's own count"].good is False


def test_a_context_that_comes_after_the_voice_is_not_good() -> None:
    late = dispute(context_ns=at(2.5))
    assert tabled(dispute_figures(talk(), late, CONNECTED))[
        "context published before the merge by"
    ].good is False  # fmt: skip


def test_words_that_were_not_understood_are_not_good() -> None:
    table = tabled(dispute_figures(talk(), dispute(recognised=("hello",)), CONNECTED))
    assert table["words recognised by the AI"].good is False


@pytest.mark.parametrize(
    ("expected", "good"), [(handoff_pb2.OUTCOME_QUEUED, True), (CONNECTED, False)]
)
def test_a_way_out_is_good_where_it_is_expected(
    expected: handoff_pb2.Outcome.ValueType, good: bool
) -> None:
    queued = dispute(handoff_pb2.PHASE_QUEUED, handoff_pb2.OUTCOME_QUEUED)
    music = [*speech(0, 50), *steady(50, 250, MUSIC)]
    table = tabled(dispute_figures(music, queued, expected))
    assert table["outcome"].value == "QUEUED"
    assert table["outcome"].good is good
    assert "agent answered -> caller hears agent" not in table
    assert "context published before the music by" in table


def test_a_question_that_is_answered_is_good() -> None:
    call = Question(
        answered_ns=at(0),
        ended_ns=at(1),
        expected="hours",
        recognised=["opening hours"],
        answer="From nine to five.",
        asked_until_ns=at(0.2),
        greeted_ns=at(0),
        control=tuple(speech(0, 50)),
        answer_heard_ns=at(0.7),
    )
    table = tabled(question_figures(speech(0, 50), call))
    assert table["packets received"].value == "50 of 50"
    assert table["question's end -> answer heard"].value == "500 ms"
    assert all(figure.good is not False for figure in table.values())


def test_an_answer_that_begins_before_the_questions_end_says_so() -> None:
    call = Question(
        at(0), at(1), "hours", ["hours"], "Nine.", at(0.7), at(0), tuple(speech(0, 50)), at(0.5)
    )
    figure = tabled(question_figures(speech(0, 50), call))["question's end -> answer heard"]
    assert (figure.value, figure.good) == ("200 ms before it", True)


def test_a_question_without_an_answer_is_not_good() -> None:
    call = Question(at(0), at(1), "hours", [], "", None, at(0), tuple(speech(0, 50)), None)
    table = tabled(question_figures(steady(0, 50, None), call))
    assert bad(list(table.values())) == [
        "first audio after 200 OK",
        "silent until the bot has greeted",
        "words recognised by the AI",
        "the bot's answer",
        "question's end -> answer heard",
    ]
