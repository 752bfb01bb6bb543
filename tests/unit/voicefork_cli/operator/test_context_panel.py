"""A context on a terminal: everything an agent needs, and nothing a caller could do to it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from voicefork_cli.operator.context_panel import TURNS, context_panel
from voicefork_cli.operator.context_stream import Published

CONTEXT = {
    "summary": "Disputes a charge of 40 EUR.",
    "transcript_tail": [
        {"speaker": "customer", "text": "I want to dispute this charge.", "at": 1.0},
        {"speaker": "bot", "text": "One moment, please.", "at": None},
    ],
    "slots": {"amount": "40 EUR", "merchant": "ACME"},
    "authentication": "verified",
    "customer_reference": "C-4092",
    "evidence": [{"kind": "quote", "text": "never bought it", "from_pts": 0, "to_pts": 8}],
    "briefing_text": "Calm, in a hurry.",
}
ENVELOPE = {"intent": "dispute", "handoff_id": "h-1", "priority": 9, "language": "en"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


def shown(context: Mapping[str, Any], **more: Any) -> str:
    envelope = {**ENVELOPE, "context": context, **more}
    console = Console(file=io.StringIO(), width=100, force_terminal=False)
    console.print(context_panel(Published("1-0", 0, envelope)))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_who_calls_what_for_and_what_was_said_are_on_it() -> None:
    screen = shown(CONTEXT)
    for text in (
        *("dispute", "Disputes a charge of 40 EUR.", "C-4092", "verified", "h-1"),
        *("amount", "40 EUR", "merchant", "ACME", "quote: never bought it"),
        *("I want to dispute this charge.", "One moment, please.", "Calm, in a hurry."),
    ):
        assert text in screen


def test_what_is_not_known_takes_no_room() -> None:
    screen = shown({"summary": "Short."}, priority=0, language="")
    for name in ("Customer", "Identity", "Priority", "Language", "Briefing"):
        assert name not in screen


def test_only_the_last_turns_are_shown() -> None:
    tail = [{"speaker": "customer", "text": f"turn-{n}."} for n in range(TURNS + 3)]
    screen = shown({"transcript_tail": tail})
    assert "turn-2." not in screen
    assert "turn-3." in screen


def test_a_later_revision_says_so() -> None:
    assert "revision 2" in shown(CONTEXT, revision=2)


def test_neither_markup_nor_escape_sequences_reach_the_terminal() -> None:
    screen = shown({"summary": "[red]x[/red] \x1b[2J\x07", "slots": {"\x1b]0;t": "\x9b31m"}})
    assert "[red]x[/red]" in screen
    assert not {"\x1b", "\x07", "\x9b"} & set(screen)


def test_an_entry_that_cannot_be_read_is_named() -> None:
    console = Console(file=io.StringIO(), width=100)
    console.print(context_panel(Published("7-0", 0, None)))
    assert isinstance(console.file, io.StringIO)
    assert "7-0" in console.file.getvalue()


@given(st.dictionaries(st.sampled_from(list(CONTEXT)), JSON, max_size=7), JSON)
def test_whatever_it_holds_it_can_be_shown(context: dict[str, Any], other: Any) -> None:
    assert "\x1b" not in shown(context, intent=other, priority=other, revision=other)
