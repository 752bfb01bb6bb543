"""SIP requests and responses as values, read from and written to bytes (RFC 3261 section 7)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from siprec_worker.errors import SipError, TooLarge
from siprec_worker.protocol.sip.reasons import REASONS
from siprec_worker.protocol.sip.uri import (
    parse_name_addr,
    parse_params,
    split_host_port,
    split_outside_quotes,
)

MAX_MESSAGE_BYTES = 64 * 1024
MAX_HEADER_BYTES = 16 * 1024
MAX_CSEQ = 2**31 - 1  # RFC 3261 section 8.1.1.5

_COMPACT = {
    "i": "call-id", "m": "contact", "e": "content-encoding", "l": "content-length",
    "c": "content-type", "f": "from", "s": "subject", "k": "supported", "t": "to", "v": "via",
    "x": "session-expires", "o": "event", "u": "allow-events", "r": "refer-to", "b": "referred-by",
}  # fmt: skip
_TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
_COPIED = ("via", "from", "to", "call-id", "cseq")


class BadMessage(SipError):  # noqa: N818 - the message is bad, not the program
    """A message that cannot be taken as it is; `request` is what a refusal can be built from."""

    def __init__(self, text: str, *, request: Request | None = None, status: int = 400) -> None:
        super().__init__(text, status=status, reason=REASONS[status])
        self.request = request


class OversizeMessage(TooLarge):
    """A message over the limits; `request` is what a refusal can be built from."""

    def __init__(self, text: str, *, request: Request | None = None) -> None:
        super().__init__(text)
        self.request = request


def canonical(name: str) -> str:
    lowered = name.strip().lower()
    return _COMPACT.get(lowered, lowered)


@dataclass(frozen=True)
class Headers:
    """Header fields in their order, under the names they came with; looked up by any form."""

    items: tuple[tuple[str, str], ...] = ()

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, value in self.items:
            found.setdefault(canonical(name), []).append(value)
        return found

    def get(self, name: str) -> str | None:
        values = self._by_name.get(canonical(name))
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        """Each field's whole value: for Call-ID, Date and others that may hold a comma."""
        return list(self._by_name.get(canonical(name), ()))

    def values(self, name: str) -> list[str]:
        """The values of a comma-separated header, over all its fields, empty ones left out."""
        fields = self._by_name.get(canonical(name), ())
        return [value for field in fields for value in split_outside_quotes(field, ",") if value]

    def __contains__(self, name: str) -> bool:
        return canonical(name) in self._by_name


@dataclass(frozen=True, slots=True)
class CSeq:
    number: int
    method: str


@dataclass(frozen=True, slots=True)
class Via:
    transport: str
    host: str
    port: int | None
    params: tuple[tuple[str, str], ...]

    def param(self, name: str) -> str | None:
        return dict(self.params).get(name)


@dataclass(frozen=True)
class _Message:
    headers: Headers
    body: bytes

    @cached_property
    def call_id(self) -> str:
        return self._only("call-id")

    @cached_property
    def cseq(self) -> CSeq:
        """Raises SipError where the number is none or too large (RFC 3261 section 8.1.1.5)."""
        number, _, method = self._only("cseq").partition(" ")
        if not (number.isascii() and number.isdigit() and len(number) <= 10):
            raise SipError(f"CSeq {number!r}")
        if int(number) > MAX_CSEQ:
            raise SipError(f"CSeq {number} is over 2**31")
        return CSeq(int(number), method.strip())

    @cached_property
    def from_tag(self) -> str:
        return parse_name_addr(self._only("from")).param("tag") or ""

    @cached_property
    def to_tag(self) -> str:
        return parse_name_addr(self._only("to")).param("tag") or ""

    @cached_property
    def top_via(self) -> Via:
        vias = self.headers.values("via")
        if not vias:
            raise SipError("no Via")
        return parse_via(vias[0])

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type") or ""

    def _only(self, name: str) -> str:
        fields = self.headers.all(name)
        if len(fields) != 1 or not fields[0]:
            raise SipError(f"{len(fields)} {name} headers")
        return fields[0]

    def _encoded(self, start_line: str) -> bytes:
        lines = [start_line]
        lines += [
            f"{name}: {value}"
            for name, value in self.headers.items
            if canonical(name) != "content-length"
        ]
        lines.append(f"Content-Length: {len(self.body)}")
        head = "\r\n".join(lines) + "\r\n\r\n"
        return head.encode("utf-8", "surrogateescape") + self.body


@dataclass(frozen=True)
class Response(_Message):
    status: int = 0
    reason: str = ""

    def tagged(self, to_tag: str) -> Response:
        """With `to_tag` in a To that has none; an unreadable To goes back as it was."""
        try:
            if self.to_tag:
                return self
        except SipError:
            return self
        items = tuple(
            (name, f"{value};tag={to_tag}" if canonical(name) == "to" else value)
            for name, value in self.headers.items
        )
        return replace(self, headers=Headers(items))

    def encode(self) -> bytes:
        return self._encoded(f"SIP/2.0 {self.status} {self.reason}")


@dataclass(frozen=True)
class Request(_Message):
    method: str = ""
    uri: str = ""

    def encode(self) -> bytes:
        return self._encoded(f"{self.method} {self.uri} SIP/2.0")

    def reply(
        self,
        status: int,
        reason: str = "",
        body: bytes = b"",
        headers: Iterable[tuple[str, str]] = (),
        to_tag: str = "",
    ) -> Response:
        """An answer to this request (RFC 3261 section 8.2.6).

        `to_tag` is added where the request's To has none. Record-Route is copied into answers
        that make a dialog: 2xx and 101-199 (section 12.1.1).
        """
        copied = [item for item in self.headers.items if canonical(item[0]) in _COPIED]
        if 100 < status < 300:
            copied += [item for item in self.headers.items if canonical(item[0]) == "record-route"]
        items = (*copied, *headers)
        response = Response(Headers(items), body, status, reason or REASONS.get(status, "Unknown"))
        return response.tagged(to_tag) if to_tag else response

    def arrived_from(self, host: str, port: int) -> Request:
        """Notes the source in the top Via (RFC 3261 section 18.2.1, RFC 3581 section 4)."""
        via = self.top_via
        items = list(self.headers.items)
        for index, (name, value) in enumerate(items):
            if canonical(name) == "via":
                first, *others = split_outside_quotes(value, ",")
                marked = _with_source(first, via, host, port)
                items[index] = (name, ", ".join([marked, *others]))
                break
        return replace(self, headers=Headers(tuple(items)))


def _with_source(value: str, via: Via, host: str, port: int) -> str:
    parts = list(split_outside_quotes(value, ";"))
    kept = [p for p in parts if p.partition("=")[0].strip().lower() not in ("received", "rport")]
    wants_rport = via.param("rport") is not None
    if wants_rport:
        kept.append(f"rport={port}")
    if wants_rport or via.host != host:
        kept.append(f"received={host}")
    return ";".join(kept)


def parse_via(value: str) -> Via:
    """One Via value; raises SipError where it has no protocol or no sent-by."""
    head, *params = split_outside_quotes(value, ";")
    protocol, _, sent_by = head.strip().rpartition("/")
    transport, _, sent_by = sent_by.strip().partition(" ")
    if not protocol or not transport or not sent_by.strip():
        raise SipError(f"Via {value!r}")
    host, port = split_host_port(sent_by.strip())
    return Via(transport.upper(), host, port, tuple(parse_params(iter(params)).items()))


def is_token(text: str) -> bool:
    return _TOKEN.fullmatch(text) is not None
