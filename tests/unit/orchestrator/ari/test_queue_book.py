"""Queues as AMI tells of them."""

from __future__ import annotations

import pytest
from orchestrator.ari.ami_wire import AmiMessage
from orchestrator.ari.queue_book import QueueBook
from orchestrator.ari.queue_states import pattern_matches
from orchestrator.model import QueueState

NOT_IN_USE, IN_USE, UNAVAILABLE = "1", "2", "5"


def row(event: str, queue: str = "support", **fields: str) -> AmiMessage:
    return AmiMessage((("Event", event), ("Queue", queue), *fields.items()))


def params(**fields: str) -> AmiMessage:
    return row("QueueParams", **{"Calls": "0", "Holdtime": "0", **fields})


def member(name: str, status: str = NOT_IN_USE, paused: str = "0") -> AmiMessage:
    return row("QueueMember", Location=name, Status=status, Paused=paused)


def told(name: str, status: str = NOT_IN_USE, paused: str = "0") -> AmiMessage:
    return row("QueueMemberStatus", Interface=name, Status=status, Paused=paused)


def book(*rows: AmiMessage) -> QueueBook:
    made = QueueBook()
    made.replace((params(), *rows))
    return made


def support(book: QueueBook) -> QueueState:
    return book.snapshot()["support"]


def test_before_the_first_look_no_queue_is_known() -> None:
    assert QueueBook().snapshot() == {}


def test_a_paused_or_busy_member_is_logged_in_and_not_available() -> None:
    found = support(book(member("a"), member("b", IN_USE), member("c", paused="1")))
    assert (found.members, found.available) == (3, 1)


def test_a_member_whose_phone_is_not_registered_is_not_logged_in() -> None:
    assert support(book(member("a", UNAVAILABLE))).members == 0


def test_a_member_is_the_same_in_the_list_and_in_events() -> None:
    kept = book(member("a"))
    kept.heard(told("a", IN_USE))
    assert (support(kept).members, support(kept).available) == (1, 0)


def test_a_member_who_leaves_is_gone() -> None:
    kept = book(member("a"))
    kept.heard(row("QueueMemberRemoved", Interface="a"))
    assert support(kept).members == 0


def test_callers_are_counted_as_they_join_and_leave_and_not_when_they_are_said_to_abandon() -> None:
    kept = book()
    kept.heard(row("QueueCallerJoin", Count="1"))
    kept.heard(row("QueueCallerAbandon", Position="1"))
    assert support(kept).waiting == 1
    kept.heard(row("QueueCallerLeave", Count="0"))
    assert support(kept).waiting == 0


def test_with_an_agent_to_spare_nobody_waits() -> None:
    assert support(book(member("a"))).expected_wait == 0.0


def test_with_none_to_spare_one_waits_as_long_as_others_did() -> None:
    made = QueueBook()
    made.replace((params(Holdtime="40", Calls="2"), member("a")))
    assert support(made).expected_wait == 40.0


def test_how_long_one_waits_is_not_known_where_nobody_has_waited() -> None:
    assert support(book()).expected_wait is None


def test_a_lost_connection_leaves_names_of_which_nothing_is_known() -> None:
    kept = book(member("a"))
    kept.lost()
    assert support(kept) == QueueState("support")


@pytest.mark.parametrize(
    ("pattern", "extension", "fits"),
    [
        ("[a-zA-Z0-9][a-zA-Z0-9]!", "support", True),
        ("[a-zA-Z0-9][a-zA-Z0-9]!", "s", False),
        ("[+0-9]!", "+14155550100", True),
        ("NXX", "234", True),
        ("NXX", "134", False),
        ("NXX", "2345", False),
        ("9.", "9", False),
        ("9.", "911", True),
        ("XXX!", "123", True),
    ],
)
def test_extensions_fit_asterisks_patterns(pattern: str, extension: str, fits: bool) -> None:
    assert pattern_matches(pattern, extension) is fits
