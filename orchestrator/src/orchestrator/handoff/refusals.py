"""Why a request about a handoff is refused; each knows its wire form.

Refused
├── UnknownCall, UnknownHandoff   NOT_FOUND
├── RequestReused                 ALREADY_EXISTS   same request_id, another body
├── InProgress                    ABORTED          another handoff of the call is under way
├── ContextMoved                  ABORTED          expected_revision is not the current one
├── TooLate                       FAILED_PRECONDITION
├── NoSpeech                      FAILED_PRECONDITION  a text, and nothing that speaks it
├── NotSaid                       UNAVAILABLE          the PBX did not say it
├── WhispersWaiting               RESOURCE_EXHAUSTED
├── OtherTenant                   PERMISSION_DENIED
└── Forbidden                     PERMISSION_DENIED
"""

from __future__ import annotations

from typing import ClassVar

from orchestrator.errors import PeerError


class Refused(PeerError):  # noqa: N818 - named after what happened
    """The asker is told `code` (a gRPC status) and `reason` (ErrorInfo)."""

    code: ClassVar[str] = "FAILED_PRECONDITION"
    reason: ClassVar[str] = "REFUSED"
    retry_seconds: ClassVar[float | None] = None


class UnknownCall(Refused):
    code = "NOT_FOUND"
    reason = "UNKNOWN_CALL"


class UnknownHandoff(Refused):
    code = "NOT_FOUND"
    reason = "UNKNOWN_HANDOFF"


class RequestReused(Refused):
    code = "ALREADY_EXISTS"
    reason = "REQUEST_ID_REUSED"


class InProgress(Refused):
    code = "ABORTED"
    reason = "HANDOFF_IN_PROGRESS"
    retry_seconds = 1.0


class ContextMoved(Refused):
    code = "ABORTED"
    reason = "CONTEXT_REVISION"
    retry_seconds = 0.0


class TooLate(Refused):
    reason = "TOO_LATE"


class NoSpeech(Refused):
    reason = "NO_SPEECH"


class NotSaid(Refused):
    code = "UNAVAILABLE"
    reason = "NOT_SAID"
    retry_seconds = 1.0


class WhispersWaiting(Refused):
    code = "RESOURCE_EXHAUSTED"
    reason = "WHISPERS_WAITING"
    retry_seconds = 1.0


class OtherTenant(Refused):
    code = "PERMISSION_DENIED"
    reason = "OTHER_TENANT"


class Forbidden(Refused):
    """The routes do not let an AI reach whom it asked for."""

    code = "PERMISSION_DENIED"
    reason = "DESTINATION_NOT_ALLOWED"
