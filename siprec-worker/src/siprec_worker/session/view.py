"""A recorded call as people and tools see it: plain values for JSON."""

from __future__ import annotations

from dataclasses import asdict

from siprec_worker.session.call import RecordedCall
from siprec_worker.session.model import Leg
from siprec_worker.session.source_view import metadata_view, offer_view


def view(call: RecordedCall) -> dict[str, object]:
    """Everything of one call; audio and transcripts are not in it."""
    metadata, recovered = call.metadata, call.recovered_metadata
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
        "legs": [_leg(call, leg) for leg in call.legs],
        "offer": None if call.remote_sdp is None else offer_view(call.remote_sdp),
        "metadata": None if metadata is None else metadata_view(metadata),
        "metadata_recovered": None if recovered is None else metadata_view(recovered),
        "agents": [
            {"url": url, "role": seat.role.name.lower(), "stage": seat.stage.value}
            for url, seat in zip(call.agents, call.conversation.seats, strict=True)
        ],
        "talkback": {
            "address": list(call.voice.address),
            "codec": call.talkback[2].name if call.talkback else None,
            "speaking": call.voice_on,
            "playing": call.voice_on and not call.playout.idle,
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


def _leg(call: RecordedCall, leg: Leg) -> dict[str, object]:
    line = call.lines.get(leg.handle - 1)
    accepted = None if line is None else line.accepted
    return {
        "handle": leg.handle,
        "kind": leg.kind.name.lower(),
        "label": leg.label,
        "aor": leg.aor,
        "name": leg.name,
        "warnings": list(leg.warnings),
        "on_hold": None if accepted is None else accepted.on_hold,
        "codecs": [] if accepted is None else [p.name for p in accepted.payloads.values()],
        "local_port": None if accepted is None else accepted.local_port,
        "remote": None if accepted is None else [accepted.remote_host, accepted.remote_port],
        "protected": accepted is not None and accepted.keys is not None,
        "quality": None if line is None or line.quality is None else asdict(line.quality),
        "counters": call.counters().get(leg.handle, {}),
        "socket": {} if line is None else dict(line.socket.counters()),
    }
