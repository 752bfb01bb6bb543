"""Which rule wins, and that what explains is what decides."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from orchestrator.model import CallId, Context, Escalation, QueueState
from orchestrator.routing.explanation import as_json, told
from orchestrator.routing.parsing import parse_table
from orchestrator.routing.policy import decide, plan_for
from orchestrator.routing.situation import Situation, Subject
from orchestrator.routing.table import RoutingTable

INTENTS = ["refund", "billing", "dispute", ""]
LANGUAGES = ["en", "de", "de-CH", ""]

_leaf = st.fixed_dictionaries(
    {},
    optional={
        "intent": st.lists(st.sampled_from(["refund", "bill*", "dispute"]), min_size=1, max_size=2),
        "confidence": st.sampled_from([0, 0.5, 1]),
        "language": st.sampled_from(["en", "de", "de-CH", "*"]),
        "slots": st.sampled_from([{"n": {"min": 3}}, {"n": 1}, {"n": {"in": [1, 2]}}]),
        "tenant": st.sampled_from(["acme", "other"]),
        "caller": st.sampled_from(["+49*", "anonymous"]),
        "open": st.just("office"),
        "closed": st.just("office"),
        "queue": st.sampled_from([{"q": {"members": 1}}, {"q": {"waiting": {"max": 2}}}]),
        "sentiment": st.just("angry"),
        "priority": st.integers(0, 3),
        "words": st.just(["money"]),
    },
)
_groups = st.lists(_leaf, min_size=1, max_size=2)
_when = st.one_of(
    _leaf,
    st.builds(lambda leaf, groups: {**leaf, "any": groups}, _leaf, _groups),
    st.builds(lambda leaf, groups: {**leaf, "none": groups}, _leaf, _groups),
)


@st.composite
def tables(draw: st.DrawFn) -> RoutingTable:
    rules = draw(st.lists(_when, max_size=5))
    document = {
        "calendars": {"office": {"timezone": "Europe/Berlin", "hours": {"mon-fri": "08:00-18:00"}}},
        "default": {"targets": ["PJSIP/a", {"to": "PJSIP/b", "when": draw(_when)}]},
        "rules": [{"name": f"r{n}", "when": when} for n, when in enumerate(rules)],
    }
    return parse_table(json.dumps(document), RoutingTable())


escalations = st.builds(
    Escalation,
    request_id=st.just("r1"),
    call_id=st.just(CallId("c1")),
    reason=st.sampled_from(["", "wants money"]),
    intent=st.sampled_from(INTENTS),
    confidence=st.sampled_from([None, 0.0, 0.5, 1.0]),
    language=st.sampled_from(LANGUAGES),
    priority=st.integers(0, 3),
    context=st.builds(
        Context,
        slots=st.sampled_from([{}, {"n": 1.0}, {"n": "3"}, {"n": None}]),
        sentiment=st.sampled_from(["", "angry"]),
    ),
)
situations = st.builds(
    Situation,
    now=st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001
    tenant=st.sampled_from(["", "acme", "other"]),
    caller=st.sampled_from(["", "+4930", "0049 30", "+1"]),
    queues=st.sampled_from(
        [{}, {"q": QueueState("q", members=1)}, {"q": QueueState("q", 0, 0, 3)}]
    ),
)


@given(tables(), escalations, situations)
def test_the_explanation_names_the_winner_that_decides(
    table: RoutingTable, asked: Escalation, situation: Situation
) -> None:
    decision = decide(asked, table, situation)
    assert decision.plan == plan_for(asked, table, situation)
    document: Any = json.loads(json.dumps(as_json(decision)))
    assert document["rule"] == decision.plan.rule
    fitting = [rule["rule"] for rule in document["rules"] if rule["fits"]]
    assert fitting == ([] if decision.plan.rule == "default" else [decision.plan.rule])
    assert f"fits  {decision.plan.rule}" in told(decision)


@given(tables(), escalations, situations)
def test_the_first_rule_that_fits_wins(
    table: RoutingTable, asked: Escalation, situation: Situation
) -> None:
    subject = Subject(asked, situation, table.calendars, table.desks)
    fitting = [
        rule.name
        for rule in table.rules
        if all(finding.met for finding in rule.when.findings(subject))
    ]
    decision = decide(asked, table, situation)
    assert decision.plan.rule == (fitting[0] if fitting else "default")
    names = [rule.name for rule in table.rules]
    looked_at = names[: names.index(fitting[0]) + 1] if fitting else names
    assert [verdict.rule for verdict in decision.verdicts] == looked_at


@given(tables(), escalations, situations)
def test_every_rule_that_lost_says_what_it_missed(
    table: RoutingTable, asked: Escalation, situation: Situation
) -> None:
    for verdict in decide(asked, table, situation).verdicts:
        assert verdict.fits or any(not finding.met for finding in verdict.findings)


@given(tables(), escalations, situations)
def test_only_targets_whose_condition_fits_are_dialled(
    table: RoutingTable, asked: Escalation, situation: Situation
) -> None:
    decision = decide(asked, table, situation)
    assert decision.plan.targets == tuple(each.target for each in decision.targets if each.fits)


def test_it_is_told_in_lines() -> None:
    table = parse_table(
        "{default: {targets: [PJSIP/a]}, rules: [{name: vip, when: {intent: vip}}]}", RoutingTable()
    )
    lines = told(
        decide(Escalation("r1", CallId("c1"), intent="x"), table, Situation())
    ).splitlines()
    assert lines[:5] == [
        "not   vip",
        "      NO  intent: wanted vip, found x",
        "fits  default: no rule does",
        "",
        "rule         default",
    ]
    assert "targets      PJSIP/a" in lines
