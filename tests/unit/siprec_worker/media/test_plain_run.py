"""A run of plain packets leaves behind what the long way would have counted."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from siprec_worker.media.model import AudioChunk, TrackStats
from siprec_worker.media.track import Track

from tests.builders.listening import Call
from tests.builders.rtp import rtp

PACKETS = 120


def arrivals(seed: int) -> list[list[int]]:
    """Packets by tick: mostly one, now and then none and then two, lost or out of order."""
    chance = random.Random(seed)
    ticks: list[list[int]] = []
    waiting: list[int] = []
    for number in range(1, PACKETS):
        if chance.random() < 0.05:
            continue
        waiting.append(number)
        if chance.random() < 0.1:  # held up for a tick, or for long
            ticks += [[]] * (1 if chance.random() < 0.9 else 40)
            continue
        if chance.random() < 0.03:  # a burst: time does not pass
            continue
        if chance.random() < 0.1:
            waiting.reverse()
        ticks.append(waiting)
        waiting = []
    return ticks


def heard(seed: int) -> tuple[list[object], list[TrackStats]]:
    call = Call()
    out: list[object] = []
    stats: list[TrackStats] = []
    for numbers in arrivals(seed):
        out += call.tick(*(rtp(number) for number in numbers))
        stats += call.audio.stats().values()
    out += call.idle(10)
    return out, stats


@given(st.integers(0, 10_000))
def test_the_short_way_hears_and_counts_what_the_long_way_does(seed: int) -> None:
    short = heard(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Track, "_begin_run", lambda self: None)
        long = heard(seed)
    assert short[0] == long[0]
    for quick, slow in zip(short[1], long[1], strict=True):
        assert quick.jitter_ms == pytest.approx(slow.jitter_ms)
        assert (quick.packets, quick.lost, quick.late, quick.duplicates) == (
            slow.packets,
            slow.lost,
            slow.late,
            slow.duplicates,
        )


def test_asking_in_the_middle_of_a_run_changes_nothing() -> None:
    call = Call()
    out: list[object] = []
    for number in range(1, PACKETS):
        out += call.tick(rtp(number))
        assert sum(stats.packets for stats in call.audio.stats().values()) == number
    assert len([item for item in out if isinstance(item, AudioChunk)]) == PACKETS - 1
