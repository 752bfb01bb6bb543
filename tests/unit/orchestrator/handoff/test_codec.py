"""Stored handoffs: what is written is read again, and nothing else is."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator.handoff.codec import UnreadableError, dump, load
from orchestrator.handoff.state import State, view
from orchestrator.model import (
    Authentication,
    Context,
    Evidence,
    Extension,
    Handoff,
    Queue,
    SipUri,
    Speaker,
    TranscriptLine,
)

from tests.builders.handoffs import started


def test_a_view_is_read_as_it_was_written() -> None:
    written = view(started().connected().state)
    assert load(Handoff, dump(written)) == written


def test_a_context_is_read_as_it_was_written() -> None:
    context = Context(
        summary="disputes",
        transcript_tail=(TranscriptLine(Speaker.CUSTOMER, "I dispute it", 100.5),),
        slots={"account": "4092", "amount": 150.0, "seen": [True, None]},
        authentication=Authentication.PARTIAL,
        evidence=(Evidence("phrase", "dispute", 8000, 16000),),
        briefing_audio=b"\x00\xff",
    )
    assert load(Context, dump(context)) == context


@pytest.mark.parametrize(
    "target", [Queue("fraud"), Extension("200", "internal"), SipUri("sip:bob@example.com")]
)
def test_every_kind_of_target_is_told_apart(target: Queue | Extension | SipUri) -> None:
    state = started(targets=(target,)).state
    assert load(State, dump(state)) == state


def test_another_schema_is_refused() -> None:
    with pytest.raises(UnreadableError, match="schema"):
        load(State, dump(started().state).replace('"v":1', '"v":2', 1))


@given(st.one_of(st.binary(), st.text()))
def test_anything_else_is_unreadable(text: bytes | str) -> None:
    with pytest.raises(UnreadableError):
        load(State, text)


@given(st.data())
def test_a_damaged_state_is_unreadable_or_another_state(data: st.DataObject) -> None:
    written = dump(started().connected().state)
    place = data.draw(st.integers(0, len(written) - 1))
    damaged = written[:place] + data.draw(st.characters(codec="ascii")) + written[place + 1 :]
    with contextlib.suppress(UnreadableError):
        assert isinstance(load(State, damaged), State)
