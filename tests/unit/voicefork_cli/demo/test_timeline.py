"""The diary of a call."""

from __future__ import annotations

from voicefork_cli.demo.timeline import Moment, Timeline, spoken


def test_moments_are_sorted_by_time_and_told_as_they_become_known() -> None:
    told: list[str] = []
    timeline = Timeline(lambda moment: told.append(moment.text))
    timeline.add(2, "bot", "second")
    timeline.add(1, "caller", "first")
    assert told == ["second", "first"]
    assert [moment.text for moment in timeline.moments] == ["first", "second"]


def test_the_first_moment_of_a_party_is_found_by_its_beginning() -> None:
    timeline = Timeline()
    timeline.add(3, "bot", "said hello")
    timeline.add(1, "caller", "said hi")
    timeline.add(2, "bot", "said welcome")
    assert timeline.first("bot", "said") == Moment(2, "bot", "said welcome")
    assert timeline.first("agent", "said") is None


def test_for_json_times_count_from_a_zero() -> None:
    timeline = Timeline()
    timeline.add(1_500_000_000, "bot", "x")
    assert timeline.as_list(1_000_000_000) == [
        {"t": 0.5, "at_ns": 1_500_000_000, "who": "bot", "text": "x"}
    ]


def test_a_conversation_is_what_was_said_and_heard() -> None:
    moments = [Moment(1, "bot", "said hello"), Moment(2, "bot", "escalated x")]
    assert spoken([*moments, Moment(3, "bot", "heard hi")]) == ["bot: said hello", "bot: heard hi"]
