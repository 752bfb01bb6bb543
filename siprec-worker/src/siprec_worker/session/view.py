"""A recorded call as people and tools see it: plain values for JSON."""

from __future__ import annotations

from siprec_worker.protocol.rs_metadata import RecordingMetadata
from siprec_worker.session.call import RecordedCall


def view(call: RecordedCall) -> dict[str, object]:
    """Everything of one call; audio and transcripts are not in it."""
    metadata = call.metadata
    return {
        "call_id": call.identity.call_id,
        "session_id": call.session_id,
        "sip_call_id": call.sip_call_id,
        "tenant": call.identity.tenant,
        "direction": call.identity.direction,
        "route": call.route,
        "state": "ended" if call.ended_reason else "recording" if call.confirmed else "answered",
        "started_at": call.started_at,
        "ended_at": call.ended_at or None,
        "ended_reason": call.ended_reason or None,
        "legs": [
            {
                "handle": leg.handle,
                "kind": leg.kind.name.lower(),
                "label": leg.label,
                "aor": leg.aor,
                "name": leg.name,
                "warnings": list(leg.warnings),
                "counters": call.counters().get(leg.handle, {}),
            }
            for leg in call.legs
        ],
        "metadata": None if metadata is None else _metadata(metadata),
        "agents": [
            {"url": url, "role": seat.role.name.lower(), "stage": seat.stage.value}
            for url, seat in zip(call.agents, call.conversation.seats, strict=True)
        ],
        "talkback": {
            "address": list(call.voice.address),
            "codec": call.talkback[2].name if call.talkback else None,
            "speaking": call.voice_on,
            "counters": dict(call.voice.counters()),
        },
        "warnings": list(dict.fromkeys((*call.identity.warnings, *call.warnings))),
    }


def summary(call: RecordedCall) -> dict[str, object]:
    """One line of a list of calls."""
    return {
        "call_id": call.identity.call_id,
        "sip_call_id": call.sip_call_id,
        "tenant": call.identity.tenant,
        "route": call.route,
        "started_at": call.started_at,
        "ended_reason": call.ended_reason or None,
        "legs": len(call.legs),
    }


def _metadata(metadata: RecordingMetadata) -> dict[str, object]:
    """What the SRC said of the call, normalised: streams by their labels."""
    return {
        "datamode": metadata.datamode,
        "sessions": [{"id": s.id, "sip_session_id": s.sip_session_id} for s in metadata.sessions],
        "groups": [group.id for group in metadata.groups],
        "participants": [
            {
                "id": participant.id,
                "aors": [{"aor": n.aor, "name": n.name} for n in participant.name_ids],
                "send": metadata.labels(participant.sends),
                "recv": metadata.labels(participant.receives),
                "session": participant.session_id,
            }
            for participant in metadata.participants
        ],
        "streams": [
            {"id": stream.id, "label": stream.label, "session": stream.session_id}
            for stream in metadata.streams
        ],
        "stream_owner": metadata.stream_owner,
        "warnings": list(metadata.warnings),
    }
