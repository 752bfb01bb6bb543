"""Names that are remembered for a while."""

from __future__ import annotations

from orchestrator.ari.recent import Recent


def test_the_one_that_came_first_is_forgotten_first() -> None:
    recent = Recent(most=2)
    for name in ("a", "b", "a", "c"):
        recent.add(name)
    assert [name in recent for name in ("a", "b", "c")] == [False, True, True]


def test_what_is_discarded_or_cleared_is_not_in_it() -> None:
    recent = Recent()
    for name in ("a", "b", "c"):
        recent.add(name)
    recent.discard("a")
    recent.discard("nobody")
    assert ("a" in recent, "b" in recent) == (False, True)
    recent.clear()
    assert "b" not in recent
