"""The recording metadata OpenSIPS 3.6 writes (modules/siprec/siprec_body.c), faults included.

aor and name are not escaped: a caller named "A&B <x>" makes XML that no parser takes. What
`$siprec(caller)` gives (`raw_xml`) is copied as it is.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from xml.sax.saxutils import escape

BOUNDARY = "OSS-unique-boundary-42"
CALLER, CALLEE = 0, 1
LEG_NAMESPACE = "urn:voicefork:siprec:1"

_QUOTES = {'"': "&quot;", "'": "&apos;"}


@dataclass(frozen=True, slots=True)
class Party:
    """One side of the recorded call."""

    aor: str = ""
    name: str = ""
    raw_xml: str = ""  # $siprec(caller), $siprec(callee): instead of the two


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """What the metadata tells of the recorded call."""

    sip_call_id: str
    caller: Party
    callee: Party
    group: str = ""
    session_extension: str = ""  # $siprec(session_custom_extension)


@dataclass(frozen=True, slots=True)
class LabelledStream:
    """A stream of the fork: the leg that speaks on it (CALLER, CALLEE) and its a=label."""

    leg: int
    label: str


def marked_party(aor: str, name: str, kind: str) -> Party:
    """A party as our own OpenSIPS script writes it: escaped, with its leg named.

    Args:
        kind: "customer" or "pbx".
    """
    text = escape(name, _QUOTES)
    name_id = f'<nameID aor="{escape(aor, _QUOTES)}"'
    name_id += f"><name>{text}</name></nameID>" if name else "/>"
    return Party(raw_xml=f"{name_id}<vf:leg xmlns:vf='{LEG_NAMESPACE}' kind='{kind}'/>")


def new_uuid() -> str:
    return base64.b64encode(secrets.token_bytes(16)).decode()


class MetadataWriter:
    """Writes one session's metadata; its ids stay the same from INVITE to re-INVITE.

    Ids are drawn in the order session, caller, callee, then streams as they first come.
    """

    def __init__(
        self, call: RecordedCall, began: datetime, draw: Callable[[], str] = new_uuid
    ) -> None:
        self._call = call
        self._began = began
        self._draw = draw
        self.session_id = draw()
        self._participants = (draw(), draw())
        # rtpengine.c reads the stream's index from the wrong dictionary: one stream per party.
        self._streams: dict[int, str] = {}

    def write(self, streams: Sequence[LabelledStream]) -> bytes:
        """The XML for the labels now offered."""
        labels = {stream.leg: stream.label for stream in streams}
        for leg in labels:
            if leg not in self._streams:
                self._streams[leg] = self._draw()
        lines = [
            '<?xml version="1.0" encoding="UTF-8"?>',
            "<recording xmlns='urn:ietf:params:xml:ns:recording:1'>",
            "\t<datamode>complete</datamode>",
            *self._group(),
            *self._session(),
            *(line for leg in self._parties() for line in self._participant(leg)),
            *(line for leg in self._parties() for line in self._stream(leg, labels)),
            *self._times(),
            *(line for leg in self._parties() for line in self._associations(leg)),
            "</recording>",
        ]
        return "\r\n".join(lines).encode()

    def _parties(self) -> list[int]:
        both = (self._call.caller, self._call.callee)
        return [leg for leg, party in enumerate(both) if party.aor or party.raw_xml]

    def _group(self) -> list[str]:
        if not self._call.group:
            return []
        return [f'\t<group group_id="{escape(self._call.group, _QUOTES)}">', "\t</group>"]

    def _session(self) -> list[str]:
        call = self._call
        lines = [
            f'\t<session session_id="{self.session_id}">',
            f"\t\t<sipSessionID>{escape(call.sip_call_id, _QUOTES)}</sipSessionID>",
        ]
        if call.group:
            lines.append(f"\t\t<group-ref>{escape(call.group, _QUOTES)}</group-ref>")
        if call.session_extension:
            lines.append(f"\t\t{call.session_extension}")
        return [*lines, "\t</session>"]

    def _participant(self, leg: int) -> list[str]:
        party = (self._call.caller, self._call.callee)[leg]
        if party.raw_xml:
            content = [party.raw_xml]
        elif party.name:
            content = [
                f'\t\t<nameID aor="{party.aor}">',
                f"\t\t\t<name>{party.name}</name>",
                "\t\t</nameID>",
            ]
        else:
            content = [f'\t\t<nameID aor="{party.aor}"/>']
        first = f'\t<participant participant_id="{self._participants[leg]}">'
        return [first, *content, "\t</participant>"]

    def _stream(self, leg: int, labels: dict[int, str]) -> list[str]:
        if leg not in labels:
            return []
        return [
            f'\t<stream stream_id="{self._streams[leg]}" session_id="{self.session_id}">',
            f"\t\t<label>{labels[leg]}</label>",
            "\t</stream>",
        ]

    def _times(self) -> list[str]:
        time = f"\t\t<associate-time>{self._began:%Y-%m-%dT%H:%M:%S%z}</associate-time>"
        lines = [
            f'\t<sessionrecordingassoc session_id="{self.session_id}">',
            time,
            "\t</sessionrecordingassoc>",
        ]
        for leg in self._parties():
            who = f'participant_id="{self._participants[leg]}" session_id="{self.session_id}"'
            lines += [f"\t<participantsessionassoc {who}>", time, "\t</participantsessionassoc>"]
        return lines

    def _associations(self, leg: int) -> list[str]:
        lines = [f'\t<participantstreamassoc participant_id="{self._participants[leg]}">']
        if leg in self._streams:
            lines.append(f"\t\t<send>{self._streams[leg]}</send>")
        others = [self._streams[o] for o in self._parties() if o != leg and o in self._streams]
        lines += [f"\t\t<recv>{stream}</recv>" for stream in others]
        return [*lines, "\t</participantstreamassoc>"]


def recording_body(sdp: bytes, metadata: bytes) -> bytes:
    """The multipart body of the INVITE (Content-Type with an unquoted boundary, no blank)."""
    return (
        f"--{BOUNDARY}\r\nContent-Type: application/sdp\r\n\r\n".encode()
        + sdp
        + f"\r\n--{BOUNDARY}\r\nContent-Type: application/rs-metadata+xml\r\n".encode()
        + b"Content-Disposition: recording-session\r\n\r\n"
        + metadata
        + f"\r\n--{BOUNDARY}--\r\n".encode()
    )
