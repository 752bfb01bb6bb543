"""Which AI of a call that moved here goes on with what."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from siprec_worker.session.adoption import Adoption, Remainder
from siprec_worker.session.model import Resume

NOBODY: Any = None


def arrived(*urls: str) -> Any:
    """A call whose AIs have acknowledged nothing when the former worker gave it away."""
    return SimpleNamespace(
        agents=urls,
        resumes={place: Resume(f"token {place}", 0) for place in range(len(urls))},
        carry_on=lambda carried, now: None,
    )


def gone(call: Any, told: dict[str, list[Remainder]] | None) -> list[Resume]:
    Adoption(NOBODY, NOBODY, NOBODY, NOBODY).go(call, SimpleNamespace(ties={}), told, 0.0)  # type: ignore[arg-type]
    return [call.resumes[place] for place in sorted(call.resumes)]


def test_each_ai_goes_on_with_what_the_former_worker_says_of_it() -> None:
    told = {"grpc://b": [Remainder(7, (b"b",))], "grpc://a": [Remainder(5)]}
    resumes = gone(arrived("grpc://a", "grpc://b"), told)
    assert resumes == [Resume("token 0", 5), Resume("token 1", 7, (b"b",))]


def test_two_ais_at_one_address_do_not_take_each_others() -> None:
    told = {"grpc://a": [Remainder(5, (b"first",)), Remainder(7, (b"second",))]}
    resumes = gone(arrived("grpc://a", "grpc://a"), told)
    assert resumes == [Resume("token 0", 5, (b"first",)), Resume("token 1", 7, (b"second",))]


def test_of_whom_nothing_is_said_goes_on_where_it_was() -> None:
    assert gone(arrived("grpc://a"), None) == [Resume("token 0", 0)]
    assert gone(arrived("grpc://a"), {"grpc://b": [Remainder(7)]}) == [Resume("token 0", 0)]
