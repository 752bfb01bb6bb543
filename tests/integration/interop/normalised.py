"""Our values in the form of the corpus' expectations."""

from __future__ import annotations

from typing import Any

from siprec_worker.protocol.rs_metadata import Participant, RecordingMetadata
from siprec_worker.protocol.sdp import STATIC_PAYLOADS, Media, SessionDescription


def media_lines(offer: SessionDescription) -> list[dict[str, Any]]:
    return [_media(offer, media) for media in offer.media]


def _media(offer: SessionDescription, media: Media) -> dict[str, Any]:
    return {
        "media": media.kind,
        "port": media.port,
        "proto": media.protocol,
        "ip": offer.address_of(media) or None,
        "label": media.label,
        "ptime": media.ptime_ms,
        "direction": offer.direction_of(media).value,
        "codecs": [(pt, p.name, p.rate, p.fmtp) for pt, p in media.payloads.items()],
        "on_hold": offer.on_hold(media),
        "rtcp_mux": media.rtcp_mux,
        "maxptime": media.maxptime_ms,
        "crypto": [(*line.split()[:2], line.split()[2]) for line in media.crypto],
    }


def expected_media_lines(expected: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [_expected_media(line) for line in expected]


def _expected_media(line: dict[str, Any]) -> dict[str, Any]:
    named = [c for c in line["codecs"] if "name" in c or c.get("pt") in STATIC_PAYLOADS]
    return {
        **{k: line[k] for k in ("media", "port", "proto", "ip", "label", "ptime", "direction")},
        "codecs": [(c["pt"], c["name"], c["rate"], c.get("fmtp", "")) for c in named],
        "on_hold": line["on_hold"],
        "rtcp_mux": bool(line.get("rtcp_mux")),
        "maxptime": line.get("maxptime"),
        "crypto": [(c["tag"], c["suite"], c["key"]) for c in line["crypto"]],
    }


def metadata(document: RecordingMetadata) -> dict[str, Any]:
    return {
        "root": document.root,
        "namespace": document.namespace,
        "datamode": document.datamode,
        "groups": [{"id": group.id} for group in document.groups],
        "sessions": [
            _present(
                id=s.id, sip_session_id=s.sip_session_id, group=s.group_id, start_time=s.start_time
            )
            for s in document.sessions
        ],
        "participants": [_participant(document, p) for p in document.participants],
        "streams": [
            _present(id=s.id, session=s.session_id, label=s.label, mode=s.mode)
            for s in document.streams
        ],
        "extensions": list(dict.fromkeys(e.name for e in document.extensions)),
        "stream_owner": {label: list(aors) for label, aors in document.stream_owner.items()},
    }


def _participant(document: RecordingMetadata, participant: Participant) -> dict[str, Any]:
    return {
        **_present(
            id=participant.id,
            session=participant.session_id,
            associate_time=participant.associate_time,
            disassociate_time=participant.disassociate_time,
            unresolved_send=list(document.undeclared(participant.sends)),
            unresolved_recv=list(document.undeclared(participant.receives)),
        ),
        "aors": [_present(aor=n.aor, name=n.name) for n in participant.name_ids],
        "send": list(document.labels(participant.sends)),
        "recv": list(document.labels(participant.receives)),
    }


def expected_metadata(expected: dict[str, Any]) -> dict[str, Any]:
    participants = [
        {key: value for key, value in participant.items() if key != "note"}
        for participant in expected["participants"]
    ]
    return {**expected, "participants": participants}


def _present(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}
