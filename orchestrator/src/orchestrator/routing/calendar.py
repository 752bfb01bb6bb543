"""Opening hours: a week of local times, holidays, and days with times of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WHOLE_DAY = 24 * 60
_HOUR = 60


@dataclass(frozen=True, slots=True)
class Window:
    """Minutes since local midnight, [start, end). An end before the start is on the next day."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Calendar:
    """Hours are local times of `zone`: on the days when clocks change they stay what they say."""

    zone: ZoneInfo
    week: Mapping[int, Sequence[Window]] = field(default_factory=dict)  # by weekday, 0 = Monday
    holidays: frozenset[date] = frozenset()  # closed
    special: Mapping[date, Sequence[Window]] = field(default_factory=dict)  # instead of the week's

    def is_open(self, now: datetime) -> bool:
        """`now` must be aware. A window past midnight belongs to the day it begins on."""
        local = now.astimezone(self.zone)
        today, minute = local.date(), local.hour * _HOUR + local.minute
        return any(
            window.start <= minute < (window.end if window.end > window.start else _WHOLE_DAY)
            for window in self.windows(today)
        ) or any(
            window.end <= window.start and minute < window.end
            for window in self.windows(today - timedelta(days=1))
        )

    def windows(self, day: date) -> Sequence[Window]:
        """Of the windows that begin on this day."""
        if day in self.special:
            return self.special[day]
        if day in self.holidays:
            return ()
        return self.week.get(day.weekday(), ())


def parse_days(text: str) -> tuple[int, ...]:
    """mon, mon-fri, sat-mon, daily: weekdays, 0 = Monday. Raises ValueError."""
    if text == "daily":
        return tuple(range(7))
    first, dash, last = text.partition("-")
    if first not in DAYS or (dash and last not in DAYS):
        raise ValueError(f"{text!r} is no day: mon to sun, a span such as mon-fri, or daily")
    start = DAYS.index(first)
    length = (DAYS.index(last) - start) % 7 if dash else 0
    return tuple((start + step) % 7 for step in range(length + 1))


def parse_window(text: str) -> Window:
    """HH:MM-HH:MM; 24:00 ends a day. Raises ValueError."""
    start, _, end = text.partition("-")
    window = Window(_minute(start, text), _minute(end, text))
    if window.start in {window.end, _WHOLE_DAY}:
        raise ValueError(f"{text!r} is an empty time: HH:MM-HH:MM, the whole day is 00:00-24:00")
    return window


def _minute(text: str, whole: str) -> int:
    if text.strip() == "24:00":
        return _WHOLE_DAY
    try:
        at = time.fromisoformat(text.strip())
    except ValueError:
        at = None
    if at is None or at.second or at.microsecond or at.tzinfo is not None:
        raise ValueError(f"{whole!r} is no time: HH:MM-HH:MM")
    return at.hour * _HOUR + at.minute
