"""Which places of the dialplan are looked for before callers come."""

from __future__ import annotations

from orchestrator.app.reaching import entries_of
from orchestrator.config import Settings
from orchestrator.model import DialplanEntry
from orchestrator.routing.table import RoutingTable, Rule, Treatment


def test_the_ways_out_of_all_rules_must_be_there() -> None:
    box, back = DialplanEntry("boxes", "2000"), DialplanEntry("back", "s")
    table = RoutingTable(Treatment(voicemail=box), rules=(Rule("r", {"callback": back}),))
    found = entries_of(Settings(), table)
    assert [found.count(entry) for entry in (box, back)] == [1, 1]


def test_the_queues_are_looked_for_where_the_rules_say() -> None:
    table = RoutingTable(Treatment(queue="support"), queue_context="queues")
    assert DialplanEntry("queues", "support") in entries_of(Settings(), table)
