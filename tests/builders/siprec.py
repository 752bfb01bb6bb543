"""Recording metadata and SIPREC bodies for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from siprec_worker.protocol.multipart import Part, multipart_mixed

BOUNDARY = "OSS-unique-boundary-42"
MULTIPART = ("Content-Type", f"multipart/mixed;boundary={BOUNDARY}")


@dataclass(frozen=True, slots=True)
class Party:
    """A participant who sends the stream of one label."""

    aor: str
    label: str
    name: str = ""
    extension: str = ""


ALICE = Party("sip:+14155550100@127.0.0.10", "1", "Alice Carrier")
BOB = Party("sip:+14155550199@127.0.0.1", "0")


def metadata(parties: Sequence[Party] = (ALICE, BOB), *, session: str = "call@carrier") -> bytes:
    """A complete document in OpenSIPS' form and order: escaping is the caller's."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        "<recording xmlns='urn:ietf:params:xml:ns:recording:1'>",
        "\t<datamode>complete</datamode>",
        f'\t<session session_id="s1"><sipSessionID>{session}</sipSessionID></session>',
    ]
    for number, party in enumerate(parties):
        lines += [
            f'\t<participant participant_id="p{number}">',
            f'\t\t<nameID aor="{party.aor}">',
            f"\t\t\t<name>{party.name}</name>",
            "\t\t</nameID>",
            f"\t\t{party.extension}",
            "\t</participant>",
        ]
    for number, party in enumerate(parties):
        lines += [
            f'\t<stream stream_id="st{number}" session_id="s1">',
            f"\t\t<label>{party.label}</label>",
            "\t</stream>",
            f'\t<participantstreamassoc participant_id="p{number}">',
            f"\t\t<send>st{number}</send>",
            "\t</participantstreamassoc>",
        ]
    return "\n".join([*lines, "</recording>", ""]).encode()


def siprec_body(sdp: bytes, document: bytes) -> bytes:
    parts = (
        Part("application/sdp", sdp),
        Part(
            "application/rs-metadata+xml", document,
            (("Content-Disposition", "recording-session"),),
        ),
    )  # fmt: skip
    return multipart_mixed(parts, BOUNDARY)
