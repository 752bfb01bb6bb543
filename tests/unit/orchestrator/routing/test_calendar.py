"""Opening hours: local times, midnight, holidays, and the days when clocks change."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator.routing.calendar import Calendar, Window, parse_days, parse_window

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")


def calendar(hours: dict[str, list[str]], **more: object) -> Calendar:
    week = {
        day: [parse_window(text) for text in windows]
        for days, windows in hours.items()
        for day in parse_days(days)
    }
    return Calendar(BERLIN, week, **more)  # type: ignore[arg-type]


def berlin(text: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold)


OFFICE = calendar(
    {"mon-fri": ["08:00-12:00", "13:00-18:00"]}, holidays=frozenset([date(2026, 12, 25)])
)


@pytest.mark.parametrize(
    ("at", "is_open"),
    [
        ("2026-11-23T07:59:59", False),
        ("2026-11-23T08:00:00", True),
        ("2026-11-23T12:00:00", False),
        ("2026-11-23T17:59:59", True),
        ("2026-11-23T18:00:00", False),
        ("2026-11-22T10:00:00", False),  # Sunday
        ("2026-12-25T10:00:00", False),  # holiday, a Friday
    ],
)
def test_a_window_begins_with_its_start_and_ends_before_its_end(at: str, is_open: bool) -> None:
    assert OFFICE.is_open(berlin(at)) is is_open


def test_hours_are_local_whatever_zone_the_moment_is_in() -> None:
    assert OFFICE.is_open(datetime(2026, 7, 6, 6, 0, tzinfo=UTC))  # 08:00 in summer
    assert not OFFICE.is_open(datetime(2026, 11, 23, 6, 0, tzinfo=UTC))  # 07:00 in winter


def test_a_night_belongs_to_the_day_it_begins_on() -> None:
    friday = calendar({"fri": ["22:00-06:00"]})
    assert friday.is_open(berlin("2026-11-28T05:59"))  # Saturday morning
    assert not friday.is_open(berlin("2026-11-28T06:00"))
    assert not friday.is_open(berlin("2026-11-27T05:00"))


def test_a_holiday_takes_the_night_that_begins_on_it_and_leaves_the_one_that_ends_on_it() -> None:
    night = calendar({"daily": ["22:00-06:00"]}, holidays=frozenset([date(2026, 12, 25)]))
    assert night.is_open(berlin("2026-12-25T05:00"))
    assert not night.is_open(berlin("2026-12-25T23:00"))
    assert not night.is_open(berlin("2026-12-26T05:00"))
    assert night.is_open(berlin("2026-12-26T23:00"))


def test_special_days_have_their_own_times() -> None:
    eve = calendar({"daily": ["08:00-18:00"]}, special={date(2026, 12, 24): [Window(480, 720)]})
    assert eve.is_open(berlin("2026-12-24T11:59"))
    assert not eve.is_open(berlin("2026-12-24T12:00"))


def test_an_hour_that_the_clocks_repeat_is_open_twice() -> None:
    night = calendar({"sun": ["02:30-02:45"]})  # 2026-10-25: 02:00-03:00 comes twice
    assert night.is_open(berlin("2026-10-25T02:30"))
    assert night.is_open(berlin("2026-10-25T02:30", fold=1))
    assert not night.is_open(berlin("2026-10-25T02:50", fold=1))


def test_an_hour_that_the_clocks_skip_is_never_open() -> None:
    night = calendar({"sun": ["02:00-03:00"]})  # 2026-03-29: 02:00 is 03:00
    midnight = datetime(2026, 3, 28, 23, 0, tzinfo=UTC)
    assert not any(night.is_open(midnight + timedelta(minutes=minute)) for minute in range(300))


def test_a_night_across_the_change_of_clocks_is_open_throughout() -> None:
    night = calendar({"sat": ["22:00-06:00"]})
    for change in (datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 10, 24, tzinfo=UTC)):
        moments = [change + timedelta(minutes=minute) for minute in range(36 * 60)]
        opened = [moment.astimezone(BERLIN) for moment in moments if night.is_open(moment)]
        assert (opened[0].hour, opened[-1].hour, opened[-1].minute) == (22, 5, 59)
        steps = {
            late - early for early, late in pairwise(moment.astimezone(UTC) for moment in opened)
        }
        assert steps == {timedelta(minutes=1)}


minutes = st.integers(0, 1440)


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)),  # noqa: DTZ001 - made aware below
    st.lists(st.builds(Window, st.integers(0, 1439), minutes), min_size=1, max_size=3),
    st.sampled_from([BERLIN, NEW_YORK, ZoneInfo("UTC"), ZoneInfo("Asia/Kathmandu")]),
    st.integers(0, 6),
)
def test_open_is_what_counting_minutes_says(
    naive: datetime, windows: list[Window], zone: ZoneInfo, day: int
) -> None:
    """Another way to the same answer: minutes since the last such weekday's local midnight."""
    now = naive.replace(tzinfo=UTC)
    local = now.astimezone(zone)
    windows = [window for window in windows if window.start != window.end]
    elapsed = ((local.weekday() - day) % 7) * 1440 + local.hour * 60 + local.minute
    expected = any(
        window.start <= elapsed < window.end + (1440 if window.end <= window.start else 0)
        for window in windows
    )
    assert Calendar(zone, {day: windows}).is_open(now) is expected


@given(st.datetimes(timezones=st.timezones()))
def test_the_zone_of_the_moment_does_not_matter(moment: datetime) -> None:
    try:
        utc = moment.astimezone(UTC)
        utc.astimezone(BERLIN)
    except OverflowError:
        return
    if moment.astimezone(UTC).year in range(2, 9998):
        assert OFFICE.is_open(moment) is OFFICE.is_open(utc)


def test_the_whole_day_is_open_to_its_last_minute() -> None:
    always = calendar({"daily": ["00:00-24:00"]})
    assert always.is_open(berlin("2026-11-23T23:59"))
    assert always.is_open(berlin("2026-11-23T00:00"))


@pytest.mark.parametrize("text", ["9-17", "09:00", "09:00-09:00", "24:00-08:00", "08:00-25:00", ""])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="HH:MM-HH:MM"):
        parse_window(text)


def test_spans_of_days_go_over_the_weekend() -> None:
    assert parse_days("sat-mon") == (5, 6, 0)
    assert parse_days("daily") == (0, 1, 2, 3, 4, 5, 6)
    with pytest.raises(ValueError, match="no day"):
        parse_days("Monday")
