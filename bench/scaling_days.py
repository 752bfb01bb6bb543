"""Two days of calls for bench/scaling.py: when calls come, and how long they last."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

HOUR = 3600.0
DAY = 24 * HOUR
MEAN_SECONDS, SPREAD, LONGEST_SECONDS = 240.0, 1.0, 3600.0

Rate = Callable[[float], float]


class Call(NamedTuple):
    """Seconds of the day; how long it lasts where it is taken."""

    at: float
    seconds: float


class Day(NamedTuple):
    """`rate(t)`: calls a second; `highest`: its maximum."""

    name: str
    rate: Rate
    highest: float


def diurnal(peak_calls: float) -> Day:
    """A business day: a tenth at night, a peak in the morning and a lower one in the afternoon."""
    highest = peak_calls / MEAN_SECONDS

    def rate(at: float) -> float:
        hour = at / HOUR
        morning = math.exp(-(((hour - 10.5) / 2.2) ** 2))
        afternoon = 0.8 * math.exp(-(((hour - 15.5) / 2.4) ** 2))
        return highest * min(0.1 + 0.9 * (morning + afternoon), 1.0)

    return Day("diurnal", rate, highest)


def flash_crowd(peak_calls: float) -> Day:
    """A quiet day; at ten o'clock everybody calls within a minute, for a quarter hour."""
    highest = peak_calls / MEAN_SECONDS
    begin, rise, stay, fall = 10 * HOUR, 60.0, 900.0, 1200.0

    def rate(at: float) -> float:
        since = at - begin
        if since < 0:
            share = 0.0
        elif since < rise:
            share = since / rise
        else:
            share = math.exp(-max(since - rise - stay, 0.0) / fall)
        return highest * (0.15 + 0.85 * share)

    return Day("flash crowd", rate, highest)


def calls_of(day: Day, seed: int, seconds: float = DAY) -> Sequence[Call]:
    """The same calls for the same seed: a Poisson process, thinned; lognormal durations."""
    return list(_calls(day, random.Random(seed), seconds))


def _calls(day: Day, chance: random.Random, seconds: float) -> Iterator[Call]:
    at = 0.0
    scale = math.log(MEAN_SECONDS) - SPREAD**2 / 2
    while (at := at + chance.expovariate(day.highest)) < seconds:
        if chance.random() * day.highest < day.rate(at):
            yield Call(at, min(chance.lognormvariate(scale, SPREAD), LONGEST_SECONDS))
