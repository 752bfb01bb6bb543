"""SIP URIs and the name-addr forms that carry them (RFC 3261 sections 19.1 and 20.10)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from siprec_worker.errors import SipError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*")
_BLANK_OR_ANGLE = re.compile(r"[\s<>\"]")


def split_outside_quotes(text: str, separator: str) -> Iterator[str]:
    """Splits at `separator` where it is neither quoted nor inside <>; parts are stripped."""
    start, quoted, angle, escaped = 0, False, 0, False
    for position, char in enumerate(text):
        if escaped:
            escaped = False
        elif quoted:
            escaped, quoted = char == "\\", char != '"'
        elif char == '"':
            quoted = True
        elif char == "<":
            angle += 1
        elif char == ">":
            angle = max(0, angle - 1)
        elif char == separator and not angle:
            yield text[start:position].strip()
            start = position + 1
    yield text[start:].strip()


def parse_params(parts: Iterator[str]) -> dict[str, str]:
    """`;name=value` pairs: names in lower case, quotes of a value taken off."""
    params: dict[str, str] = {}
    for part in parts:
        name, _, value = part.partition("=")
        if name := name.strip().lower():
            params.setdefault(name, unquoted(value.strip()))
    return params


def unquoted(text: str) -> str:
    """Takes off the quotes and escapes of a quoted-string, if it is one."""
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)
    return text


@dataclass(frozen=True, slots=True)
class SipUri:
    """A sip: or sips: URI taken apart; of other schemes only `scheme` and `text` count."""

    text: str
    scheme: str
    user: str = ""
    host: str = ""
    port: int | None = None
    params: tuple[tuple[str, str], ...] = ()
    headers: str = ""

    @property
    def transport(self) -> str:
        """`udp` or `tcp`, from the transport parameter (RFC 3261 section 19.1.1)."""
        return "tcp" if dict(self.params).get("transport", "udp").lower() == "tcp" else "udp"

    @property
    def loose_router(self) -> bool:
        return "lr" in dict(self.params)


def parse_uri(text: str) -> SipUri:
    """An absolute URI; raises SipError for blanks, angle brackets, no scheme or no host."""
    if _BLANK_OR_ANGLE.search(text):
        raise SipError(f"blank, quote or angle bracket in URI {text!r}")
    scheme, colon, rest = text.partition(":")
    if not colon or not _SCHEME.fullmatch(scheme) or not rest:
        raise SipError(f"not an absolute URI: {text!r}")
    scheme = scheme.lower()
    if scheme not in ("sip", "sips"):
        return SipUri(text, scheme)
    # A user part may hold ; ? and : of its own, so it ends at the last @ (RFC 4475 3.1.1.9).
    userinfo, _, hostpart = rest.rpartition("@")
    hostpart, _, headers = hostpart.partition("?")
    hostport, *params = hostpart.split(";")
    host, port = split_host_port(hostport)
    if not host:
        raise SipError(f"no host in URI {text!r}")
    named = tuple(parse_params(iter(params)).items())
    return SipUri(text, scheme, userinfo, host, port, named, headers)


def split_host_port(text: str) -> tuple[str, int | None]:
    """`host[:port]`, an IPv6 host without its brackets; raises SipError for an odd port."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        host, _, port = text.partition(":")
    host, port = host.strip(), port.strip()
    if not port:
        return host, None
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        raise SipError(f"no port: {text!r}")
    return host, int(port)


def joined_host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class NameAddr:
    """A From, To, Contact, Route or Record-Route value."""

    uri: str
    display: str = ""
    params: tuple[tuple[str, str], ...] = ()

    def param(self, name: str) -> str | None:
        return dict(self.params).get(name)


def parse_name_addr(text: str) -> NameAddr:
    """Name-addr or addr-spec; raises SipError where no URI can be found.

    OpenSIPS answers in a SIPREC dialog with `<<sip:host>;+sip.src>`: the outer brackets are
    taken off, so that its URI is found all the same.
    """
    text = text.strip()
    while text.startswith("<<") and text.endswith(">"):
        text = text[1:-1].strip()
    before, bracket, rest = _before_angle(text)
    if not bracket:
        # addr-spec: parameters after ; belong to the header (RFC 3261 section 20)
        uri, *params = split_outside_quotes(text, ";")
        return NameAddr(_some_uri(uri, text), "", tuple(parse_params(iter(params)).items()))
    uri, bracket, tail = rest.partition(">")
    if not bracket:
        raise SipError(f"unclosed < in {text!r}")
    params = list(split_outside_quotes(tail, ";"))[1:]
    return NameAddr(
        _some_uri(uri.strip(), text),
        unquoted(before.strip()),
        tuple(parse_params(iter(params)).items()),
    )


def _before_angle(text: str) -> tuple[str, str, str]:
    """Partitions at the first < that is not inside a quoted display name."""
    quoted, escaped = False, False
    for position, char in enumerate(text):
        if escaped:
            escaped = False
        elif quoted:
            escaped, quoted = char == "\\", char != '"'
        elif char == '"':
            quoted = True
        elif char == "<":
            return text[:position], "<", text[position + 1 :]
    if quoted:
        raise SipError(f"unclosed quote in {text!r}")
    return text, "", ""


def _some_uri(uri: str, text: str) -> str:
    # Written back between < and >, a URI with one of them in it would not be read again.
    if not uri or ">" in uri or "<" in uri:
        raise SipError(f"no URI in {text!r}")
    return uri
