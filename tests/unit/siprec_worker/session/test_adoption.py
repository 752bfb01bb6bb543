"""Which AI of a call that moved here goes on with what."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from siprec_worker.media.carried import Carried, Reached, Tie
from siprec_worker.protocol.sip.events import DialogState
from siprec_worker.session.adoption import Adoption, Remainder, Told
from siprec_worker.session.identity import Identity
from siprec_worker.session.model import CallId, Resume, SessionId
from siprec_worker.session.stored_fork import StoredFork, parse_stored_fork

NOBODY: Any = None


def arrived(*urls: str) -> Any:
    """A call whose AIs have acknowledged nothing when the former worker gave it away."""
    return SimpleNamespace(
        agents=urls,
        resumes={place: Resume(f"token {place}", 0) for place in range(len(urls))},
        carry_on=lambda carried, now: None,
    )


def gone(call: Any, agents: dict[str, list[Remainder]] | None) -> list[Resume]:
    told = None if agents is None else Told(agents)
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


@pytest.mark.parametrize(
    ("here", "told"),
    [
        (None, [("c1", "acme", "why")]),
        (SimpleNamespace(ended_reason="bye"), [("c1", "acme", "why")]),
        (SimpleNamespace(ended_reason=""), []),
    ],
)
def test_the_end_of_a_fork_is_told_unless_it_lives_here(
    here: object, told: list[tuple[str, str, str]]
) -> None:
    ends: list[tuple[str, str, str]] = []
    reporter = SimpleNamespace(fork_ended=lambda *said: ends.append(said))
    builder: Any = SimpleNamespace(around=SimpleNamespace(reporter=reporter))
    calls: Any = SimpleNamespace(by_dialog=lambda _: here)
    fork: Any = SimpleNamespace(
        dialog=SimpleNamespace(id="d"), identity=SimpleNamespace(call_id="c1", tenant="acme")
    )
    Adoption(NOBODY, calls, builder, NOBODY).missed(fork, "why")
    assert ends == told


def legs_after(told: Told | None, ties: dict[int, Tie]) -> dict[int, Carried]:
    """How each leg is gone on with."""
    legs: dict[int, Carried] = {}
    call = arrived()
    call.carry_on = lambda carried, now: legs.update(carried)
    Adoption(NOBODY, NOBODY, NOBODY, NOBODY).go(call, SimpleNamespace(ties=ties), told, 0.0)  # type: ignore[arg-type]
    return legs


def test_a_leg_goes_on_from_where_the_former_worker_says_that_it_came_to() -> None:
    given_away, last = Tie(1, 1600, 160), Tie(1, 3200, 1760)
    told = Told(legs={1: Reached(last, 20), 2: Reached(last, 30)})
    assert legs_after(told, {1: given_away}) == {
        1: Carried(last, None, Reached(last, 20)),
        2: Carried(last, None, Reached(last, 30)),  # it spoke for the first time while it moved
    }


def test_a_leg_of_a_worker_that_does_not_say_so_goes_on_by_its_tie() -> None:
    tie = Tie(1, 1600, 160)
    assert legs_after(Told(), {1: tie}) == {1: Carried(tie)}
    assert legs_after(None, {1: tie}) == {1: Carried(tie, since=160)}


def test_of_a_call_that_waits_for_its_former_worker_the_dialog_as_it_is_by_now_is_stored() -> None:
    before = DialogState(
        "a@b", "1", "2", "sip:a@b", "sip:a@b", "sip:a@b", (), 1, 1, "v=0\r\n",
        "tcp", "127.0.0.1", 5060,
    )  # fmt: skip
    identity = Identity(CallId("a"), "default", "in", "", "", "", {})
    fork = StoredFork(before, identity, SessionId("s"), 0.0, "", "", (), (), sdp_version=1)
    after = replace(before, local_cseq=102, local_sdp="v=0\r\no=- 1 2\r\n")
    side: Any = SimpleNamespace(dialog_state=lambda _: after)
    around = SimpleNamespace(wall=lambda: 1000.0)
    call: Any = SimpleNamespace(dialog_id="d", sdp_version=2, arrived=7.0, around=around)
    stored = Adoption(side, NOBODY, NOBODY, NOBODY).handed(call, fork, 7.5)
    assert parse_stored_fork(stored.encode()) == stored
    assert (stored.dialog, stored.sdp_version, stored.unsaid_from) == (after, 2, 999.5)
