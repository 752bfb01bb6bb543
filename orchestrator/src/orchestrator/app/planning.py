"""Brings an escalation, its call and the queues to the routes; records what comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from orchestrator.bus.audit import AuditEntry
from orchestrator.handoff.ports import Tally
from orchestrator.model import CallId, Escalation, Plan, QueueState
from orchestrator.routing.policy import DestinationRefused, plan_for
from orchestrator.routing.situation import QueueStates, Situation
from orchestrator.routing.table import RoutingTable


class NoQueueStates:
    """Nothing is known of any queue (implements routing.situation.QueueStates)."""

    def snapshot(self) -> Mapping[str, QueueState]:
        return {}


@dataclass(frozen=True, slots=True)
class Whose:
    """Of a call: whose it is, and who calls."""

    tenant: str = ""
    number: str = ""


@dataclass(frozen=True, slots=True)
class Planner:
    """What `handoff.intake` plans with. Raises DestinationRefused."""

    table: Callable[[], RoutingTable]
    whose: Callable[[CallId], Whose]
    queues: QueueStates
    audit: Callable[[AuditEntry], None]
    tally: Tally
    now: Callable[[], float]

    def __call__(self, asked: Escalation) -> Plan:
        whose, at = self.whose(asked.call_id), self.now()
        situation = Situation(
            now=datetime.fromtimestamp(at, UTC),
            tenant=whose.tenant,
            caller=whose.number,
            queues=self.queues.snapshot(),
        )
        try:
            plan = plan_for(asked, self.table(), situation)
        except DestinationRefused as refused:
            self.tally.count("destinations_refused")
            kind = type(refused.target).__name__.lower()
            self._record("destination_refused", asked, situation, target_kind=kind)
            raise
        if plan.audit:
            self._record(
                "escalation_routed",
                asked,
                situation,
                rule=plan.rule,
                pattern=plan.pattern.name.lower(),
                queue=plan.queue_name,
                priority=plan.priority,
                bot_frozen=plan.freeze_bot,
            )
        return plan

    def _record(
        self,
        kind: str,
        asked: Escalation,
        situation: Situation,
        *,
        rule: str = "",
        **details: object,
    ) -> None:
        self.audit(
            AuditEntry(
                kind=kind,
                at=situation.now.timestamp(),
                tenant=situation.tenant,
                call_id=asked.call_id,
                request_id=asked.request_id,
                rule=rule,
                details=details,
            )
        )
