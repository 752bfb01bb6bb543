"""Which human? Pure: an escalation and the table in, a plan out."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.errors import PeerError
from orchestrator.model import DialplanEntry, Escalation, Extension, Pattern, Plan, Queue, Target
from orchestrator.routing.table import RoutingTable, Treatment

DEFAULT_RULE = "default"


class PatternUnsupported(PeerError):  # noqa: N818 - named after what happened
    """This orchestrator does not hand over that way."""


def plan_for(escalation: Escalation, table: RoutingTable) -> Plan:
    """What is asked for wins over the rules, the rules over the defaults.

    A queue as target is where the dialplan takes the caller; with nobody to dial before it, that is
    the whole plan. Raises PatternUnsupported.
    """
    if escalation.pattern in {Pattern.WARM_WHISPER, Pattern.REFER}:
        raise PatternUnsupported(f"pattern {escalation.pattern.name} is not supported")
    rule, treatment = _treatment(escalation, table)
    wanted = treatment.targets if escalation.target is None else (escalation.target,)
    dialled = tuple(target for target in wanted if not isinstance(target, Queue))
    queue = _queue_name(wanted, treatment)
    pattern = treatment.pattern if escalation.pattern is Pattern.AUTO else escalation.pattern
    limits = treatment.limits
    if escalation.give_up_after is not None:
        limits = replace(limits, give_up=escalation.give_up_after)
    return Plan(
        pattern=pattern if dialled else Pattern.DIALPLAN,
        targets=dialled if pattern is Pattern.ATTENDED else (),
        queue=_entry(escalation, pattern, table, queue),
        queue_name=queue,
        fallbacks=escalation.fallbacks or treatment.fallbacks,
        priority=escalation.priority or treatment.priority,
        freeze_bot=escalation.freeze_bot or treatment.freeze,
        accept_key=treatment.accept_key,
        prompt=treatment.prompt,
        music=table.music,
        limits=limits,
        rule=rule,
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


def _treatment(escalation: Escalation, table: RoutingTable) -> tuple[str, Treatment]:
    for rule in table.rules:
        if rule.fits(escalation.intent, escalation.priority):
            return rule.name, rule.treatment
    return DEFAULT_RULE, table.default


def _queue_name(wanted: tuple[Target, ...], treatment: Treatment) -> str:
    for target in wanted:
        if isinstance(target, Queue):
            return target.name
    return treatment.queue
