"""The context envelope: read as it was written, by number, and nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator.bus.envelope import (
    Envelope,
    EnvelopeUnreadable,
    envelope_of,
    parse_envelope,
    write_envelope,
)
from orchestrator.model import (
    Authentication,
    CallId,
    Context,
    Evidence,
    HandoffId,
    Speaker,
    TranscriptLine,
)

from tests.builders.handoffs import started

texts = st.text(max_size=30)
numbers = st.floats(0, 4e9, allow_nan=False)
contexts = st.builds(
    Context,
    summary=texts,
    transcript_tail=st.lists(
        st.builds(TranscriptLine, st.sampled_from(Speaker), texts, st.none() | numbers), max_size=3
    ).map(tuple),
    slots=st.dictionaries(texts, st.none() | st.booleans() | st.integers() | texts, max_size=3),
    authentication=st.sampled_from(Authentication),
    customer_reference=texts,
    evidence=st.lists(
        st.builds(Evidence, texts, texts, st.integers(0, 99), st.integers(0, 99)), max_size=2
    ).map(tuple),
    briefing_text=texts,
    sentiment=texts,
)
envelopes = st.builds(
    Envelope,
    handoff_id=texts.map(HandoffId),
    request_id=texts,
    call_id=texts.map(CallId),
    tenant=texts,
    revision=st.integers(1, 99),
    published_at=numbers,
    intent=texts,
    language=texts,
    priority=st.integers(0, 9),
    reason=texts,
    target=texts,
    queue=texts,
    context=contexts,
)


@given(envelopes)
def test_an_envelope_is_read_as_it_was_written(envelope: Envelope) -> None:
    assert parse_envelope(write_envelope(envelope)) == envelope


@given(st.one_of(st.binary(max_size=60), st.text(max_size=60)))
def test_anything_else_is_unreadable(text: bytes | str) -> None:
    with pytest.raises(EnvelopeUnreadable):
        parse_envelope(text)


def test_another_version_is_unreadable() -> None:
    with pytest.raises(EnvelopeUnreadable):
        parse_envelope('{"v": 2, "type": "handoff.context"}')


def test_what_a_later_writer_adds_is_ignored() -> None:
    envelope = envelope_of(started().state, Context(summary="disputes"), 100.0)
    document = json.loads(write_envelope(envelope)) | {"mood": "blue"}
    assert parse_envelope(json.dumps(document)) == envelope


def test_an_envelope_names_the_agent_to_be_called() -> None:
    envelope = envelope_of(started(intent="dispute").state, Context(), 100.0)
    assert (envelope.target, envelope.queue, envelope.intent) == (
        "PJSIP/alice",
        "support",
        "dispute",
    )


def test_spoken_briefings_stay_out_of_the_stream() -> None:
    envelope = envelope_of(started().state, Context(briefing_audio=b"\x01" * 100), 100.0)
    assert "briefing_audio" not in write_envelope(envelope)
