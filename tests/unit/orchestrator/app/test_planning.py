"""What an escalation is decided with, and what is recorded of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from orchestrator.app.planning import NoQueueStates, Planner, Whose
from orchestrator.bus.audit import AuditEntry, write_entry
from orchestrator.model import CallId, Context, Escalation, Pattern, QueueState, SipUri
from orchestrator.routing.parsing import parse_table
from orchestrator.routing.policy import DestinationRefused
from orchestrator.routing.situation import QueueStates
from orchestrator.routing.table import RoutingTable

from tests.fakes.handoff_ports import Counts

FILE = """
calendars: {night: {timezone: Europe/Berlin, hours: {daily: "22:00-06:00"}}}
rules:
  - {use: dispute, queue: fraud}
  - {name: regular, when: {tenant: acme, caller: +4930*}}
  - {name: free, when: {queue: {support: {available: 1}}}}
  - {name: night, when: {open: night}}
"""
MIDNIGHT_IN_BERLIN = 1795388400.0  # 2026-11-22T23:00Z
NOON = MIDNIGHT_IN_BERLIN - 12 * 3600


class Queues:
    def snapshot(self) -> Mapping[str, QueueState]:
        return {"support": QueueState("support", available=1)}


class Desk:
    """A planner, and what it recorded."""

    def __init__(
        self, whose: Whose | None = None, queues: QueueStates | None = None, at: float = NOON
    ) -> None:
        self.table = parse_table(FILE, RoutingTable())
        self.entries: list[AuditEntry] = []
        self.counts = Counts()
        self.plan = Planner(
            table=lambda: self.table,
            whose=lambda _: whose or Whose("default"),
            queues=queues or NoQueueStates(),
            audit=self.entries.append,
            tally=self.counts,
            now=lambda: at,
        )


def asked(**changes: Any) -> Escalation:
    return Escalation("r1", CallId("call-1"), **changes)


def test_the_caller_and_the_tenant_are_those_of_the_call() -> None:
    assert Desk(Whose("acme", "+493012345")).plan(asked()).rule == "regular"
    assert Desk(Whose("other", "+493012345")).plan(asked()).rule == "default"


def test_the_queues_are_as_they_were_last_seen() -> None:
    assert Desk(queues=Queues()).plan(asked()).rule == "free"
    assert Desk().plan(asked()).rule == "default"


def test_the_time_is_that_of_the_clock() -> None:
    assert Desk(at=MIDNIGHT_IN_BERLIN).plan(asked()).rule == "night"


def test_new_routes_are_used_from_the_next_escalation_on() -> None:
    desk = Desk()
    desk.table = parse_table("rules: [{name: new}]", RoutingTable())
    assert desk.plan(asked()).rule == "new"


def test_a_dispute_is_audited_without_what_the_caller_said() -> None:
    desk = Desk(Whose("acme", "+4930555"))
    context = Context(summary="my secret", slots={"account": "4092"}, customer_reference="C-77")
    plan = desk.plan(asked(intent="dispute", reason="so private", context=context))
    assert plan.audit
    (entry,) = desk.entries
    assert (entry.kind, entry.rule, entry.call_id) == ("escalation_routed", "dispute", "call-1")
    written = write_entry(entry)
    assert json.loads(written)["queue"] == "fraud"
    assert not any(each in written for each in ("secret", "4092", "C-77", "private", "+4930555"))


def test_other_rules_leave_no_entry() -> None:
    desk = Desk()
    desk.plan(asked(pattern=Pattern.DIALPLAN))
    assert desk.entries == []


def test_a_refused_destination_is_counted_and_audited() -> None:
    desk = Desk(Whose("acme"))
    with pytest.raises(DestinationRefused):
        desk.plan(asked(target=SipUri("sip:+900123@premium.example")))
    assert desk.counts["destinations_refused"] == 1
    (entry,) = desk.entries
    assert (entry.kind, entry.details) == ("destination_refused", {"target_kind": "sipuri"})
    assert "900123" not in write_entry(entry)
