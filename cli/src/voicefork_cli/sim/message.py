"""SIP messages as ordered header lists, so that a simulated peer can write them byte for byte.

Written apart from the worker's parser: what tests it must not share its faults.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

from voicefork_cli.sim.errors import WireError

Header = tuple[str, str]

_COMPACT = {
    "v": "Via", "f": "From", "t": "To", "i": "Call-ID", "m": "Contact", "c": "Content-Type",
    "l": "Content-Length", "k": "Supported", "e": "Content-Encoding", "s": "Subject",
    "r": "Refer-To", "x": "Session-Expires",
}  # fmt: skip
_TAG = re.compile(r";\s*tag=([^;>\s]+)", re.IGNORECASE)
_BRANCH = re.compile(r";\s*branch=([^;,\s]+)", re.IGNORECASE)
_URI = re.compile(
    r"(?P<scheme>sips?):(?:(?P<user>[^@;>\s]*)@)?(?P<host>\[[^\]]+\]|[^:;>?\s]+)(?::(?P<port>\d+))?"
    r"(?P<parameters>[^>?\s]*)"
)
_FINAL = 200
_MAX_CSEQ_PARTS = 2


@dataclass(frozen=True, slots=True)
class Uri:
    """sip:user@host:port;transport=..."""

    user: str
    host: str
    port: int
    transport: str = "udp"

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        transport = "" if self.transport == "udp" else f";transport={self.transport}"
        return f"sip:{user}{self.host}:{self.port}{transport}"


def parse_uri(text: str) -> Uri:
    """Reads the URI in `text`: bare, or in a From, Contact, Route. Raises WireError."""
    found = _URI.search(text)
    if found is None:
        raise WireError(f"no SIP URI in {text[:200]!r}")
    transport = re.search(r";transport=(\w+)", found["parameters"], re.IGNORECASE)
    return Uri(
        found["user"] or "",
        found["host"],
        int(found["port"] or 5060),
        transport[1].lower() if transport else "udp",
    )


def tag_of(address: str) -> str:
    found = _TAG.search(address)
    return found[1] if found else ""


def new_branch() -> str:
    return "z9hG4bK" + secrets.token_hex(8)  # RFC 3261 section 8.1.1.7


@dataclass(slots=True)
class Message:
    """A request or a response: its first line, its headers in order, its body."""

    start: str
    headers: list[Header] = field(default_factory=list)
    body: bytes = b""

    @property
    def is_request(self) -> bool:
        return not self.start.startswith("SIP/2.0")

    @property
    def method(self) -> str:
        """Of a request its own, of a response the one it answers (CSeq)."""
        return self.start.split(" ", 1)[0] if self.is_request else self._cseq()[1]

    @property
    def uri(self) -> str:
        return self.start.split(" ")[1]

    @property
    def status(self) -> int:
        return int(self.start.split(" ", 2)[1])

    @property
    def reason(self) -> str:
        return self.start.partition(" ")[2].partition(" ")[2]

    @property
    def cseq(self) -> int:
        return int(self._cseq()[0])

    @property
    def call_id(self) -> str:
        return self.get("Call-ID")

    @property
    def branch(self) -> str:
        found = _BRANCH.search(self.get("Via"))
        return found[1] if found else ""

    @property
    def from_tag(self) -> str:
        return tag_of(self.get("From"))

    @property
    def to_tag(self) -> str:
        return tag_of(self.get("To"))

    def get(self, name: str) -> str:
        """The first header of that name, empty where there is none."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def encode(self) -> bytes:
        """Content-Length is put right where it stands, or added as the last header."""
        length = str(len(self.body))
        headers = [(k, length if k == "Content-Length" else v) for k, v in self.headers]
        if all(key != "Content-Length" for key, _ in headers):
            headers.append(("Content-Length", length))
        lines = "".join(f"{key}: {value}\r\n" for key, value in headers)
        return f"{self.start}\r\n{lines}\r\n".encode() + self.body

    def reply(
        self,
        status: int,
        reason: str,
        *,
        to_tag: str = "",
        headers: Iterable[Header] = (),
        body: bytes = b"",
    ) -> Message:
        """The response to this request (RFC 3261 section 8.2.6); `to_tag` where To has none yet."""
        to = self.get("To")
        kept = [(key, value) for key, value in self.headers if key in ("Via", "Record-Route")]
        kept += [
            ("From", self.get("From")),
            ("To", f"{to};tag={to_tag}" if to_tag and not tag_of(to) else to),
            ("Call-ID", self.call_id),
            ("CSeq", self.get("CSeq")),
        ]
        return Message(f"SIP/2.0 {status} {reason}", [*kept, *headers], body)

    def _cseq(self) -> tuple[str, str]:
        parts = self.get("CSeq").split()
        if len(parts) != _MAX_CSEQ_PARTS or not parts[0].isdigit():
            raise WireError(f"CSeq {self.get('CSeq')!r}")
        return parts[0], parts[1]


def parse_message(data: bytes) -> Message:
    """Raises WireError on anything that no SIP peer can act on."""
    head, separator, body = data.partition(b"\r\n\r\n")
    lines = re.sub(r"\r\n[ \t]+", " ", head.decode("utf-8", "replace")).split("\r\n")
    if not separator or not (lines[0].startswith("SIP/2.0 ") or lines[0].endswith(" SIP/2.0")):
        raise WireError(f"no SIP message: {data[:60]!r}")
    headers: list[Header] = []
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            raise WireError(f"header without a colon: {line[:60]!r}")
        name = name.strip()
        headers.append((_COMPACT.get(name.lower(), name), value.strip()))
    message = Message(lines[0], headers, body)
    length = message.get("Content-Length")
    if length.isdigit():
        message.body = body[: int(length)]
    try:
        _ = message.method, message.cseq
        _ = message.uri if message.is_request else message.status
    except (ValueError, IndexError) as error:
        raise WireError(f"first line {lines[0][:60]!r}") from error
    if not message.call_id or not message.branch:
        raise WireError("message without Call-ID or branch")
    return message


def is_final(response: Message) -> bool:
    return response.status >= _FINAL


class StreamFramer:
    """Cuts a TCP stream into messages by Content-Length (RFC 3261 section 18.3)."""

    LIMIT = 256 * 1024

    def __init__(self) -> None:
        self._buffer = b""

    def receive(self, data: bytes) -> list[bytes]:
        """Whole messages in what has come so far. Raises WireError where the limit is passed."""
        self._buffer += data
        messages = []
        while (message := self._take()) is not None:
            messages.append(message)
        if len(self._buffer) > self.LIMIT:
            raise WireError(f"{len(self._buffer)} bytes without the end of a message")
        return messages

    def _take(self) -> bytes | None:
        self._buffer = self._buffer.lstrip(b"\r\n")  # keep-alives (RFC 5626 section 4.4.1)
        head, separator, _ = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return None
        found = re.search(rb"\r\n(?:content-length|l)\s*:\s*(\d+)", head, re.IGNORECASE)
        end = len(head) + 4 + (int(found[1]) if found else 0)
        if len(self._buffer) < end:
            return None
        message, self._buffer = self._buffer[:end], self._buffer[end:]
        return message
