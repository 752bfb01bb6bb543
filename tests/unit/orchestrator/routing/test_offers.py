"""Where callers of a tenant could go now."""

from __future__ import annotations

from datetime import UTC, datetime

from orchestrator.model import Endpoint, Queue, SipUri
from orchestrator.routing.offers import Offer, offers
from orchestrator.routing.parsing import parse_table
from orchestrator.routing.table import RoutingTable

TABLE = parse_table(
    """
    queue: last
    calendars: {office: {timezone: UTC, hours: {mon-fri: "08:00-18:00"}}}
    queues: {billing: {hours: office, languages: [en, de]}}
    default:
      targets: [PJSIP/a, {to: PJSIP/b, when: {open: office, language: de, priority: 9}}]
      backup: sip:desk@backup.example
    rules:
      - {name: acme's, when: {tenant: acme}, targets: [PJSIP/c]}
      - {name: bills, queue: billing}
    """,
    RoutingTable(),
)
OPEN, CLOSED = (datetime(2026, 11, 23, hour, tzinfo=UTC) for hour in (10, 19))


def test_every_target_is_offered_once_with_its_hours_and_languages() -> None:
    assert offers(TABLE, "other", CLOSED) == (
        Offer(Endpoint("PJSIP/a")),
        Offer(Endpoint("PJSIP/b"), False, ("de",)),
        Offer(Queue("last")),
        Offer(SipUri("sip:desk@backup.example")),
        Offer(Queue("billing"), False, ("en", "de")),
    )


def test_by_day_they_are_open() -> None:
    assert all(offer.open for offer in offers(TABLE, "other", OPEN))


def test_a_tenants_own_targets_are_offered_to_it_alone() -> None:
    assert Endpoint("PJSIP/c") in [offer.target for offer in offers(TABLE, "acme", OPEN)]
    assert Endpoint("PJSIP/c") not in [offer.target for offer in offers(TABLE, "other", OPEN)]
