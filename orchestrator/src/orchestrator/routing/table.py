"""The routes as values: what happens to an escalation, by which rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.model import (
    DialplanEntry,
    Fallback,
    Limits,
    Menu,
    Pattern,
    Queue,
    Target,
)
from orchestrator.routing.calendar import Calendar
from orchestrator.routing.conditions import When
from orchestrator.routing.situation import Desk
from orchestrator.routing.targets import AllowList

LIMITS = Limits()
ALWAYS = When()
NOBODY = AllowList()


@dataclass(frozen=True, slots=True)
class Choice:
    """A target that is tried only when its own condition fits."""

    target: Target
    when: When = ALWAYS


@dataclass(frozen=True, slots=True)
class Treatment:
    """What happens to an escalation."""

    pattern: Pattern = Pattern.ATTENDED
    targets: tuple[Target | Choice, ...] = ()
    queue: str = "s"
    accept_key: str = ""
    prompt: str = ""
    music: str = ""  # "" = the table's
    priority: int = 0
    freeze: bool = False
    audit: bool = False
    limits: Limits = LIMITS
    fallbacks: tuple[Fallback, ...] = (Fallback.NEXT_TARGET,)
    phrases: Mapping[str, str] = field(default_factory=dict)  # by language range
    briefing: Mapping[str, str] = field(default_factory=dict)  # templates by language range
    voicemail: DialplanEntry | None = None
    backup: Target | None = None
    callback: DialplanEntry | None = None
    menu: Menu | None = None

    def changed(self, changes: Mapping[str, Any]) -> Treatment:
        """With some fields replaced; of `limits` only those seconds that are given."""
        limits = replace(self.limits, **changes.get("limits", {}))
        return replace(self, **{**changes, "limits": limits})

    def choices(self) -> Iterator[Choice]:
        """Whom it tries, in order."""
        for target in self.targets:
            yield target if isinstance(target, Choice) else Choice(target)


@dataclass(frozen=True, slots=True)
class Rule:
    """What is changed about the usual treatment when the condition fits."""

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)  # fields of Treatment
    when: When = ALWAYS


@dataclass(frozen=True, slots=True)
class Tenant:
    """What is different for one tenant."""

    changes: Mapping[str, Any] = field(default_factory=dict)  # fields of Treatment
    allow: AllowList | None = None  # None = the table's


@dataclass(frozen=True, slots=True)
class RoutingTable:
    default: Treatment = Treatment()
    rules: tuple[Rule, ...] = ()  # the first that fits decides
    queue_context: str = "voicefork-queue"
    music: str = "default"
    tenants: Mapping[str, Tenant] = field(default_factory=dict)
    calendars: Mapping[str, Calendar] = field(default_factory=dict)
    desks: Mapping[str, Desk] = field(default_factory=dict)  # by queue
    allow: AllowList = NOBODY

    def usual(self, tenant: str) -> Treatment:
        """The treatment where no rule says otherwise."""
        return self.default.changed(self.tenants.get(tenant, Tenant()).changes)

    def choices(self, tenant: str) -> Iterator[Choice]:
        """Everywhere the routes can bring this tenant's callers to; some twice."""
        for each in self._treatments(tenant):
            yield from each.choices()
            yield Choice(Queue(each.queue))
            if each.backup is not None:
                yield Choice(each.backup)
        for queue in self.desks:
            yield Choice(Queue(queue))

    def _treatments(self, tenant: str) -> Iterator[Treatment]:
        usual = self.usual(tenant)
        yield usual
        for rule in self.rules:
            if rule.when.concerns(tenant):
                yield usual.changed(rule.changes)

    def entries(self, tenant: str) -> tuple[DialplanEntry, ...]:
        """Where the dialplan takes this tenant's callers beside its queues, each once."""
        ways = ((each.voicemail, each.callback) for each in self._treatments(tenant))
        return tuple(dict.fromkeys(entry for pair in ways for entry in pair if entry is not None))

    def named(self, tenant: str) -> tuple[Target, ...]:
        """The targets of `choices`, each once."""
        return tuple(dict.fromkeys(choice.target for choice in self.choices(tenant)))

    def allows(self, target: Target, tenant: str) -> bool:
        """Whether an AI may ask for it: what the routes name, and what `destinations` allows."""
        if target in self.named(tenant):
            return True
        return self._destinations(tenant).allows(target)

    def allows_call(self, to: str, tenant: str) -> bool:
        """Whether we may call this number or SIP URI: what `destinations` allows, and only that."""
        return self._destinations(tenant).allows_call(to)

    def _destinations(self, tenant: str) -> AllowList:
        own = self.tenants.get(tenant, Tenant()).allow
        return self.allow if own is None else own
