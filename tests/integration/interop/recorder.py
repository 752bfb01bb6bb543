"""The least that records: answers every offer, keeps the metadata. Stands in for a session."""

from __future__ import annotations

from dataclasses import dataclass, field

from siprec_worker.errors import MetadataError, OfferRejected, SdpError
from siprec_worker.net.sip_endpoint import SipEndpoint
from siprec_worker.protocol.codecs import NARROWBAND_CAPABILITIES
from siprec_worker.protocol.offer_answer import answer, recordable_lines, reoffer
from siprec_worker.protocol.rs_metadata import RecordingMetadata
from siprec_worker.protocol.rs_metadata_xml import parse_metadata
from siprec_worker.protocol.sdp import SessionDescription, parse_sdp
from siprec_worker.protocol.sip.events import Confirmed, DialogId, Invited, UasEvent


@dataclass
class Recording:
    ports: dict[int, int] = field(default_factory=dict)
    local: SessionDescription | None = None
    offer: SessionDescription | None = None
    document: RecordingMetadata | None = None
    metadata: RecordingMetadata | None = None
    unreadable: bool = False
    versions: int = 0


class Recorder:
    """The listener of an endpoint."""

    def __init__(self) -> None:
        self.recordings: dict[DialogId, Recording] = {}
        self.events: list[UasEvent] = []
        self._next_port = 40000

    @property
    def last(self) -> Recording:
        return list(self.recordings.values())[-1]

    def __call__(self, endpoint: SipEndpoint, event: UasEvent) -> None:
        self.events.append(event)
        if isinstance(event, Invited):
            self._invited(endpoint, event)

    def confirmed(self, dialog_id: DialogId) -> bool:
        return any(isinstance(e, Confirmed) and e.dialog_id == dialog_id for e in self.events)

    def _invited(self, endpoint: SipEndpoint, event: Invited) -> None:
        recording = self.recordings.setdefault(event.dialog_id, Recording())
        if event.content.metadata is not None:
            self._note_metadata(recording, event.content.metadata)
        try:
            body = self._answer(recording, event)
        except SdpError:
            endpoint.reject(event.dialog_id, 400)
        except OfferRejected as error:
            endpoint.reject(event.dialog_id, error.sip_status, error.reason)
        else:
            endpoint.accept(event.dialog_id, body)

    def _answer(self, recording: Recording, event: Invited) -> bytes:
        recording.versions += 1
        if event.content.sdp is None:
            if event.request.method == "UPDATE" or recording.local is None:
                return b""
            recording.local = reoffer(
                recording.local, "127.0.0.1", recording.ports, recording.versions
            )
            return recording.local.encode()
        recording.offer = parse_sdp(event.content.sdp)
        for index in recordable_lines(recording.offer, NARROWBAND_CAPABILITIES):
            if index not in recording.ports:
                recording.ports[index] = self._next_port
                self._next_port += 2
        made = answer(
            recording.offer, NARROWBAND_CAPABILITIES, "127.0.0.1", recording.ports,
            version=recording.versions,
        )  # fmt: skip
        recording.local = made.sdp
        return made.body

    @staticmethod
    def _note_metadata(recording: Recording, data: bytes) -> None:
        try:
            recording.document = parse_metadata(data)
        except MetadataError:
            recording.unreadable = True
            return
        before = recording.metadata
        recording.metadata = before.merged(recording.document) if before else recording.document
