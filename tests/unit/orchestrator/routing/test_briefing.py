"""The agent's briefing: placeholders are filled, and nothing else happens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator.model import CallId, Context, Escalation
from orchestrator.routing.briefing import CHARACTERS, check_template, fill


def asked(summary: str = "", **slots: object) -> Escalation:
    context = Context(summary=summary, slots=slots, customer_reference="C-1")
    return Escalation("r1", CallId("c1"), intent="dispute", context=context)


def test_slots_and_fields_are_filled() -> None:
    template = "Account {slot.account}: {intent} of {slot.amount} dollars, {customer}. {summary}"
    filled = fill(template, asked("Charged twice.", account="4092", amount=150.0))
    assert filled == "Account 4092: dispute of 150 dollars, C-1. Charged twice."


def test_what_is_not_there_is_unknown() -> None:
    assert fill("{slot.account}, {summary}", asked(account=None)) == "unknown, unknown"


def test_two_braces_are_one() -> None:
    assert fill(check_template("{{slot.a}}"), asked(a="x")) == "{slot.a}"


def test_a_value_is_never_a_template() -> None:
    assert fill("{slot.a}", asked(a="{summary}{slot.b.__class__}", b=1)) == (
        "{summary}{slot.b.__class__}"
    )


def test_a_value_is_one_line_and_of_bounded_length() -> None:
    assert fill("{slot.a}", asked(a="one\r\ntwo\x00\x1b[31m")) == "one two[31m"
    assert len(fill("{summary}" * 20, asked("x" * 2000))) == CHARACTERS


@pytest.mark.parametrize(
    "text", ["{password}", "{", "}", "{slot.}", "{summary!r}", "{slot.a b}", "{}"]
)
def test_a_template_that_cannot_be_filled_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not known|a lone"):
        check_template(text)


@given(st.text(alphabet="{}slot.a summary", max_size=30), st.text(max_size=50))
def test_whatever_passes_the_check_can_be_filled_with_anything(text: str, value: str) -> None:
    try:
        template = check_template(text)
    except ValueError:
        return
    assert isinstance(fill(template, asked(value, a=value)), str)
