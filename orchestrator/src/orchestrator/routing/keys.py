"""Every key of the routes file as a table, out of the shape that reads it."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from orchestrator.routing.conditions import QueueTest, When
from orchestrator.routing.document import (
    Actions,
    AllowPart,
    CalendarPart,
    DestinationsPart,
    Document,
    MenuPart,
    QueuePart,
    RulePart,
    TargetPart,
    TenantPart,
)
from orchestrator.routing.parts import SlotTest, Span

PARTS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("the file", Document),
    ("rules[]", RulePart),
    ("default, rules[], tenants.NAME.default", Actions),
    ("when", When),
    ("when.slots.NAME", SlotTest),
    ("when.queue.NAME", QueueTest),
    ("members, available, waiting, wait", Span),
    ("targets[]", TargetPart),
    ("menu", MenuPart),
    ("calendars.NAME", CalendarPart),
    ("queues.NAME", QueuePart),
    ("tenants.NAME", TenantPart),
    ("destinations", DestinationsPart),
    ("destinations.allow", AllowPart),
)


def key_table() -> str:
    """Markdown, a table for each part."""
    return "\n\n".join("\n".join(_part(title, part)) for title, part in PARTS)


def _part(title: str, part: type[BaseModel]) -> Iterator[str]:
    yield f"### `{title}`"
    yield ""
    yield f"{_first_line(part)}"
    yield ""
    yield "| key | holds | meaning |"
    yield "|---|---|---|"
    inherited = Actions.model_fields if part is RulePart else {}
    for name, field in part.model_fields.items():
        if name not in inherited:
            meaning = (field.description or "").replace("|", "\\|")
            yield f"| `{field.alias or name}` | {_holds(field)} | {meaning} |"


def _first_line(part: type[BaseModel]) -> str:
    return (part.__doc__ or "").strip().splitlines()[0]


def _holds(field: FieldInfo) -> str:
    kind = _kind(field.annotation)
    return f"{kind}, required" if field.is_required() else kind


def _kind(annotation: Any) -> str:
    arguments = get_args(annotation)
    match get_origin(annotation):
        case origin if origin is Literal:
            return ", ".join(f"`{each}`" for each in arguments)
        case origin if origin in {Union, types.UnionType}:
            return _kind(next(each for each in arguments if each is not type(None)))
        case origin if origin is list:
            return f"list of {_kind(arguments[0])}"
        case origin if origin is dict:
            return f"{_kind(arguments[0])} → {_kind(arguments[1])}"
    if hasattr(annotation, "__metadata__"):
        return _kind(arguments[0])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "mapping"
    names = {"str": "text", "int": "integer", "float": "number", "bool": "true/false"}
    return names.get(getattr(annotation, "__name__", ""), _named(annotation))


def _named(annotation: Any) -> str:
    named = getattr(annotation, "__name__", "value")
    return {"Any": "value", "Window": "times", "date": "date"}.get(named, str(named))
