"""Where a tenant's callers could go: the targets that the routes name, and when they are open."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from orchestrator.model import CallId, Escalation, Queue, Target
from orchestrator.routing.situation import Desk, Situation, Subject
from orchestrator.routing.table import RoutingTable


@dataclass(frozen=True, slots=True)
class Offer:
    target: Target
    open: bool = True  # by its calendar
    languages: tuple[str, ...] = ()  # () = every


def offers(table: RoutingTable, tenant: str, now: datetime) -> tuple[Offer, ...]:
    """Each target once, in the order in which the routes name them. `now` must be aware."""
    nothing_asked = Escalation("", CallId(""))
    subject = Subject(nothing_asked, Situation(now, tenant), table.calendars, table.desks)
    found: dict[Target, Offer] = {}
    for choice in table.choices(tenant):
        hours = choice.when.hours(subject)
        opened = all(finding.met for finding in hours)
        languages = tuple(choice.when.language or ())
        if isinstance(choice.target, Queue):
            desk = table.desks.get(choice.target.name, Desk())
            opened = opened and subject.queue_open(choice.target.name)
            languages = languages or desk.languages
        found.setdefault(choice.target, Offer(choice.target, opened, languages))
    return tuple(found.values())
