"""Session descriptions, read leniently and written exactly (RFC 8866)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from ipaddress import ip_address
from typing import Final, NamedTuple

from siprec_worker.errors import SdpError

MAX_MEDIA = 64
STATIC_PAYLOADS: Final[dict[int, tuple[str, int, int]]] = {
    # RFC 3551 section 6: name, clock rate, channels
    0: ("PCMU", 8000, 1), 2: ("G721", 8000, 1), 3: ("GSM", 8000, 1), 4: ("G723", 8000, 1),
    5: ("DVI4", 8000, 1),
    6: ("DVI4", 16000, 1), 7: ("LPC", 8000, 1), 8: ("PCMA", 8000, 1), 9: ("G722", 8000, 1),
    10: ("L16", 44100, 2), 11: ("L16", 44100, 1), 12: ("QCELP", 8000, 1), 13: ("CN", 8000, 1),
    14: ("MPA", 90000, 1), 15: ("G728", 8000, 1), 16: ("DVI4", 11025, 1), 17: ("DVI4", 22050, 1),
    18: ("G729", 8000, 1), 26: ("JPEG", 90000, 1), 31: ("H261", 90000, 1), 34: ("H263", 90000, 1),
}  # fmt: skip
_RTPMAP = re.compile(r"(\d{1,3})\s+([^\s/]+)(?:/(\d{1,6}))?(?:/(\d{1,2}))?\s*")
_USUAL_RATE = 8000  # of an a=rtpmap that names none, against RFC 8866 section 6.6
_UNSPECIFIED = ("0.0.0.0", "::")  # RFC 3264 section 8.4: an old way to hold


class Direction(Enum):
    """Seen from the party whose description it is (RFC 8866 section 6.7)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"


class Attribute(NamedTuple):
    name: str
    value: str | None = None


class Payload(NamedTuple):
    """What one payload type of an m-line means."""

    name: str
    rate: int
    channels: int = 1
    fmtp: str = ""


@dataclass(frozen=True, slots=True)
class Described:
    """What a session and each of its media have alike: an address and attributes."""

    connection: str = ""  # address of c=, without type and TTL; "" = no c= line
    attributes: tuple[Attribute, ...] = ()

    def attribute(self, name: str) -> str | None:
        """The first value of a=name; "" for a bare flag, None where it is absent."""
        return next((a.value or "" for a in self.attributes if a.name == name), None)

    def attribute_values(self, name: str) -> list[str]:
        return [a.value for a in self.attributes if a.name == name and a.value is not None]

    @property
    def own_direction(self) -> Direction | None:
        found = [a.name for a in self.attributes if a.value is None and a.name in _DIRECTIONS]
        return Direction(found[-1]) if found else None


