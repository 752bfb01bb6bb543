"""What the recording client said of a call, as plain values for JSON: its metadata, its offer.

What was not said is left out, but for the lists and for what an m-line always has.
"""

from __future__ import annotations

from siprec_worker.protocol.rs_metadata import Participant, RecordingMetadata
from siprec_worker.protocol.sdp import Media, SessionDescription


def metadata_view(metadata: RecordingMetadata) -> dict[str, object]:
    """RFC 7865's elements; the streams that a participant sends and receives by their labels."""
    return {
        "root": metadata.root,
        "namespace": metadata.namespace,
        "datamode": metadata.datamode,
        "groups": [{"id": group.id} for group in metadata.groups],
        "sessions": [
            _said(
                id=session.id,
                sip_session_id=session.sip_session_id,
                group=session.group_id,
                start_time=session.start_time,
            )
            for session in metadata.sessions
        ],
        "participants": [_participant(metadata, party) for party in metadata.participants],
        "streams": [
            _said(id=stream.id, session=stream.session_id, label=stream.label, mode=stream.mode)
            for stream in metadata.streams
        ],
        "stream_owner": {label: list(aors) for label, aors in metadata.stream_owner.items()},
        "extensions": list(dict.fromkeys(extension.name for extension in metadata.extensions)),
        "warnings": list(metadata.warnings),
    }


def _participant(metadata: RecordingMetadata, party: Participant) -> dict[str, object]:
    return {
        **_said(
            id=party.id,
            session=party.session_id,
            associate_time=party.associate_time,
            disassociate_time=party.disassociate_time,
            unresolved_send=list(metadata.undeclared(party.sends)),
            unresolved_recv=list(metadata.undeclared(party.receives)),
        ),
        "aors": [_said(aor=name_id.aor, name=name_id.name) for name_id in party.name_ids],
        "send": list(metadata.labels(party.sends)),
        "recv": list(metadata.labels(party.receives)),
    }


def offer_view(offer: SessionDescription) -> list[dict[str, object]]:
    """The offer's m-lines, in order, with what each inherits from the session. No keys."""
    return [_media(offer, media) for media in offer.media]


def _media(offer: SessionDescription, media: Media) -> dict[str, object]:
    return {
        "media": media.kind,
        "port": media.port,
        "proto": media.protocol,
        "ip": offer.address_of(media) or None,
        "label": media.label,
        "ptime": media.ptime_ms,
        "maxptime": media.maxptime_ms,
        "direction": offer.direction_of(media).value,
        "on_hold": offer.on_hold(media),
        "rtcp_mux": media.rtcp_mux,
        "crypto_suites": [line.split()[1] for line in media.crypto if len(line.split()) > 1],
        "codecs": [
            {"pt": pt, **_said(name=payload.name, rate=payload.rate, fmtp=payload.fmtp)}
            for pt, payload in media.payloads.items()
        ],
    }


def _said(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value}
