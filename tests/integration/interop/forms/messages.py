"""Requests in the forms of many SIP stacks: headers, URIs, lengths, extensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.integration.interop.forms.form import both, mixed, offer
from tests.integration.interop.forms.metadata import PLAIN

BODY: Final = both(offer("1", "2"), PLAIN.encode())
_HEAD: Final = (
    "INVITE sip:srs@recorder.example:5060;transport=udp SIP/2.0",
    "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKfirst;rport",
    "Max-Forwards: 70",
    'From: "SBC" <sip:src@192.0.2.1>;tag=abc',
    "To: <sip:srs@recorder.example>",
    "Call-ID: 1-2@192.0.2.1",
    "CSeq: 101 INVITE",
    "Contact: <sip:src@192.0.2.1:5060>;+sip.src",
    "Require: siprec",
    "Content-Type: multipart/mixed;boundary=OSS-unique-boundary-42",
)


@dataclass(frozen=True, slots=True)
class Message:
    name: str
    raw: bytes
    status: int = 200
    method: str = "INVITE"
    headers: tuple[tuple[str, str], ...] = ()  # of the answer: name, and text that it holds
    udp_only: bool = False


def _changed(*changes: tuple[str, str], body: bytes = BODY, length: str | None = "") -> bytes:
    """The INVITE with texts replaced; an empty new text removes the whole header line."""
    head = "\r\n".join(_HEAD)
    for old, new in changes:
        assert old in head, old
        if new:
            head = head.replace(old, new)
        else:
            head = "\r\n".join(line for line in head.split("\r\n") if not line.startswith(old))
    if length is not None:
        head += f"\r\nContent-Length: {length or len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def _more(*lines: str) -> bytes:
    return _changed(("Require: siprec", "\r\n".join(("Require: siprec", *lines))))


def _method(method: str, *lines: str) -> bytes:
    head = [line.replace("INVITE", method) for line in _HEAD if "Content-Type" not in line]
    return "\r\n".join([*head, *lines, "Content-Length: 0", "", ""]).encode()


def _compact(raw: bytes) -> bytes:
    head, blank, body = raw.partition(b"\r\n\r\n")
    for name, short in (
        (b"Via", b"v"),
        (b"From", b"f"),
        (b"To", b"t"),
        (b"Call-ID", b"i"),
        (b"Contact", b"m"),
        (b"Content-Type", b"c"),
        (b"Content-Length", b"l"),
    ):
        head = head.replace(b"\r\n" + name + b":", b"\r\n" + short + b" :")
    return head + blank + body


def _renamed(raw: bytes, change: str) -> bytes:
    head, blank, body = raw.partition(b"\r\n\r\n")
    lines: list[bytes] = []
    for line in head.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        lines.append(getattr(name, change)() + colon + value if lines and colon else line)
    return b"\r\n".join(lines) + blank + body


_TIMER = ("Supported: timer, 100rel, replaces",)
_DISPOSED = mixed(
    b"Content-Type: application/sdp;charset=utf-8\r\nContent-Disposition: session;handling=required"
    b"\r\n\r\n" + offer("1", "2"),
    b"Content-Type: application/rs-metadata+xml\r\nContent-ID: <1@x>\r\nContent-Disposition: "
    b"recording-session;handling=required\r\n\r\n" + PLAIN.encode(),
    b"Content-Type: application/x-q931;version=1\r\nContent-Disposition: signal;handling=optional"
    b"\r\n\r\n\x00\x01\xff",
)
_VIA = "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKfirst;rport"
_FROM = 'From: "SBC" <sip:src@192.0.2.1>;tag=abc'
_CONTACT = "Contact: <sip:src@192.0.2.1:5060>;+sip.src"
_TYPE = "multipart/mixed;boundary=OSS-unique-boundary-42"

MESSAGES: Final = (
    Message("plain", _changed()),
    Message("compact names with blanks before the colon", _compact(_changed())),
    Message("names in capitals", _renamed(_changed(), "upper")),
    Message("names in lower case", _renamed(_changed(), "lower")),
    Message(
        "folded headers",
        _changed(
            (_CONTACT, "Contact:\r\n <sip:src@192.0.2.1:5060>\r\n\t;+sip.src"),
            (_TYPE, "multipart/mixed;\r\n boundary=OSS-unique-boundary-42"),
        ),
    ),
    Message(
        "a quoted boundary and more parameters",
        _changed((_TYPE, 'Multipart/Mixed ; charset=x; boundary="OSS-unique-boundary-42"')),
    ),
    Message(
        "several Vias in one line",
        _changed(
            (
                _VIA,
                _VIA + ", SIP/2.0/TCP b.example;branch=z9hG4bK2"
                ";received=192.0.2.9, SIP / 2.0 / TLS [2001:db8::1]:5061",
            )
        ),
    ),
    Message(
        "a received and an rport of others", _changed((_VIA, _VIA + "=9;received=203.0.113.1"))
    ),
    Message(
        "escaped quotes in a display name",
        _changed((_FROM, r'From: "A \"b\" <c>, \\d;e" <sip:src@192.0.2.1>;tag=abc')),
    ),
    Message(
        "UTF-8 in a display name", _changed((_FROM, 'From: "Zoë 你好" <sip:src@192.0.2.1>;tag=abc'))
    ),
    Message("bytes that are no UTF-8", _changed().replace(b'"SBC"', b'"S\xff\xfeC"')),
    Message(
        "a display name without quotes",
        _changed((_FROM, "From: Session Border  Controller <sip:s@h>;tag=a")),
    ),
    Message("From without brackets", _changed((_FROM, "From: sip:src@192.0.2.1:5060;tag=abc"))),
    Message("a tel From", _changed((_FROM, "From: <tel:+14155550100;phone-context=x>;tag=abc"))),
    Message(
        "parameters and headers in To",
        _changed(
            (
                "To: <sip:srs@recorder.example>",
                'To: <sip:srs@recorder.example;user=phone?a=b>;x="y;z"',
            )
        ),
    ),
    Message(
        "a tel request URI",
        _changed(("sip:srs@recorder.example:5060;transport=udp", "tel:+14155550199")),
    ),
    Message("a sips request URI", _changed(("INVITE sip:", "INVITE sips:"))),
    Message(
        "IPv6 in the request URI",
        _changed(("sip:srs@recorder.example:5060;transport=udp", "sip:[2001:db8::1]:5060")),
    ),
    Message("a user with signs", _changed(("INVITE sip:srs@", "INVITE sip:srs;a=1?b:pw%40@"))),
    Message(
        "Contact without brackets", _changed((_CONTACT, "Contact: sip:src@192.0.2.1:5060;+sip.src"))
    ),
    Message(
        "Contact with features and expiry",
        _changed((_CONTACT, _CONTACT + ';expires=3600;audio;+sip.instance="<urn:uuid:0>";q=0.5')),
    ),
    Message(
        "Contact by host name",
        _changed((_CONTACT, "Contact: <sip:src@sbc.example;transport=tcp;lr>;+sip.src")),
    ),
    Message("no Contact", _changed(("Contact:", "")), 400),
    Message("no From tag", _changed((_FROM, "From: <sip:src@192.0.2.1>"))),
    Message("no Max-Forwards", _changed(("Max-Forwards:", ""))),
    Message("Max-Forwards 0 ends here", _changed(("Forwards: 70", "Forwards: 0"))),
    Message("no Require", _changed(("Require:", ""))),
    Message(
        "Require in capitals and blanks",
        _changed(("Require: siprec", "Require: SIPREC ,timer, , record-aware")),
    ),
    Message("Require 100rel", _more("Require: 100rel"), 420, headers=(("Unsupported", "100rel"),)),
    Message(
        "Require precondition",
        _more("Require: precondition,siprec"),
        420,
        headers=(("Unsupported", "precondition"),),
    ),
    Message("Proxy-Require is not for us", _more("Proxy-Require: privacy, x-any")),
    Message(
        "supported, allowed, asserted",
        _more(
            *_TIMER,
            "Allow: INVITE,ACK,BYE,CANCEL,OPTIONS,PRACK,UPDATE,INFO,REFER,SUBSCRIBE,NOTIFY",
            "P-Asserted-Identity: <sip:+1@h>",
            "Privacy: none",
            "Session-ID: ab30317f;remote=0",
            "Cisco-Guid: 1-2-3-4",
            "Min-SE: 1800",
            "Date: Sun, 22 Nov 2026 17:00:00 GMT",
            "X-Empty:",
            "History-Info: <sip:a@b?Reason=SIP%3Bcause%3D302>;index=1",
            "Accept-Contact: *;+sip.srs;require;explicit",
            "Expires: 180",
            "Allow-Events: kpml",
        ),
    ),
    Message(
        "session timer of the client",
        _more(*_TIMER, "Session-Expires: 1800;refresher=uac"),
        headers=(("Session-Expires", "1800;refresher=uac"), ("Require", "timer")),
    ),
    Message(
        "session timer of the server",
        _more(*_TIMER, "x: 600 ; refresher = uas"),
        headers=(("Session-Expires", "600;refresher=uas"),),
    ),
    Message(
        "a timer too brief",
        _more(*_TIMER, "Session-Expires: 30", "Min-SE: 10"),
        422,
        headers=(("Min-SE", "90"),),
    ),
    Message(
        "Record-Routes",
        _more(
            "Record-Route: <sip:192.0.2.7;lr>,<sip:192.0.2.8:5070;lr;r2=on>",
            "Record-Route: <sip:[2001:db8::9];transport=tcp;lr=on>;x=y",
        ),
        headers=(("Record-Route", "192.0.2.7"),),
    ),
    Message(
        "accepts only its own types", _more("Accept: application/rs-metadata+xml, multipart/mixed")
    ),
    Message("accepts nothing that we say", _more("Accept: text/plain"), 406),
    Message(
        "a content encoding",
        _more("Content-Encoding: gzip"),
        415,
        headers=(("Accept-Encoding", "identity"),),
    ),
    Message("no Content-Type but SDP", _changed(("Content-Type", ""), body=offer("1", "2"))),
    Message(
        "a body of another type",
        _changed((_TYPE, "text/html"), body=b"<html/>"),
        415,
        headers=(("Accept", "application/sdp"),),
    ),
    Message("dispositions and a third part", _changed(body=_DISPOSED)),
    Message("no Content-Length", _changed(length=None), udp_only=True),
    Message("no Content-Length on a stream", _changed(length=None), 400),
    Message("a length below zero", _changed(length="-1"), 400),
    Message("a length that is no number", _changed(length="12a"), 400),
    Message("a length beyond the datagram", _changed(length="60000"), 400, udp_only=True),
    Message("bytes after the length", _changed() + b"\r\n\r\n\x00\x00", udp_only=True),
    Message("the greatest CSeq", _changed(("CSeq: 101", "CSeq: 2147483647"))),
    Message(
        "CSeq with zeros and blanks", _changed(("CSeq: 101 INVITE", "CSeq:   000101    INVITE"))
    ),
    Message("a CSeq beyond", _changed(("CSeq: 101", "CSeq: 2147483648")), 400),
    Message("a Call-ID with signs", _changed(("1-2@192.0.2.1", '{a}<b>"c"%zz[1]?=&,;x@y'))),
    Message("two To headers", _changed(("To: <", "To: <sip:x@y>\r\nTo: <")), 400),
    Message("blank lines first", b"\r\n\r\n" + _changed()),
    Message("version in lower case", _changed(("transport=udp SIP/2.0", "transport=udp sip/2.0"))),
    Message("another version", _changed(("transport=udp SIP/2.0", "transport=udp SIP/3.0")), 505),
    Message(
        "an unknown dialog",
        _changed(("To: <sip:srs@recorder.example>", "To: <sip:srs@recorder.example>;tag=gone")),
        481,
    ),
    *(
        Message(f"{method} outside a dialog", _method(method), 405, method, (("Allow", "INVITE"),))
        for method in ("MESSAGE", "NOTIFY", "SUBSCRIBE", "REFER", "PUBLISH", "REGISTER", "PRACK")
    ),
    *(
        Message(f"{method} outside a dialog", _method(method), 481, method)
        for method in ("BYE", "CANCEL", "UPDATE", "INFO")
    ),
    Message(
        "OPTIONS",
        _method("OPTIONS"),
        200,
        "OPTIONS",
        (("Allow", "UPDATE"), ("Supported", "siprec"), ("Accept", "rs-metadata")),
    ),
)
