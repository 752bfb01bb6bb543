"""The SIP messages of OpenSIPS' siprec module, header by header as captured from 3.6.8."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from voicefork_cli.sim.dialog import contact_uri
from voicefork_cli.sim.message import Header, Message
from voicefork_cli.sim.rs_metadata import BOUNDARY

AGENT = "OpenSIPS (3.6.8 (x86_64/linux))"
FIRST_CSEQ = 2
RECORDING_HEADERS: tuple[Header, ...] = (
    ("Require", "siprec"),
    ("Content-Type", f"multipart/mixed;boundary={BOUNDARY}"),
)


TRYING = 100


def _call_id() -> str:
    numbers = (
        secrets.randbelow(1000),
        secrets.randbits(23),
        int(time.time()),
        secrets.randbits(31),
    )
    return "B2B." + ".".join(map(str, numbers))


def _branch() -> str:
    return f"z9hG4bK{secrets.randbits(16):x}.{secrets.randbits(32):x}.0"


@dataclass(slots=True)
class SrcDialog:
    """OpenSIPS' side of one recording dialog; a new one for each SRS tried."""

    srs_uri: str
    from_uri: str
    contact: str  # URI, with ;transport=tcp where it is so
    via: str  # "UDP 127.0.0.1:5060"
    call_id: str = field(default_factory=_call_id)
    from_tag: str = field(default_factory=lambda: f"{secrets.token_hex(16)}-{secrets.token_hex(2)}")
    to_tag: str = ""
    target: str = ""  # set by the first 200 and never again: re-INVITEs do not move it
    route: tuple[str, ...] = ()
    cseq: int = FIRST_CSEQ - 1
    invite_cseq: int = 0

    def established(self, answer: Message) -> None:
        self.to_tag = answer.to_tag
        if not self.target:
            self.target = contact_uri(answer) or self.srs_uri
            routes = [r for line in answer.all("Record-Route") for r in re.split(r",\s*", line)]
            self.route = tuple(reversed(routes))

    @property
    def next_hop(self) -> str:
        return self.route[0] if self.route else self.target or self.srs_uri

    def request(self, method: str, *, headers: Sequence[Header] = (), body: bytes = b"") -> Message:
        if method != "ACK":
            self.cseq += 1
        if method == "INVITE":
            self.invite_cseq = self.cseq
        number = self.invite_cseq if method == "ACK" else self.cseq
        to = f"<{self.srs_uri}>" + (f";tag={self.to_tag}" if self.to_tag else "")
        written: list[Header] = [
            ("Via", f"SIP/2.0/{self.via};branch={_branch()}"),
            ("To", to),
            ("From", f"<{self.from_uri}>;tag={self.from_tag}"),
            ("CSeq", f"{number} {method}"),
            ("Call-ID", self.call_id),
            *(("Route", route) for route in self.route),
            ("Max-Forwards", "70"),
            ("Content-Length", ""),
            ("User-Agent", AGENT),
            *headers,
            ("Contact", f"<{self.contact}>;+sip.src"),
        ]
        return Message(f"{method} {self.target or self.srs_uri} SIP/2.0", written, body)

    def reply(self, request: Message, status: int, reason: str, body: bytes = b"") -> Message:
        """An answer within the dialog: the Contact's doubled bracket is OpenSIPS' own."""
        headers: list[Header] = [
            *(("Via", via) for via in request.all("Via")),
            ("To", request.get("To")),
            ("From", request.get("From")),
            ("Call-ID", request.call_id),
            ("CSeq", request.get("CSeq")),
        ]
        if body:
            headers.append(("Content-Type", "application/sdp"))
        if status > TRYING:
            headers.append(("Contact", f"<<{self.contact}>;+sip.src>"))
        headers += [("Server", AGENT), ("Content-Length", "")]
        return Message(f"SIP/2.0 {status} {reason}", headers, body)
