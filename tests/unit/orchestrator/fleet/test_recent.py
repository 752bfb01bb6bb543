"""The most recent keys."""

from __future__ import annotations

from orchestrator.fleet.recent import Recent


def test_the_oldest_is_pushed_out() -> None:
    recent: Recent[str, int] = Recent(2)
    for number, key in enumerate("abc"):
        recent.put(key, number)
    assert (recent.pop("a"), recent.pop("b"), recent.pop("c")) == (None, 1, 2)


def test_what_is_put_in_again_is_young_again() -> None:
    recent: Recent[str, int] = Recent(2)
    for key in "abac":
        recent.put(key, 1)
    assert recent.pop("b") is None
    assert len(recent) == 2
