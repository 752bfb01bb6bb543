"""The routing file: what it says, and what is wrong with it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator.errors import SetupError
from orchestrator.model import Endpoint, Extension, Fallback, Pattern, Queue, SipUri
from orchestrator.routing.table import RoutingTable, default_table, parse_table, parse_target

FILE = """
queue: support
queue_context: queues
default:
  targets: [PJSIP/alice, "extension:200@internal"]
  accept_key: 1
  ring_seconds: 20
  fallbacks: [next_target, return_to_bot]
rules:
  - name: dispute
    intents: [Dispute, chargeback]
    freeze: true
    priority: 9
    queue: fraud
  - name: urgent
    min_priority: 5
    pattern: dialplan
"""


def test_a_rule_takes_from_the_default_what_it_does_not_say() -> None:
    table = parse_table(FILE, RoutingTable())
    dispute = table.rules[0].treatment
    assert dispute.targets == (Endpoint("PJSIP/alice"), Extension("200", "internal"))
    assert (dispute.accept_key, dispute.limits.ring, dispute.queue) == ("1", 20, "fraud")
    assert dispute.fallbacks == (Fallback.NEXT_TARGET, Fallback.RETURN_TO_BOT)


def test_intents_fit_in_any_case() -> None:
    rule = parse_table(FILE, RoutingTable()).rules[0]
    assert rule.fits("DISPUTE", 0)
    assert not rule.fits("billing", 9)


def test_a_rule_without_intents_fits_by_priority() -> None:
    rule = parse_table(FILE, RoutingTable()).rules[1]
    assert rule.fits("billing", 5)
    assert not rule.fits("billing", 4)
    assert rule.treatment.pattern is Pattern.DIALPLAN


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("rules: [{intents: [a]}]", "rules[0].name"),
        ("rules: [{name: a, freeze: 1}]", "rules[0].freeze"),
        ("rules: {}", "routing.rules"),
        ("default: {pattern: refer}", "default.pattern"),
        ("default: {targets: [alice]}", "default.targets"),
        ("default: {accept_key: x}", "default.accept_key"),
        ("default: {fallbacks: [hope]}", "default.fallbacks"),
        ("default: {ring_seconds: -1}", "default.ring_seconds"),
        ("default: {colour: red}", "unknown colour"),
        ("surprise: 1", "unknown surprise"),
        ("[]", "a mapping is expected"),
        ("a: [", "routing"),
    ],
)
def test_a_mistake_is_named_by_its_place(text: str, where: str) -> None:
    with pytest.raises(SetupError) as error:
        parse_table(text, RoutingTable())
    assert where in str(error.value)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("queue:fraud", Queue("fraud")),
        ("extension:200", Extension("200")),
        ("extension:200@internal", Extension("200", "internal")),
        ("sip:bob@example.com", SipUri("sip:bob@example.com")),
        ("PJSIP/alice", Endpoint("PJSIP/alice")),
    ],
)
def test_targets_are_written_in_one_line(text: str, target: object) -> None:
    assert parse_target(text) == target


@given(st.text(max_size=200))
def test_any_text_is_a_table_or_a_setup_error(text: str) -> None:
    with contextlib.suppress(SetupError):
        assert isinstance(parse_table(text, RoutingTable()), RoutingTable)


def test_a_file_that_names_no_queue_leaves_it_as_the_command_line_has_it() -> None:
    usual = default_table([], queue="overflow", queue_context="callers", music="waltz")
    table = parse_table("rules: []", usual)
    assert (table.default.queue, table.queue_context, table.music) == (
        "overflow",
        "callers",
        "waltz",
    )
