"""Numbers of callers, for the routes."""

from __future__ import annotations

from orchestrator.app.callers import Callers


def test_a_number_is_known_until_the_channel_is_gone() -> None:
    callers = Callers()
    callers.note("1.1", "+4930")
    assert callers.number("1.1") == "+4930"
    callers.forget("1.1")
    assert callers.number("1.1") == ""


def test_a_withheld_number_takes_no_room() -> None:
    callers = Callers()
    callers.note("1.1", "")
    assert len(callers) == 0


def test_the_oldest_go_when_there_are_too_many() -> None:
    callers = Callers(most=2)
    for channel in ("1", "2", "3"):
        callers.note(channel, "+1")
    assert [callers.number(channel) for channel in ("1", "2", "3")] == ["", "+1", "+1"]
