"""voicefork.handoff.v1 to the model and back. What comes in is checked field by field."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from enum import IntEnum
from typing import TypeVar

from google.protobuf import json_format, struct_pb2, timestamp_pb2
from voicefork.handoff.v1 import handoff_pb2 as pb

from orchestrator.errors import PeerError
from orchestrator.model import (
    BRIEFING_AUDIO_BYTES,
    EVIDENCE_PIECES,
    SLOTS,
    SUMMARY_CHARACTERS,
    TRANSCRIPT_LINES,
    Authentication,
    CallId,
    Context,
    Endpoint,
    Escalation,
    Evidence,
    Extension,
    Fallback,
    Handoff,
    Pattern,
    Queue,
    SipUri,
    Speaker,
    Target,
    Timing,
    TranscriptLine,
)

log = logging.getLogger(__name__)

ID_CHARACTERS = 200
TEXT_CHARACTERS = 2000
GIVE_UP_SECONDS = 3600

E = TypeVar("E", bound=IntEnum)


class InvalidRequest(PeerError):  # noqa: N818 - named after what happened
    """`violations`: (field, what is wrong with it)."""

    def __init__(self, violations: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{field}: {why}" for field, why in violations))
        self.violations = tuple(violations)


def escalation_from(request: pb.EscalateRequest, call_id: str = "") -> Escalation:
    """`call_id` is that of the stream the request came in, if any. Raises InvalidRequest."""
    wrong = _wrong_escalation(request, call_id)
    if wrong:
        raise InvalidRequest(wrong)
    give_up = request.give_up_after
    return Escalation(
        request_id=request.request_id,
        call_id=CallId(call_id or request.call_id),
        reason=request.reason,
        intent=request.intent,
        confidence=request.confidence if request.HasField("confidence") else None,
        language=request.language,
        priority=request.priority,
        pattern=_known(Pattern, request.pattern) or Pattern.AUTO,
        target=_target_from(request.target),
        context=context_from(request.context),
        say_first=request.say_first,
        freeze_bot=request.freeze_bot,
        give_up_after=(
            give_up.seconds + give_up.nanos / 1e9 if request.HasField("give_up_after") else None
        ),
        fallbacks=tuple(
            dict.fromkeys(way for raw in request.fallbacks if (way := _known(Fallback, raw)))
        ),
        supersede=request.supersede,
    )


def _wrong_escalation(request: pb.EscalateRequest, call_id: str) -> list[tuple[str, str]]:
    wrong = [
        (field, f"at most {most} characters")
        for field, most in (
            ("request_id", ID_CHARACTERS),
            ("call_id", ID_CHARACTERS),
            ("say_first", ID_CHARACTERS),
            ("intent", ID_CHARACTERS),
            ("language", ID_CHARACTERS),
            ("reason", TEXT_CHARACTERS),
        )
        if len(getattr(request, field)) > most
    ]
    if not request.request_id:
        wrong.append(("request_id", "required"))
    if not (request.call_id or call_id):
        wrong.append(("call_id", "required"))
    elif call_id and request.call_id not in {"", call_id}:
        wrong.append(("call_id", "not the call of this stream"))
    if request.HasField("give_up_after"):
        seconds = request.give_up_after.seconds + request.give_up_after.nanos / 1e9
        if not 0 < seconds <= GIVE_UP_SECONDS:
            wrong.append(("give_up_after", f"more than 0 and at most {GIVE_UP_SECONDS} s"))
    if request.HasField("confidence") and not 0 <= request.confidence <= 1:
        wrong.append(("confidence", "0 to 1"))
    if request.HasField("target") and _target_from(request.target) is None:
        wrong.append(("target", "empty"))
    return wrong + wrong_context(request.context)


def wrong_context(context: pb.Context) -> list[tuple[str, str]]:
    """(field, what is wrong with it)"""
    wrong = []
    if len(context.summary) > SUMMARY_CHARACTERS:
        wrong.append(("context.summary", f"at most {SUMMARY_CHARACTERS} characters"))
    if len(context.transcript_tail) > TRANSCRIPT_LINES:
        wrong.append(("context.transcript_tail", f"at most {TRANSCRIPT_LINES} lines"))
    if not all(_is_time(line.at) for line in context.transcript_tail):
        wrong.append(("context.transcript_tail", "at is no time"))
    if len(context.evidence) > EVIDENCE_PIECES:
        wrong.append(("context.evidence", f"at most {EVIDENCE_PIECES} pieces"))
    if len(context.slots.fields) > SLOTS:
        wrong.append(("context.slots", f"at most {SLOTS}"))
    if not _is_json(context.slots):
        wrong.append(("context.slots", "a number is infinite or none"))
    if len(context.customer_reference) > ID_CHARACTERS:  # it becomes a channel variable
        wrong.append(("context.customer_reference", f"at most {ID_CHARACTERS} characters"))
    if len(context.briefing_audio) > BRIEFING_AUDIO_BYTES:
        wrong.append(("context.briefing_audio", f"at most {BRIEFING_AUDIO_BYTES} bytes"))
    return wrong


def context_from(context: pb.Context) -> Context:
    return Context(
        summary=context.summary,
        transcript_tail=tuple(
            TranscriptLine(
                _known(Speaker, line.speaker) or Speaker.UNSPECIFIED,
                line.text,
                _seconds(line.at) if line.HasField("at") else None,
            )
            for line in context.transcript_tail
        ),
        slots=json_format.MessageToDict(context.slots),
        authentication=(
            _known(Authentication, context.authentication) or Authentication.UNSPECIFIED
        ),
        customer_reference=context.customer_reference,
        evidence=tuple(
            Evidence(piece.kind, piece.text, piece.from_pts, piece.to_pts)
            for piece in context.evidence
        ),
        briefing_text=context.briefing_text,
        briefing_audio=context.briefing_audio,
        sentiment=context.sentiment,
        briefing_spoken=context.briefing_spoken,
    )


def context_to(context: Context) -> pb.Context:
    wire = pb.Context(
        summary=context.summary,
        authentication=pb.Authentication.ValueType(context.authentication),
        customer_reference=context.customer_reference,
        briefing_text=context.briefing_text,
        briefing_audio=context.briefing_audio,
        sentiment=context.sentiment,
        briefing_spoken=context.briefing_spoken,
    )
    for line in context.transcript_tail:
        written = wire.transcript_tail.add(
            speaker=pb.TranscriptLine.Speaker.ValueType(line.speaker), text=line.text
        )
        if line.at is not None:
            written.at.CopyFrom(_timestamp(line.at))
    for piece in context.evidence:
        wire.evidence.add(
            kind=piece.kind, text=piece.text, from_pts=piece.from_pts, to_pts=piece.to_pts
        )
    if context.slots:
        json_format.ParseDict(dict(context.slots), wire.slots)
    return wire


def handoff_to(handoff: Handoff) -> pb.Handoff:
    wire = pb.Handoff(
        handoff_id=handoff.handoff_id,
        request_id=handoff.request_id,
        call_id=handoff.call_id,
        tenant=handoff.tenant,
        revision=handoff.revision,
        phase=pb.Phase.ValueType(handoff.phase),
        outcome=pb.Outcome.ValueType(handoff.outcome),
        pattern=pb.Pattern.ValueType(handoff.pattern),
        sip_status=handoff.sip_status,
        q850_cause=handoff.q850_cause,
        timing=_timing_to(handoff.timing),
        created_at=_timestamp(handoff.created_at),
        changed_at=_timestamp(handoff.changed_at),
        context_revision=handoff.context_revision,
    )
    if handoff.target is not None:
        wire.target.CopyFrom(target_to(handoff.target))
    return wire


def _timing_to(timing: Timing) -> pb.Timing:
    return pb.Timing(
        request_to_hold_ms=timing.request_to_hold_ms,
        ring_ms=timing.ring_ms,
        merge_ms=timing.merge_ms,
        silent_ms=timing.silent_ms,
        missing_ms=timing.missing_ms,
        dead_air_ms=timing.dead_air_ms,
        context_lead_ms=timing.context_lead_ms,
        say_first_to_hold_ms=timing.say_first_to_hold_ms,
        longest_gap_ms=timing.longest_gap_ms,
    )


def _target_from(target: pb.Target) -> Target | None:
    match target.WhichOneof("where"):
        case "queue" if target.queue:
            return Queue(target.queue)
        case "extension" if target.extension:
            number, _, context = target.extension.partition("@")
            return Extension(number, context)
        case "sip_uri" if target.sip_uri:
            return SipUri(target.sip_uri)
        case "endpoint" if target.endpoint:
            return Endpoint(target.endpoint)
        case _:
            return None


def target_to(target: Target) -> pb.Target:
    match target:
        case Queue(name):
            return pb.Target(queue=name)
        case Extension(number, context):
            return pb.Target(extension=f"{number}@{context}" if context else number)
        case SipUri(uri):
            return pb.Target(sip_uri=uri)
        case Endpoint(name):
            return pb.Target(endpoint=name)


def _known(kind: type[E], raw: int) -> E | None:
    """None for 0 = unset, and for values of a later version, which are ignored."""
    try:
        return kind(raw) if raw else None
    except ValueError:
        log.info("%s %d is not known here", kind.__name__, raw)
        return None


def _is_time(at: timestamp_pb2.Timestamp) -> bool:
    try:
        at.ToNanoseconds()
    except ValueError:
        return False
    return True


def _is_json(slots: struct_pb2.Struct) -> bool:
    """Infinity and NaN are valid in a Struct on the wire, and not in JSON."""
    try:
        json_format.MessageToDict(slots)
    except (ValueError, json_format.Error):
        return False
    return True


def _seconds(at: timestamp_pb2.Timestamp) -> float:
    return at.seconds + at.nanos / 1e9


def _timestamp(at: float) -> timestamp_pb2.Timestamp:
    wire = timestamp_pb2.Timestamp()
    wire.FromNanoseconds(round(at * 1e9))
    return wire
