"""Which pods may go first, and how often that is said."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from orchestrator.cluster.costs import PAUSE_SECONDS, PER_ROUND, Costs, cost_of


@given(st.integers(0, 5000), st.integers(0, 5000))
def test_more_calls_never_cost_less(one: int, other: int) -> None:
    assert (one <= other) <= (cost_of(one) <= cost_of(other))


def test_an_idle_pod_alone_costs_nothing() -> None:
    assert [cost_of(n) for n in (0, 1, 9, 10, 11, 20, 21)] == [0, 1, 9, 10, 20, 20, 30]


def test_the_least_busy_are_written_first() -> None:
    assert Costs().due({"b": 300, "a": 0, "c": 12}, 0.0) == [("a", 0), ("c", 20), ("b", 300)]


def test_what_has_not_changed_is_not_written_again() -> None:
    costs = Costs()
    costs.wrote("a", 20, 0.0)
    assert costs.due({"a": 15}, 1000.0) == []


def test_a_change_waits_for_the_pause() -> None:
    costs = Costs()
    costs.wrote("a", 20, 0.0)
    assert costs.due({"a": 100}, PAUSE_SECONDS - 1) == []
    assert costs.due({"a": 100}, PAUSE_SECONDS) == [("a", 100)]


def test_a_round_writes_so_many_at_most() -> None:
    assert len(Costs().due({f"w{n}": n for n in range(500)}, 0.0)) == PER_ROUND


def test_a_pod_that_is_gone_is_forgotten() -> None:
    costs = Costs()
    costs.wrote("a", 0, 0.0)
    costs.keep(["b"])
    assert costs.due({"a": 0}, 1.0) == [("a", 0)]
