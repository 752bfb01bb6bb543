"""Which human? Pure: an escalation, the table and the situation in, a plan out, and why."""

from __future__ import annotations

from dataclasses import dataclass, replace

from orchestrator.errors import PeerError
from orchestrator.model import (
    DialplanEntry,
    Escalation,
    Extension,
    Pattern,
    Plan,
    Queue,
    Target,
)
from orchestrator.routing.briefing import fill
from orchestrator.routing.conditions import Finding
from orchestrator.routing.situation import Situation, Subject
from orchestrator.routing.table import RoutingTable, Treatment
from orchestrator.routing.targets import target_text
from orchestrator.routing.words import by_language

DEFAULT_RULE = "default"
_ANY_SITUATION = Situation()


class DestinationRefused(PeerError):  # noqa: N818 - named after what happened
    """An AI asked for somebody whom the routes do not let it reach."""

    def __init__(self, target: Target) -> None:
        super().__init__(
            f"{target_text(target)} is not a target of the routes, nor in destinations.allow"
        )
        self.target = target


@dataclass(frozen=True, slots=True)
class Verdict:
    """A rule, checked."""

    rule: str
    findings: tuple[Finding, ...]

    @property
    def fits(self) -> bool:
        return all(finding.met for finding in self.findings)


@dataclass(frozen=True, slots=True)
class TargetVerdict:
    """A target of the rule, and whether it may be tried now."""

    target: Target
    findings: tuple[Finding, ...]

    @property
    def fits(self) -> bool:
        return all(finding.met for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Decision:
    """The plan, and how it came about: every rule up to the one that decided."""

    plan: Plan
    verdicts: tuple[Verdict, ...]
    targets: tuple[TargetVerdict, ...]


def plan_for(
    escalation: Escalation, table: RoutingTable, situation: Situation = _ANY_SITUATION
) -> Plan:
    """What is asked for wins over the rules, the rules over the defaults.

    A queue as target is where the dialplan takes the caller; with nobody to dial before it, that is
    the whole plan. Raises DestinationRefused.
    """
    return decide(escalation, table, situation).plan


def decide(escalation: Escalation, table: RoutingTable, situation: Situation) -> Decision:
    """The plan with its reasons. Raises DestinationRefused."""
    asked = escalation.target
    if asked is not None and not table.allows(asked, situation.tenant):
        raise DestinationRefused(asked)
    subject = Subject(escalation, situation, table.calendars, table.desks)
    verdicts, rule, treatment = _judge(table, subject)
    offered = tuple(
        TargetVerdict(choice.target, choice.when.findings(subject))
        for choice in treatment.choices()
    )
    wanted = tuple(each.target for each in offered if each.fits) if asked is None else (asked,)
    plan = _plan(escalation, table, treatment, wanted)
    return Decision(replace(plan, rule=rule), verdicts, offered)


def _judge(table: RoutingTable, subject: Subject) -> tuple[tuple[Verdict, ...], str, Treatment]:
    """The first rule that fits, and every rule that was looked at."""
    usual = table.usual(subject.situation.tenant)
    verdicts: list[Verdict] = []
    for rule in table.rules:
        verdict = Verdict(rule.name, rule.when.findings(subject))
        verdicts.append(verdict)
        if verdict.fits:
            return tuple(verdicts), rule.name, usual.changed(rule.changes)
    return tuple(verdicts), DEFAULT_RULE, usual


def _plan(
    escalation: Escalation, table: RoutingTable, treatment: Treatment, wanted: tuple[Target, ...]
) -> Plan:
    dialled = tuple(target for target in wanted if not isinstance(target, Queue))
    queue = next((target.name for target in wanted if isinstance(target, Queue)), treatment.queue)
    pattern = treatment.pattern if escalation.pattern is Pattern.AUTO else escalation.pattern
    limits = treatment.limits
    if escalation.give_up_after is not None:
        limits = replace(limits, give_up=escalation.give_up_after)
    entry = _entry(escalation, pattern, table, queue)
    usual = DialplanEntry(table.queue_context, treatment.queue)
    return Plan(
        pattern=pattern if dialled else Pattern.DIALPLAN,
        targets=() if pattern is Pattern.DIALPLAN else dialled,
        queue=entry,
        queue_name=queue,
        usual_queue=usual if entry != usual else None,
        fallbacks=escalation.fallbacks or treatment.fallbacks,
        priority=escalation.priority or treatment.priority,
        freeze_bot=escalation.freeze_bot or treatment.freeze,
        accept_key=treatment.accept_key,
        prompt=treatment.prompt,
        music=treatment.music or table.music,
        limits=limits,
        voicemail=treatment.voicemail,
        backup=treatment.backup,
        callback=treatment.callback,
        menu=treatment.menu,
        briefing=fill(by_language(treatment.briefing, escalation.language), escalation),
        phrase=by_language(treatment.phrases, escalation.language),
        audit=treatment.audit,
    )


def _entry(
    escalation: Escalation, pattern: Pattern, table: RoutingTable, queue: str
) -> DialplanEntry:
    """Where the dialplan takes the caller: the extension that was asked for, else the queue's."""
    match pattern, escalation.target:
        case Pattern.DIALPLAN, Extension(number, context):
            return DialplanEntry(context or table.queue_context, number)
        case _:
            return DialplanEntry(table.queue_context, queue)
