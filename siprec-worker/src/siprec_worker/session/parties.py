"""Who speaks on which line of a call: the recording client's metadata, read and applied."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from siprec_worker.errors import MetadataError
from siprec_worker.protocol.legs import LegHints
from siprec_worker.protocol.legs import legs as attribute_legs
from siprec_worker.protocol.rs_metadata import RecordingMetadata
from siprec_worker.protocol.rs_metadata_xml import parse_metadata, recover_metadata
from siprec_worker.session.call import RecordedCall
from siprec_worker.session.model import Leg, LegKind

log = structlog.get_logger(__name__)

MOST_WARNINGS = 64
KINDS = {"customer": LegKind.CUSTOMER, "pbx": LegKind.PBX, "unknown": LegKind.UNKNOWN}


@dataclass(frozen=True, slots=True)
class ReadMetadata:
    """A metadata part as far as it could be read. Both None: there was none, or it was no XML."""

    document: RecordingMetadata | None = None
    recovered: RecordingMetadata | None = None  # what is left of one that is not well-formed
    fault: str = ""

    @property
    def best(self) -> RecordingMetadata | None:
        return self.document or self.recovered


def read_metadata(data: bytes | None) -> ReadMetadata:
    """Never raises: a call is recorded whatever its metadata look like."""
    if data is None:
        return ReadMetadata()
    try:
        return ReadMetadata(parse_metadata(data))
    except MetadataError as error:
        fault = str(error)
    try:
        return ReadMetadata(None, recover_metadata(data), fault)
    except MetadataError:
        return ReadMetadata(fault=fault)


def apply_metadata(call: RecordedCall, read: ReadMetadata) -> None:
    """Joins a document to what the call knows (RFC 7865 section 6: partial ones amend)."""
    if read.fault:
        _warn(call, f"unreadable recording metadata: {read.fault}")
    if read.document is not None:
        known = call.metadata
        call.metadata = read.document if known is None else known.merged(read.document)
        call.recovered_metadata = None
        _warn(call, *read.document.warnings)
    elif read.recovered is not None:
        call.recovered_metadata = read.recovered


def attribute(call: RecordedCall) -> bool:
    """Names the legs by metadata, our extension, else the order in the SDP. True: they changed.

    What a recovering parser found is believed only as long as there is nothing better.
    """
    ordered = sorted(call.lines.values(), key=lambda line: line.accepted.index)
    labels = [line.accepted.label for line in ordered]
    known = call.metadata or call.recovered_metadata
    found = attribute_legs(known, labels, LegHints(direction=call.identity.direction))
    before = call.legs
    call.legs = tuple(
        Leg(line.handle, KINDS[who.kind], who.label, who.aor, who.name, who.warnings)
        for line, who in zip(ordered, found, strict=True)
    )
    for leg in call.legs:
        _warn(call, *leg.warnings)
    return call.legs != before


def _warn(call: RecordedCall, *warnings: str) -> None:
    """Each once; a client may send metadata for as long as the call lasts."""
    for warning in warnings:
        if len(call.warnings) < MOST_WARNINGS and warning not in call.warnings:
            call.warnings.append(warning)
