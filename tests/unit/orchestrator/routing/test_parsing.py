"""The routes file: what it says, and what is wrong with it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from orchestrator.errors import SetupError
from orchestrator.model import Endpoint, Extension, Fallback, Pattern
from orchestrator.routing.keys import PARTS
from orchestrator.routing.parsing import default_table, parse_table
from orchestrator.routing.table import Choice, RoutingTable

FILE = """
version: 1
queue: support
queue_context: queues
default:
  targets: [PJSIP/alice, "extension:200@internal"]
  accept_key: 1
  ring_seconds: 20
  fallbacks: [next_target, return_to_bot]
rules:
  - name: dispute
    when: {intent: [Dispute, chargeback]}
    freeze: true
    priority: 9
    queue: fraud
  - name: urgent
    when: {priority: 5}
    pattern: dialplan
"""
EXAMPLE = Path(__file__).parents[4] / "deploy" / "routing.yaml"


def wrong(text: str | bytes) -> list[str]:
    with pytest.raises(SetupError) as error:
        parse_table(text, RoutingTable())
    return str(error.value).splitlines()


def test_a_rule_takes_from_the_default_what_it_does_not_say() -> None:
    table = parse_table(FILE, RoutingTable())
    dispute = table.usual("any").changed(table.rules[0].changes)
    assert dispute.targets == (Endpoint("PJSIP/alice"), Extension("200", "internal"))
    assert (dispute.accept_key, dispute.limits.ring, dispute.queue) == ("1", 20, "fraud")
    assert dispute.fallbacks == (Fallback.NEXT_TARGET, Fallback.RETURN_TO_BOT)
    assert table.rules[1].changes["pattern"] is Pattern.DIALPLAN


def test_a_file_that_names_no_queue_leaves_it_as_the_command_line_has_it() -> None:
    usual = default_table([], queue="overflow", queue_context="callers", music="waltz")
    table = parse_table("rules: []", usual)
    assert (table.default.queue, table.queue_context, table.music) == (
        "overflow",
        "callers",
        "waltz",
    )


def test_an_empty_file_has_no_rules() -> None:
    assert parse_table("", RoutingTable()) == parse_table("version: 1", RoutingTable())


def test_a_shipped_rule_is_taken_and_changed() -> None:
    (rule,) = parse_table("rules: [{use: dispute, priority: 3}]", RoutingTable()).rules
    assert (rule.name, rule.changes["priority"], rule.changes["freeze"]) == ("dispute", 3, True)
    assert rule.when.any is not None


def test_the_example_is_right_and_has_the_dispute_first() -> None:
    table = parse_table(EXAMPLE.read_bytes(), RoutingTable())
    assert table.rules[0].name == "dispute"
    assert isinstance(table.default.targets[1], Choice)


def test_json_is_yaml() -> None:
    text = '{"calendars": {"a": {"timezone": "UTC", "hours": {}, "holidays": ["2026-12-25"]}}}'
    assert len(parse_table(text, RoutingTable()).calendars["a"].holidays) == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rules: [{when: {}}]", "rules[0].name: missing"),
        ("version: 2", "version: found 2; allowed: 1"),
        ("rules: [{name: a, freeze: 1}]", "rules[0].freeze: found 1"),
        ("rules: {}", "rules: found {}; allowed: a valid list"),
        ("default: {pattern: auto}", "default.pattern: found 'auto'; allowed: 'attended'"),
        ("default: {targets: [alice]}", "default.targets[0].to: found 'alice'"),
        ("default: {accept_key: x}", "default.accept_key: found 'x'; allowed: one of 0-9"),
        ("default: {fallbacks: [hope]}", "default.fallbacks[0]: found 'hope'"),
        ("default: {ring_seconds: -1}", "default.ring_seconds: found -1; allowed: greater than 0"),
        ("default: {ring_seconds: .inf}", "default.ring_seconds: found inf"),
        ("default: {colour: red}", "default.colour: no such key; allowed: pattern, targets"),
        ("surprise: 1", "surprise: no such key; allowed: version, queue"),
        ("rules: [{name: a, intents: [b]}]", "rules[0].intents: no such key"),
        ("rules: [{name: a, when: {wehn: 1}}]", "rules[0].when.wehn: no such key; allowed: tenant"),
        (
            "rules: [{name: a, when: {any: [{slots: {b: {mni: 1}}}]}}]",
            "rules[0].when.any[0].slots.b.mni: no such key; allowed: equals, in, min, max",
        ),
        ("rules: [{name: a, when: {confidence: 7}}]", "rules[0].when.confidence: found 7"),
        ("rules: [{name: a, when: {language: [no]}}]", "booleans in YAML: quote them"),
        ("rules: [{name: a, when: {language: german}}]", ""),
        ("rules: [{name: a, when: {caller: 'tel:1'}}]", "rules[0].when.caller[0]: found 'tel:1'"),
        ("rules: [{name: a, when: {open: b}}]", "rules[0].when.open[0]: found 'b'; allowed: the"),
        ("rules: [{name: a}, {name: a}]", "rules[1].name: found 'a' for a second time"),
        ("rules: [{use: hope}]", "rules[0].use: found 'hope'; allowed: dispute"),
        ("queues: {a: {hours: b}}", "queues.a.hours: found 'b'"),
        ("calendars: {a: {timezone: Mars, hours: {}}}", "calendars.a.timezone: found 'Mars'"),
        ("calendars: {a: {timezone: UTC, hours: {mo: []}}}", "calendars.a.hours.mo"),
        ("calendars: {a: {timezone: UTC, hours: {mon: '9-5'}}}", "calendars.a.hours.mon[0]"),
        ("default: {briefing: '{slot.a} {password}'}", "{password} is not known"),
        ("default: {backup: 'queue:a'}", "default.backup: found 'queue:a'"),
        ("default: {voicemail: 2000}", "default.voicemail: found 2000"),
        ("[]", "the file: found []"),
        ("a: [", "line 1: expected"),
        ("queue: a\nqueue: b", "line 2: 'queue' is given twice"),
        (b"\xff\xfe\xff", "not readable as YAML"),
        ("a: &a [*a]", "endless aliases"),
        ("x: 2026-13-45", "not readable as YAML"),
        ("!!bool x", "not readable as YAML"),
        ("x" * 300_000, "larger than 256 KiB"),
    ],
)
def test_a_mistake_is_named_by_its_place_and_what_is_allowed(text: str | bytes, told: str) -> None:
    if told:
        assert any(told in line for line in wrong(text)), wrong(text)
    else:
        assert parse_table(text, RoutingTable())


def test_every_mistake_is_told_with_its_line() -> None:
    text = "queue: a\ndefault:\n  freeze: 1\nrules:\n  - name: x\n    when:\n      confidence: 2\n"
    assert [line.split(": ")[1] for line in wrong(text)] == ["line 3", "line 7"]


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200)))
def test_any_bytes_are_a_table_or_a_setup_error(text: bytes | str) -> None:
    with contextlib.suppress(SetupError):
        assert isinstance(parse_table(text, RoutingTable()), RoutingTable)


_KEYS = st.sampled_from([key for _, part in PARTS for key in part.model_fields] + ["mon", "in"])
_SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5))
_TREES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=4)),
    max_leaves=12,
)


@given(st.dictionaries(_KEYS, _TREES, max_size=4))
def test_any_tree_of_known_keys_is_a_table_or_a_setup_error(tree: dict[str, object]) -> None:
    with contextlib.suppress(SetupError):
        assert isinstance(parse_table(yaml.safe_dump(tree), RoutingTable()), RoutingTable)


# --- nodes without Stasis ---------------------------------------------------------------------


def test_where_nobody_comes_back_to_the_bot_that_is_not_the_only_way_out() -> None:
    text = """
rules:
  - name: billing
    fallbacks: [return_to_bot]
"""
    parse_table(text, RoutingTable())
    with pytest.raises(SetupError) as refused:
        parse_table(text, RoutingTable(), without_stasis=True)
    assert str(refused.value) == (
        "routes: line 4: rules[0].fallbacks: found return_to_bot alone, which is no way on "
        "--ami-nodes; name another, too"
    )
    another = text.replace("[return_to_bot]", "[return_to_bot, next_target]")
    parse_table(another, RoutingTable(), without_stasis=True)
