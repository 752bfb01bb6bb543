"""What an operator sees of handoffs on /metrics."""

from __future__ import annotations

from orchestrator.handoff.observation import measured
from orchestrator.model import Timing
from orchestrator.telemetry import HANDOFF_TIMES, Metrics
from prometheus_client import generate_latest


def test_outcomes_are_counted_by_pattern() -> None:
    metrics = Metrics()
    metrics.ended("busy", "attended")
    line = 'voicefork_handoffs_ended_total{outcome="busy",pattern="attended"} 1.0'
    assert line in generate_latest(metrics.registry).decode()


def test_dead_air_of_nothing_is_told_from_a_little() -> None:
    metrics = Metrics()
    metrics.took("dead_air", 0)
    metrics.took("dead_air", 20)
    text = generate_latest(metrics.registry).decode()
    assert 'voicefork_handoff_dead_air_seconds_bucket{le="0.0"} 1.0' in text
    assert 'voicefork_handoff_dead_air_seconds_bucket{le="0.02"} 2.0' in text


def test_everything_measured_has_its_histogram() -> None:
    timing = Timing(
        request_to_hold_ms=1, ring_ms=1, merge_ms=1, silent_ms=0, missing_ms=0, context_lead_ms=1,
        say_first_to_hold_ms=1, longest_gap_ms=1,
    )  # fmt: skip
    assert set(measured(timing)) == set(HANDOFF_TIMES) - {"escalate_ack"}


def test_what_is_not_known_is_not_measured() -> None:
    assert measured(Timing(silent_ms=3)) == {}