_DIRECTIONS = frozenset(direction.value for direction in Direction)
# Attributes that are read here, in whatever case some write them (RFC 8866 section 9: in this).
_READ = _DIRECTIONS | {
    "label", "rtpmap", "fmtp", "ptime", "maxptime", "rtcp", "rtcp-mux", "crypto",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Media(Described):
    """One m= section."""

    kind: str = "audio"
    port: int = 0
    protocol: str = "RTP/AVP"
    formats: tuple[str, ...] = ()

    @property
    def label(self) -> str | None:
        return self.attribute("label")

    @property
    def ptime_ms(self) -> int | None:
        return _number(self.attribute("ptime"))

    @property
    def maxptime_ms(self) -> int | None:
        return _number(self.attribute("maxptime"))

    @property
    def rtcp_mux(self) -> bool:
        return self.attribute("rtcp-mux") is not None

    @property
    def rtcp_port(self) -> int:
        """RFC 3605, else the port after the media's own (RFC 3550 section 11)."""
        if self.rtcp_mux:
            return self.port
        stated = _number((self.attribute("rtcp") or "").partition(" ")[0])
        return stated if stated and stated < 65536 else self.port + 1

    @property
    def crypto(self) -> list[str]:
        return self.attribute_values("crypto")

    @property
    def payloads(self) -> dict[int, Payload]:
        """Payload types in the offered order; static ones are known without a=rtpmap.

        A dynamic type without a=rtpmap is left out: nobody can know what it is.
        """
        mapped = dict(map(_read_rtpmap, self.attribute_values("rtpmap")))
        fmtp = dict(map(_read_fmtp, self.attribute_values("fmtp")))
        found = {}
        for text in self.formats:
            pt = _number(text)
            if pt is None or pt > 127:
                continue
            meaning = mapped.get(pt) or STATIC_PAYLOADS.get(pt)
            if meaning is not None:
                found[pt] = Payload(*meaning, fmtp.get(pt, ""))
        return found


@dataclass(frozen=True, slots=True)
class SessionDescription(Described):
    """A whole description. `origin` is o='s text; "" where the peer left it out."""

    origin: str = ""
    name: str = "-"
    timing: str = "0 0"
    media: tuple[Media, ...] = ()

    def address_of(self, media: Media) -> str:
        """The media's own c=, else the session's, else "" (RFC 8866 section 5.7)."""
        return media.connection or self.connection

    def direction_of(self, media: Media) -> Direction:
        return media.own_direction or self.own_direction or Direction.SENDRECV

    def on_hold(self, media: Media) -> bool:
        """The peer sends nothing now: inactive, recvonly, or the old c=0.0.0.0."""
        quiet = self.direction_of(media) in (Direction.INACTIVE, Direction.RECVONLY)
        return quiet or self.address_of(media) in _UNSPECIFIED

    def encode(self) -> bytes:
        return "".join(f"{line}\r\n" for line in self._lines()).encode("utf-8", "surrogateescape")

    def _lines(self) -> Iterator[str]:
        yield "v=0"
        yield f"o={self.origin or '- 0 0 IN IP4 0.0.0.0'}"
        yield f"s={self.name}"
        if self.connection:
            yield _connection_line(self.connection)
        yield f"t={self.timing}"
        yield from map(_attribute_line, self.attributes)
        for media in self.media:
            yield f"m={media.kind} {media.port} {media.protocol} {' '.join(media.formats)}"
            if media.connection:
                yield _connection_line(media.connection)
            yield from map(_attribute_line, media.attributes)


def parse_sdp(body: bytes) -> SessionDescription:
    """Reads a description that may lack t=, c=, s= or o=, in any line order below m=.

    Raises SdpError (answer 400) for another version, an m-line that is none, a port out of range,
    more than 64 media, or no line at all.
    """
    session = SessionDescription()
    media: list[Media] = []
    lines = list(_split_lines(body))
    if not lines:
        raise SdpError("an empty session description")
    attributes: list[list[Attribute]] = [[]]
    for kind, value in lines:
        match kind:
            case "m":
                media.append(_read_media(value))
                attributes.append([])
                if len(media) > MAX_MEDIA:
                    raise SdpError(f"more than {MAX_MEDIA} m-lines")
            case "a":
                attributes[-1].append(_read_attribute(value))
            case "c" if media:
                media[-1] = replace(media[-1], connection=_read_connection(value))
            case _ if not media:
                session = _with_session_line(session, kind, value)
    described = tuple(
        replace(m, attributes=tuple(a)) for m, a in zip(media, attributes[1:], strict=True)
    )
    return replace(session, attributes=tuple(attributes[0]), media=described)


def _with_session_line(session: SessionDescription, kind: str, value: str) -> SessionDescription:
    match kind:
        case "v" if value.strip() != "0":
            raise SdpError(f"version {value!r}")
        case "o":
            return replace(session, origin=value)
        case "s":
            return replace(session, name=value)
        case "t":
            return replace(session, timing=value)
        case "c":
            return replace(session, connection=_read_connection(value))
    return session  # i= u= e= p= b= r= z= k=: nothing a recorder needs


def _split_lines(body: bytes) -> Iterator[tuple[str, str]]:
    for raw in re.split(r"\r\n|\n|\r", body.decode("utf-8", "surrogateescape")):
        if not (line := raw.rstrip(" \t\0")):  # some pad a datagram
            continue
        kind, equals, value = line.partition("=")
        if not equals or len(kind.strip()) != 1:
            raise SdpError(f"no SDP line: {line[:60]!r}")
        yield kind.strip(), value.strip(" \t")


def _read_media(value: str) -> Media:
    fields = value.split()
    if len(fields) < 3:
        raise SdpError(f"m-line {value!r}")
    kind, port_text, protocol, *formats = fields
    port = _number(port_text.partition("/")[0])
    if port is None or port > 65535:
        raise SdpError(f"port of m-line {value!r}")
    return Media(kind=kind.lower(), port=port, protocol=protocol, formats=tuple(formats))


def _read_connection(value: str) -> str:
    fields = value.split()
    if len(fields) < 3:
        raise SdpError(f"c-line {value!r}")
    return fields[2].partition("/")[0]


def _read_attribute(value: str) -> Attribute:
    name, colon, text = value.partition(":")
    name = name.strip()
    if name.lower() in _READ:
        name = name.lower()
    return Attribute(name, text.strip(" \t") if colon else None)


def _read_rtpmap(value: str) -> tuple[int, tuple[str, int, int] | None]:
    match = _RTPMAP.fullmatch(value)
    if match is None:
        return -1, None
    return int(match[1]), (match[2], int(match[3] or _USUAL_RATE), int(match[4] or 1))


def _read_fmtp(value: str) -> tuple[int, str]:
    pt, _, text = value.partition(" ")
    number = _number(pt)
    return (-1 if number is None else number), text.strip()


def _number(text: str | None) -> int | None:
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None


def _connection_line(address: str) -> str:
    return f"c=IN {address_type(address)} {address}"


def address_type(address: str) -> str:
    """IP4 or IP6; a host name counts as IP4, as the peers of this world mean it."""
    try:
        return f"IP{ip_address(address).version}"
    except ValueError:
        return "IP4"


def _attribute_line(attribute: Attribute) -> str:
    return f"a={attribute.name}" + ("" if attribute.value is None else f":{attribute.value}")
