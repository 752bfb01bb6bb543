"""What the handoff bench makes of its handoffs."""

from __future__ import annotations

import pytest
from voicefork_cli.sim.errors import SimError

from bench.handoff_calls import Handed
from bench.handoff_figures import Tally, compared, failure_bound, mains, misses, percentile
from bench.handoff_ways import Pattern


def handed(hold: float = 25.0, answer: float = 19.0, merge: float | None = 5.0) -> Handed:
    return Handed(
        3.0, hold, 0, missing_ms=0.0, longest_gap_ms=25.0, answer_heard_ms=answer, merge_ms=merge
    )


def full(hold: float = 25.0) -> dict[Pattern, Tally]:
    return {pattern: Tally([handed(hold)] * 4) for pattern in Pattern}


def test_a_percentile_is_a_value_that_was_measured() -> None:
    assert [percentile([1.0, 2.0, 3.0, 40.0], n) for n in (50, 95, 99)] == [2.0, 40.0, 40.0]
    assert percentile([], 50) is None


def test_a_thousand_without_a_failure_bound_the_rate_by_three_in_a_thousand() -> None:
    bound = failure_bound(1000, 0)
    assert bound is not None
    assert bound == pytest.approx(0.00299, abs=1e-5)


def test_a_failure_widens_the_bound() -> None:
    assert failure_bound(1000, 1) == pytest.approx(0.00473, abs=1e-5)
    assert failure_bound(0, 0) is None


def test_a_failure_keeps_its_reason_and_how_far_the_handoff_was() -> None:
    tally = Tally([handed()])
    error = SimError("silence instead of music")
    error.add_note("the handoff is DIALLING (UNSPECIFIED)")
    tally.failed(error)
    tally.failed(TimeoutError())
    assert tally.figures("X")["failures"] == {
        "SimError: silence instead of music [the handoff is DIALLING (UNSPECIFIED)]": 1,
        "TimeoutError: ": 1,
    }


def test_a_run_that_meets_every_aim_misses_none() -> None:
    assert misses(compared(full())) == []


def test_what_misses_its_aim_is_named() -> None:
    tallies = full()
    tallies[Pattern.REFER] = Tally([handed(hold=120.0)])
    tallies[Pattern.DIALPLAN].failures.append("SimError: gone")
    assert misses(compared(tallies)) == [
        "DIALPLAN: failed 1, aim 0",
        "REFER: hold_heard_ms_p50 120, aim 40",
        "REFER: hold_heard_ms_p99 120, aim 100",
    ]


def test_more_than_one_and_a_half_times_the_bare_script_is_a_miss() -> None:
    tallies = {**full(38.0), Pattern.BARE: Tally([handed(20.0)])}
    assert misses(compared(tallies)) == ["bare_ari_ratio 1.9, aim 1.5"]


def test_without_the_bare_script_there_is_no_ratio() -> None:
    tallies = {**full(), Pattern.BARE: Tally(failures=["SimError: gone"])}
    assert misses(compared(tallies)) == ["bare_ari_ratio None, aim 1.5"]


def test_a_failure_among_the_many_is_a_miss_too() -> None:
    figures = compared(full())
    figures["main"] = mains(Tally([handed()] * 9, ["SimError: gone"]))
    assert misses(figures) == ["ATTENDED: failed 1, aim 0"]
