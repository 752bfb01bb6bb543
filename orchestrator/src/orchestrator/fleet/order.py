"""An order for a call, and how it can fail; each failure knows its wire form.

Refused
├── NotAllowed     PERMISSION_DENIED     the callee is on no list
├── OrderChanged   ALREADY_EXISTS        same request_id, another body
├── StillRinging   UNAVAILABLE           another replica rings; ask again
└── CallFailed     FAILED_PRECONDITION   Busy, NoAnswer, Declined, Unreached; Interrupted: ABORTED
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.handoff.causes import outcome_of
from orchestrator.handoff.refusals import Refused
from orchestrator.model import Outcome


@dataclass(frozen=True, slots=True)
class Order:
    request_id: str
    to: str  # E.164 number or SIP URI
    caller: str = ""  # the number shown, "" = the trunk's
    tenant: str = ""
    route: str = ""  # of the worker: which AIs; "" = by its own conditions


class NotAllowed(Refused):
    code = "PERMISSION_DENIED"
    reason = "DESTINATION_NOT_ALLOWED"


class OrderChanged(Refused):
    code = "ALREADY_EXISTS"
    reason = "REQUEST_ID_REUSED"


class StillRinging(Refused):
    code = "UNAVAILABLE"
    reason = "STILL_RINGING"
    retry_seconds = 1.0


class CallFailed(Refused):
    """Nobody answered; `reason` says why."""


class Busy(CallFailed):
    reason = "BUSY"


class NoAnswer(CallFailed):
    reason = "NO_ANSWER"


class Declined(CallFailed):
    reason = "DECLINED"


class Unreached(CallFailed):
    reason = "UNREACHABLE"


class Interrupted(CallFailed):
    """The asker went away while it rang, which ended it."""

    code = "ABORTED"
    reason = "INTERRUPTED"


_FAILURES = {each.reason: each for each in (Busy, NoAnswer, Declined, Unreached, Interrupted)}


def failure_of(sip_status: int, q850_cause: int) -> CallFailed:
    """The carrier's answer in a word."""
    told = f"SIP {sip_status}" if sip_status else f"Q.850 {q850_cause}"
    match outcome_of(sip_status, q850_cause):
        case Outcome.BUSY:
            return Busy(f"the callee is busy ({told})")
        case Outcome.DECLINED:
            return Declined(f"the callee declined ({told})")
        case Outcome.UNREACHABLE:
            return Unreached(f"the callee cannot be reached ({told})")
        case _:
            return NoAnswer(f"nobody answered ({told})")


def failure_named(reason: str) -> CallFailed:
    """By the name it was stored under."""
    return _FAILURES.get(reason, NoAnswer)(f"the call failed before: {reason}")
