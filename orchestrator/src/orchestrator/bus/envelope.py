"""The context envelope: what a human's screen, a CRM or a queue consumer gets, as versioned JSON.

    {"v": 1, "type": "handoff.context", "handoff_id", "request_id", "call_id", "tenant",
     "revision", "published_at", "intent", "language", "priority", "reason", "target", "queue",
     "context": {"summary", "transcript_tail": [{"speaker", "text", "at"}], "slots",
                 "authentication", "customer_reference", "evidence": [{"kind", "text", "from_pts",
                 "to_pts"}], "briefing_text", "sentiment"}}

Additive only within v 1: readers ignore what they do not know. `revision` is the context's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.errors import PeerError
from orchestrator.handoff.state import State, view
from orchestrator.model import (
    Authentication,
    CallId,
    Context,
    Endpoint,
    Evidence,
    Extension,
    HandoffId,
    Queue,
    SipUri,
    Speaker,
    Target,
    TranscriptLine,
)

VERSION = 1
TYPE = "handoff.context"


class EnvelopeUnreadable(PeerError):  # noqa: N818 - named after what happened
    """Not an envelope of this version."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """One revision of a handoff's context. Spoken briefing audio stays out of it."""

    handoff_id: HandoffId
    request_id: str
    call_id: CallId
    tenant: str
    revision: int
    published_at: float  # seconds since the epoch
    intent: str = ""
    language: str = ""
    priority: int = 0
    reason: str = ""
    target: str = ""  # as routing writes it: PJSIP/alice, extension:200@internal
    queue: str = ""
    context: Context = field(default_factory=Context)


def envelope_of(state: State, context: Context, now: float) -> Envelope:
    request, handoff = state.request, view(state)
    targets = request.plan.targets
    target = handoff.target or (targets[0] if targets else None)
    return Envelope(
        handoff_id=request.handoff_id,
        request_id=request.request_id,
        call_id=request.call_id,
        tenant=request.place.tenant,
        revision=state.context_revision,
        published_at=now,
        intent=request.intent,
        language=request.language,
        priority=request.plan.priority,
        reason=request.reason,
        target="" if target is None else _target(target),
        queue=request.plan.queue_name,
        context=context,
    )


def write_envelope(envelope: Envelope) -> str:
    document = {
        "v": VERSION,
        "type": TYPE,
        "handoff_id": envelope.handoff_id,
        "request_id": envelope.request_id,
        "call_id": envelope.call_id,
        "tenant": envelope.tenant,
        "revision": envelope.revision,
        "published_at": envelope.published_at,
        "intent": envelope.intent,
        "language": envelope.language,
        "priority": envelope.priority,
        "reason": envelope.reason,
        "target": envelope.target,
        "queue": envelope.queue,
        "context": _context(envelope.context),
    }
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def parse_envelope(text: str | bytes) -> Envelope:
    """Raises EnvelopeUnreadable on anything but an envelope of this version."""
    try:
        document = json.loads(text)
        if (document["v"], document["type"]) == (VERSION, TYPE):
            return _envelope(document)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise EnvelopeUnreadable(f"not a context envelope: {error}") from error
    raise EnvelopeUnreadable(f"{document['type']!r} version {document['v']!r} is not read here")


def _envelope(document: Mapping[str, Any]) -> Envelope:
    return Envelope(
        handoff_id=HandoffId(_text(document["handoff_id"])),
        request_id=_text(document["request_id"]),
        call_id=CallId(_text(document["call_id"])),
        tenant=_text(document["tenant"]),
        revision=int(document["revision"]),
        published_at=float(document["published_at"]),
        intent=_text(document.get("intent", "")),
        language=_text(document.get("language", "")),
        priority=int(document.get("priority", 0)),
        reason=_text(document.get("reason", "")),
        target=_text(document.get("target", "")),
        queue=_text(document.get("queue", "")),
        context=_parse_context(document["context"]),
    )


def _context(context: Context) -> dict[str, object]:
    return {
        "summary": context.summary,
        "transcript_tail": [
            {"speaker": line.speaker.name.lower(), "text": line.text, "at": line.at}
            for line in context.transcript_tail
        ],
        "slots": dict(context.slots),
        "authentication": context.authentication.name.lower(),
        "customer_reference": context.customer_reference,
        "evidence": [
            {
                "kind": piece.kind,
                "text": piece.text,
                "from_pts": piece.from_pts,
                "to_pts": piece.to_pts,
            }
            for piece in context.evidence
        ],
        "briefing_text": context.briefing_text,
        "sentiment": context.sentiment,
    }


def _parse_context(plain: Mapping[str, Any]) -> Context:
    return Context(
        summary=_text(plain.get("summary", "")),
        transcript_tail=tuple(
            TranscriptLine(
                Speaker[line["speaker"].upper()],
                _text(line["text"]),
                None if line.get("at") is None else float(line["at"]),
            )
            for line in plain.get("transcript_tail", [])
        ),
        slots=dict(plain.get("slots", {})),
        authentication=Authentication[plain.get("authentication", "unspecified").upper()],
        customer_reference=_text(plain.get("customer_reference", "")),
        evidence=tuple(
            Evidence(
                _text(piece["kind"]),
                _text(piece["text"]),
                int(piece.get("from_pts", 0)),
                int(piece.get("to_pts", 0)),
            )
            for piece in plain.get("evidence", [])
        ),
        briefing_text=_text(plain.get("briefing_text", "")),
        sentiment=_text(plain.get("sentiment", "")),
    )


def _target(target: Target) -> str:
    match target:
        case Queue(name):
            return f"queue:{name}"
        case Extension(number, context):
            return f"extension:{number}@{context}" if context else f"extension:{number}"
        case SipUri(uri):
            return uri
        case Endpoint(name):
            return name


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} is not a text")
    return value
