"""Who claims a call that is offered to all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from orchestrator.fleet.claims import LONGEST_SECONDS, patience

CALLS = st.integers(0, 100_000)


def test_an_idle_replica_claims_at_once() -> None:
    assert patience(0) == 0.0


@given(CALLS, CALLS)
def test_the_less_busy_one_is_never_slower(one: int, other: int) -> None:
    assert (patience(one) <= patience(other)) is (one <= other)


@given(CALLS)
def test_nobody_waits_until_the_offer_ends(calls: int) -> None:
    assert patience(calls) < LONGEST_SECONDS
