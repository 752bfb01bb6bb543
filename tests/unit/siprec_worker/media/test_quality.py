"""The E-model in short: known points of it, and what counts as heard."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from siprec_worker.media.model import TrackStats
from siprec_worker.media.quality import mos, quality, rating


@pytest.mark.parametrize(
    ("r_factor", "expected"),
    [(93.2, 4.41), (90, 4.34), (80, 4.03), (70, 3.60), (60, 3.10), (50, 2.58), (0, 1.0)],
)
def test_opinions_are_those_of_the_recommendation(r_factor: float, expected: float) -> None:
    assert mos(r_factor) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(("delay", "r_factor"), [(0, 93.2), (100, 90.8), (200, 85.9), (400, 59.1)])
def test_delay_costs_more_beyond_the_knee(delay: float, r_factor: float) -> None:
    assert rating(0, "PCMU", delay) == pytest.approx(r_factor, abs=0.1)


def test_loss_costs_less_where_it_is_concealed() -> None:
    assert rating(2, "PCMA", 0) == pytest.approx(93.2 - 95 * 2 / 6.3)
    assert rating(2, "opus", 0) == pytest.approx(93.2 - 95 * 2 / 27.1)


def test_what_was_made_up_for_is_not_lost() -> None:
    stats = TrackStats(packets=90, lost=10, recovered=10)
    found = quality(stats, "opus", 60)
    assert found is not None
    assert found.loss_percent == 0


def test_what_came_too_late_was_not_heard() -> None:
    found = quality(TrackStats(packets=100, lost=10, late=10), "PCMU", 60)
    assert found is not None
    assert found.loss_percent == 10


def test_before_the_first_packet_nothing_is_known() -> None:
    assert quality(TrackStats(), "PCMU", 60) is None


@given(st.floats(0, 100), st.floats(0, 10_000), st.sampled_from(["PCMU", "opus", "x"]))
def test_opinions_stay_on_the_scale(loss: float, delay: float, codec: str) -> None:
    assert 1 <= mos(rating(loss, codec, delay)) <= 4.5
