"""Whom a handoff may call, in the words of Asterisk's Dial() and of ARI's originate."""

from __future__ import annotations

from orchestrator.errors import Unprocessable
from orchestrator.model import Endpoint, Extension, Queue, SipUri, Target


def endpoint_of(target: Target, *, context: str, trunk: str) -> str:
    """`context` is where extensions are dialled that name none; `trunk` carries SIP URIs.

    Raises Unprocessable: a queue, or a SIP URI without a trunk.
    """
    match target:
        case Endpoint(name):
            return name
        case Extension(number, own):
            return f"Local/{number}@{own or context}"
        case SipUri(uri) if trunk:
            return f"PJSIP/{trunk}/{uri}"
        case SipUri():
            why = "no trunk is configured for targets outside (--trunk)"
            raise Unprocessable("dial", "endpoint", 0, why)
        case Queue(name):
            raise Unprocessable("dial", "endpoint", 0, f"queue {name} cannot be dialled")
