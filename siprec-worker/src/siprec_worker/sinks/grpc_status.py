"""How a gRPC stream ended: status and headers turned into AgentLost.

Source: "gRPC over HTTP2" (Trailers, percent-encoded Status-Message) and grpc's status codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from urllib.parse import unquote

from siprec_worker.session.model import AgentLost

_HTTP_OK = b"200"
_HTTP_TRY_AGAIN = {b"429", b"502", b"503", b"504"}
_TEXT_LIMIT = 200


class Status(IntEnum):
    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


# Another try at the same vendor may go better. OK is not in it: the AI has left by its own wish.
_TRY_AGAIN = {
    Status.CANCELLED,
    Status.UNKNOWN,
    Status.DEADLINE_EXCEEDED,
    Status.RESOURCE_EXHAUSTED,
    Status.ABORTED,
    Status.INTERNAL,
    Status.UNAVAILABLE,
}


def lost_by_status(code: int, text: str) -> AgentLost:
    """What a grpc-status means for the call."""
    if code == Status.OK:
        return AgentLost("the AI ended the stream", retryable=False)
    status = Status(code) if code in Status.__members__.values() else Status.UNKNOWN
    said = f": {text[:_TEXT_LIMIT]}" if text else ""
    return AgentLost(f"{status.name}{said}", retryable=status in _TRY_AGAIN)


def lost_by_trailers(headers: Mapping[bytes, bytes]) -> AgentLost:
    """What a stream's last header block means for the call."""
    raw = headers.get(b"grpc-status", b"")
    if not raw.isdigit():
        return AgentLost("the stream ended without a grpc-status")
    text = unquote(headers.get(b"grpc-message", b"").decode("ascii", "replace"))
    return lost_by_status(int(raw), text)


def refusal(headers: Mapping[bytes, bytes]) -> AgentLost | None:
    """Why a response's first header block is not that of a gRPC stream; None when it is."""
    status = headers.get(b":status", b"")
    if status != _HTTP_OK:
        text = status.decode("ascii", "replace")
        return AgentLost(f"the AI answered HTTP {text}", retryable=status in _HTTP_TRY_AGAIN)
    kind = headers.get(b"content-type", b"")
    if not kind.startswith(b"application/grpc"):
        text = kind.decode("ascii", "replace")[:_TEXT_LIMIT]
        return AgentLost(f"the AI answered {text!r}, not gRPC", retryable=False)
    return None
