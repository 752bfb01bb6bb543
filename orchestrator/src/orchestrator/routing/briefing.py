"""The agent's spoken briefing out of a template; what callers say is never read as a template."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from orchestrator.model import Escalation

UNKNOWN = "unknown"
CHARACTERS = 600
_VALUE_CHARACTERS = 200

_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_SLOT = re.compile(r"slot\.([^{}\s]+)")

FIELDS: Mapping[str, Callable[[Escalation], str]] = {
    "customer": lambda asked: asked.context.customer_reference,
    "summary": lambda asked: asked.context.summary,
    "reason": lambda asked: asked.reason,
    "intent": lambda asked: asked.intent,
    "language": lambda asked: asked.language,
    "sentiment": lambda asked: asked.context.sentiment,
}


def check_template(template: str) -> str:
    """The template itself. Raises ValueError: a placeholder nobody knows, or a lone brace."""
    for found in _BRACES.finditer(template):
        if found[0] in {"{{", "}}"}:
            continue
        name = found[1]
        if name is None:
            raise ValueError(f"a lone {found[0]!r}: write {found[0] * 2}")
        if name not in FIELDS and not _SLOT.fullmatch(name):
            known = ", ".join(f"{{{each}}}" for each in FIELDS)
            raise ValueError(f"{{{name}}} is not known: {{slot.NAME}}, {known}")
    return template


def fill(template: str, asked: Escalation) -> str:
    """In one pass, so that braces in a value stay text. A value that is not there is `unknown`."""

    def value(found: re.Match[str]) -> str:
        if found[0] in {"{{", "}}"}:
            return found[0][0]
        name = found[1] or ""
        slot = _SLOT.fullmatch(name)
        if slot:
            return speakable(asked.context.slots.get(slot[1])) or UNKNOWN
        return speakable(FIELDS[name](asked)) or UNKNOWN

    return _BRACES.sub(value, template)[:CHARACTERS]


def speakable(value: object) -> str:
    """One line of printable text; 150.0 (protobuf's Struct knows no integers) is 150."""
    match value:
        case None | dict() | list():
            return ""
        case bool():
            return "yes" if value else "no"
        case float() if value.is_integer():
            text = str(int(value))
        case _:
            text = str(value)
    line = " ".join(text.split())
    return "".join(letter for letter in line if letter.isprintable())[:_VALUE_CHARACTERS]
