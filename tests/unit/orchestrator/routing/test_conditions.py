"""Each condition: what it wants, what it finds, and that what is not known is not met."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from orchestrator.model import (
    CallId,
    Context,
    Escalation,
    QueueState,
    Speaker,
    TranscriptLine,
)
from orchestrator.routing.parsing import parse_table
from orchestrator.routing.policy import Verdict, decide
from orchestrator.routing.situation import Situation
from orchestrator.routing.table import RoutingTable

MONDAY_TEN = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
CALENDARS = {"office": {"timezone": "UTC", "hours": {"mon-fri": "08:00-18:00"}}}


def checked(when: dict[str, Any], asked: dict[str, Any] | None = None, **situation: Any) -> Verdict:
    document = {
        "calendars": CALENDARS,
        "queues": {"support": {"hours": "office"}},
        "rules": [{"name": "it", "when": when}],
    }
    table = parse_table(json.dumps(document), RoutingTable())
    escalation = Escalation("r1", CallId("c1"), **(asked or {}))
    moment = situation.pop("now", MONDAY_TEN)
    return decide(escalation, table, Situation(now=moment, **situation)).verdicts[0]


def state(**known: Any) -> dict[str, QueueState]:
    return {"support": QueueState("support", **known)}


def slots(**values: object) -> dict[str, Any]:
    return {"context": Context(slots=values)}


@pytest.mark.parametrize(
    ("when", "asked", "fits"),
    [
        ({}, {}, True),
        ({"intent": "refund*"}, {"intent": "Refund-Partial"}, True),
        ({"intent": ["a", "b"]}, {"intent": "c"}, False),
        ({"intent": "*"}, {}, False),
        ({"confidence": 0.7}, {"confidence": 0.7}, True),
        ({"confidence": 0.7}, {"confidence": 0.69}, False),
        ({"confidence": 0}, {}, False),
        ({"language": ["en", "de"]}, {"language": "de-AT"}, True),
        ({"language": "*"}, {}, False),
        ({"priority": 3}, {"priority": 3}, True),
        ({"priority": 3}, {"priority": 2}, False),
        ({"slots": {"kind": "VISA"}}, slots(kind="visa"), True),
        ({"slots": {"kind": {"in": ["visa", 7]}}}, slots(kind=7.0), True),
        ({"slots": {"kind": {"in": ["visa", 7]}}}, slots(kind="amex"), False),
        ({"slots": {"amount": {"min": 100, "max": 200}}}, slots(amount="150.00"), True),
        ({"slots": {"amount": {"min": 100}}}, slots(amount=99.5), False),
        ({"slots": {"amount": {"min": 100}}}, slots(amount="much"), False),
        ({"slots": {"amount": {"min": 0}}}, slots(amount=True), False),
        ({"slots": {"amount": {"min": 0}}}, {}, False),
        ({"slots": {"vip": True}}, slots(vip=True), True),
        ({"slots": {"vip": True}}, slots(vip=1.0), False),
        ({"slots": {"vip": False}}, slots(vip=None), False),
        ({"sentiment": "angry"}, {"context": Context(sentiment="Angry")}, True),
        ({"words": "refund"}, {"context": Context(summary="Wants a refund.")}, True),
        ({"words": {"de": ["geld"]}}, {"reason": "Geld zurück", "language": "de"}, True),
        ({"words": {"de": ["geld"], "en": ["money"]}}, {"reason": "Geld", "language": "en"}, False),
        ({"any": [{"intent": "a"}, {"priority": 5}]}, {"priority": 5}, True),
        ({"any": [{"intent": "a"}, {"priority": 5}]}, {"priority": 4}, False),
        ({"any": [{"intent": "a", "priority": 5}]}, {"intent": "a"}, False),
        ({"none": [{"intent": "a"}, {"intent": "b"}]}, {"intent": "c"}, True),
        ({"none": [{"intent": "a"}, {"intent": "b"}]}, {"intent": "b"}, False),
    ],
)
def test_what_the_escalation_says(when: dict[str, Any], asked: dict[str, Any], fits: bool) -> None:
    assert checked(when, asked).fits is fits


@pytest.mark.parametrize(
    ("patterns", "caller", "fits"),
    [
        ("+4930*", "+493012345", True),
        ("+4930*", "0049 30 12345", True),
        ("+4930*", "+498912345", False),
        ("+493012345", "+49 (30) 123-45", True),
        ("+493012345", "+4930123456", False),
        ("anonymous", "", True),
        ("anonymous", "Anonymous", True),
        ("anonymous", "+4930", False),
        ("+49*", "", False),
    ],
)
def test_who_calls(patterns: str, caller: str, fits: bool) -> None:
    assert checked({"caller": patterns}, caller=caller).fits is fits


def test_whose_call_it_is() -> None:
    assert checked({"tenant": ["acme", "b*"]}, tenant="beta").fits
    assert not checked({"tenant": "acme"}, tenant="beta").fits


@pytest.mark.parametrize(
    ("when", "hour", "fits"),
    [
        ({"open": "office"}, 10, True),
        ({"open": "office"}, 19, False),
        ({"closed": "office"}, 19, True),
        ({"closed": "office"}, 10, False),
        ({"queue": {"support": {"open": True}}}, 10, True),
        ({"queue": {"support": {"open": True}}}, 19, False),
        ({"queue": {"support": {"open": False}}}, 19, True),
        ({"queue": {"another": {"open": True}}}, 19, True),
    ],
)
def test_opening_hours(when: dict[str, Any], hour: int, fits: bool) -> None:
    assert checked(when, now=MONDAY_TEN.replace(hour=hour)).fits is fits


@pytest.mark.parametrize(
    ("test", "known", "fits"),
    [
        ({"members": 1}, {"members": 1}, True),
        ({"members": 1}, {"members": 0}, False),
        ({"members": {"max": 0}}, {"members": 0}, True),
        ({"available": {"min": 1}}, {"available": 2}, True),
        ({"waiting": {"max": 3}}, {"waiting": 4}, False),
        ({"wait": {"max": 60}}, {"expected_wait": 59.5}, True),
        ({"members": 1, "waiting": {"max": 3}}, {"members": 1}, False),
        ({"waiting": {"max": 3}}, {}, False),
    ],
)
def test_the_state_of_a_queue(test: dict[str, Any], known: dict[str, Any], fits: bool) -> None:
    assert checked({"queue": {"support": test}}, queues=state(**known)).fits is fits


def test_a_queue_nobody_has_reported_is_told_as_not_known() -> None:
    (finding,) = checked({"queue": {"support": {"members": 1}}}).findings
    assert (finding.what, finding.wanted) == ("queue.support.members", "at least 1")
    assert (finding.found, finding.met) == ("not known", False)


def test_only_the_callers_last_lines_are_listened_to() -> None:
    def said(*lines: tuple[Speaker, str]) -> dict[str, Any]:
        return {"context": Context(transcript_tail=tuple(TranscriptLine(*line) for line in lines))}

    when = {"words": "chargeback"}
    assert checked(when, said((Speaker.CUSTOMER, "a chargeback"))).fits
    assert not checked(when, said((Speaker.BOT, "Is it a chargeback?"))).fits
    long_ago = [(Speaker.CUSTOMER, "chargeback")] + [(Speaker.CUSTOMER, "well")] * 6
    assert not checked(when, said(*long_ago)).fits


def test_every_condition_is_told_with_what_was_found() -> None:
    findings = checked({"intent": "a", "priority": 3}, {"intent": "a"}).findings
    assert [(each.what, each.found, each.met) for each in findings] == [
        ("intent", "a", True),
        ("priority", "0", False),
    ]
