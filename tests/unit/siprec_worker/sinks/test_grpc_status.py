"""What the end of a stream means for the call."""

from __future__ import annotations

import pytest
from siprec_worker.session.model import AgentLost
from siprec_worker.sinks.grpc_status import lost_by_status, lost_by_trailers, refusal


@pytest.mark.parametrize(
    ("code", "lost"),
    [
        (0, AgentLost("the AI ended the stream", retryable=False)),
        (14, AgentLost("UNAVAILABLE: text", retryable=True)),
        (16, AgentLost("UNAUTHENTICATED: text", retryable=False)),
        (12, AgentLost("UNIMPLEMENTED: text", retryable=False)),
        (99, AgentLost("UNKNOWN: text", retryable=True)),
    ],
)
def test_a_status_says_whether_another_try_is_worth_it(code: int, lost: AgentLost) -> None:
    assert lost_by_status(code, "text") == lost


def test_a_message_in_trailers_is_percent_encoded() -> None:
    trailers = {b"grpc-status": b"13", b"grpc-message": b"caf%C3%A9 %zz"}
    assert lost_by_trailers(trailers).reason == "INTERNAL: café %zz"


def test_trailers_without_a_status_are_a_failure() -> None:
    assert lost_by_trailers({}) == AgentLost("the stream ended without a grpc-status")


def test_a_grpc_response_is_no_refusal() -> None:
    assert refusal({b":status": b"200", b"content-type": b"application/grpc+proto"}) is None


@pytest.mark.parametrize(("status", "retryable"), [(b"503", True), (b"404", False)])
def test_an_http_error_is_a_refusal(status: bytes, retryable: bool) -> None:
    lost = AgentLost(f"the AI answered HTTP {status.decode()}", retryable=retryable)
    assert refusal({b":status": status}) == lost


def test_something_else_than_grpc_is_a_refusal() -> None:
    lost = refusal({b":status": b"200", b"content-type": b"text/html"})
    assert lost == AgentLost("the AI answered 'text/html', not gRPC", retryable=False)
