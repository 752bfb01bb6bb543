"""A decision, told: which rule won and why every earlier one did not, as text or JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from enum import Enum
from typing import Any

from orchestrator.model import DialplanEntry, Endpoint, Extension, Queue, SipUri
from orchestrator.routing.conditions import Finding
from orchestrator.routing.policy import Decision
from orchestrator.routing.targets import target_text


def told(decision: Decision) -> str:
    """Lines for people."""
    return "\n".join(_lines(decision))


def as_json(decision: Decision) -> dict[str, Any]:
    return {
        "rule": decision.plan.rule,
        "rules": [
            {"rule": verdict.rule, "fits": verdict.fits, "conditions": _plain(verdict.findings)}
            for verdict in decision.verdicts
        ],
        "targets": [
            {
                "target": target_text(verdict.target),
                "fits": verdict.fits,
                "conditions": _plain(verdict.findings),
            }
            for verdict in decision.targets
        ],
        "plan": _plain(decision.plan),
    }


def _lines(decision: Decision) -> Iterator[str]:
    for verdict in decision.verdicts:
        yield f"{'fits' if verdict.fits else 'not '}  {verdict.rule}"
        yield from _conditions(verdict.findings)
    if not any(verdict.fits for verdict in decision.verdicts):
        yield "fits  default: no rule does"
    yield ""
    yield f"rule         {decision.plan.rule}"
    for offer in decision.targets:
        yield f"target       {target_text(offer.target)}{'' if offer.fits else ' is left out'}"
        yield from _conditions(offer.findings)
    plan: dict[str, Any] = _plain(decision.plan)
    for name, value in plan.items():
        if name != "rule" and value not in ("", None, [], {}):
            yield f"{name:<13}{_in_line(value)}"


def _conditions(findings: tuple[Finding, ...]) -> Iterator[str]:
    for each in findings:
        yield (
            f"      {'ok ' if each.met else 'NO '} {each.what}: "
            f"wanted {each.wanted}, found {each.found}"
        )


def _in_line(value: Any) -> str:
    match value:
        case dict():
            return ", ".join(f"{key} {_in_line(each)}" for key, each in value.items())
        case list():
            return ", ".join(map(_in_line, value))
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def _plain(value: Any) -> Any:
    match value:
        case Queue() | Extension() | SipUri() | Endpoint():
            return target_text(value)
        case DialplanEntry(context, extension, priority):
            return f"{context},{extension},{priority}"
        case Enum():
            return value.name.lower()
        case tuple() | list():
            return [_plain(each) for each in value]
        case dict():
            return {str(key): _plain(each) for key, each in value.items()}
        case _ if dataclasses.is_dataclass(value):
            return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        case _:
            return value
