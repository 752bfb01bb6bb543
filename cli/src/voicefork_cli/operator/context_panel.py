"""A context as an agent's screen shows it: who calls, what for, and what was said."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from voicefork_cli.operator.context_stream import Published

TURNS = 8  # the last ones
WIDTH = 88
SPEAKERS = {"customer": "cyan", "bot": "green", "agent": "magenta"}


def context_panel(published: Published) -> RenderableType:
    """One context. Whatever its texts hold, no control character reaches the terminal."""
    envelope = published.envelope
    if envelope is None:
        return Text(f"{published.entry}: not a context this version can read", style="red")
    context = envelope["context"]
    parts = [
        Text(_text(context.get("summary")) or "(no summary)", style="bold"),
        _facts(envelope, context),
        _turns(context.get("transcript_tail")),
        _text_part("Briefing", context.get("briefing_text")),
    ]
    return Panel(
        Group(*[part for part in parts if part is not None]),
        title=Text(_title(envelope)),
        subtitle=Text(_subtitle(published, envelope)),
        title_align="left",
        subtitle_align="left",
        border_style="bright_blue",
        padding=(1, 2),
        width=WIDTH,
    )


def _title(envelope: Mapping[str, Any]) -> str:
    return _text(envelope.get("intent")) or "handoff"


def _subtitle(published: Published, envelope: Mapping[str, Any]) -> str:
    at = time.strftime("%H:%M:%S", time.localtime(published.at_ns / 1e9))
    revision = envelope.get("revision")
    again = f", revision {revision}" if isinstance(revision, int) and revision > 1 else ""
    return f"{at}  {_text(envelope.get('handoff_id'))}{again}"


def _facts(envelope: Mapping[str, Any], context: Mapping[str, Any]) -> RenderableType | None:
    authentication = _text(context.get("authentication"))
    rows = [
        ("Customer", _text(context.get("customer_reference"))),
        ("Identity", "" if authentication == "unspecified" else authentication),
        ("Reason", _text(envelope.get("reason"))),
        ("Language", _text(envelope.get("language"))),
        ("Priority", _text(envelope.get("priority") or "")),
        ("For", _text(envelope.get("target") or envelope.get("queue"))),
        ("Mood", _text(context.get("sentiment"))),
    ]
    slots = context.get("slots")
    if isinstance(slots, Mapping):
        rows += [(_text(name), _text(value)) for name, value in slots.items()]
    rows += [("Evidence", _piece(piece)) for piece in _listed(context.get("evidence"))]
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bright_black", no_wrap=True, max_width=24)
    table.add_column(overflow="fold")
    for name, value in rows:
        if value:
            table.add_row(Text(name), Text(value))
    return Padding(table, (1, 0, 0, 0)) if table.row_count else None


def _piece(piece: Mapping[str, Any]) -> str:
    kind, text = _text(piece.get("kind")), _text(piece.get("text"))
    return f"{kind}: {text}" if kind and text else kind or text


def _turns(tail: object) -> RenderableType | None:
    turns = _listed(tail)[-TURNS:]
    if not turns:
        return None
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for turn in turns:
        speaker = _text(turn.get("speaker"))
        table.add_row(Text(speaker, SPEAKERS.get(speaker, "white")), Text(_text(turn.get("text"))))
    return Padding(table, (1, 0, 0, 0))


def _text_part(name: str, value: object) -> RenderableType | None:
    text = _text(value)
    told = Text.assemble((f"{name}  ", "bright_black"), text)
    return Padding(told, (1, 0, 0, 0)) if text else None


def _listed(value: object) -> Sequence[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _text(value: object) -> str:
    """Its printable characters: an escape sequence in a transcript must stay a text."""
    text = "" if value is None else str(value)
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text)
