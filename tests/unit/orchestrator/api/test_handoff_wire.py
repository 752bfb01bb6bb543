"""What an AI vendor sends is checked before anything is done with it."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from orchestrator.api.handoff_wire import InvalidRequest, context_to, escalation_from, wrong_context
from orchestrator.errors import PeerError
from voicefork.handoff.v1 import handoff_pb2 as pb


def request() -> pb.EscalateRequest:
    return pb.EscalateRequest(request_id="r1", call_id="c1")


def refused_field(asked: pb.EscalateRequest) -> str:
    with pytest.raises(InvalidRequest) as refused:
        escalation_from(asked)
    return refused.value.violations[0][0]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_slot_that_is_no_number_of_json_is_refused(number: float) -> None:
    asked = request()
    asked.context.slots.fields["amounts"].list_value.values.add(number_value=number)
    assert refused_field(asked) == "context.slots"


def test_a_time_outside_the_calendar_is_refused() -> None:
    asked = request()
    asked.context.transcript_tail.add(text="hello").at.seconds = 2**62
    assert refused_field(asked) == "context.transcript_tail"


def test_a_customer_reference_that_no_channel_variable_holds_is_refused() -> None:
    asked = request()
    asked.context.customer_reference = "x" * 5000
    assert refused_field(asked) == "context.customer_reference"


@pytest.mark.parametrize("number", [-0.1, 1.1, float("nan")])
def test_a_confidence_is_from_0_to_1(number: float) -> None:
    asked = request()
    asked.confidence = number
    assert refused_field(asked) == "confidence"


@pytest.mark.parametrize("number", [0.0, 0.7])
def test_a_confidence_of_nothing_is_not_the_same_as_none(number: float) -> None:
    assert escalation_from(request()).confidence is None
    asked = request()
    asked.confidence = number
    assert escalation_from(asked).confidence == number


def test_evidence_is_limited() -> None:
    asked = request()
    for _ in range(51):
        asked.context.evidence.add(kind="phrase")
    assert refused_field(asked) == "context.evidence"


@given(st.binary(max_size=200))
def test_any_request_is_taken_or_refused_and_what_is_taken_can_be_told_again(wire: bytes) -> None:
    asked = request()
    try:
        asked.MergeFromString(wire)
        context_to(escalation_from(asked).context)
    except (DecodeError, PeerError):
        pass


def test_a_usual_context_has_nothing_wrong() -> None:
    context = pb.Context(summary="disputes a charge", customer_reference="C-4092")
    context.slots.update({"account": "4092", "amount": 150, "more": {"deep": [True, None]}})
    context.transcript_tail.add(text="hello").at.GetCurrentTime()
    assert wrong_context(context) == []
