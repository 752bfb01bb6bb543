"""Multipart bodies of SIP messages: SDP and recording metadata in one (RFC 2046, RFC 5621)."""

from __future__ import annotations

import base64
import binascii
import quopri
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from siprec_worker.errors import MultipartError

MAX_PARTS = 64
MAX_DEPTH = 3
_QUOTED_PARAMETER = re.compile(r";\s*([^=;\s]+)\s*=\s*(\"(?:[^\"\\]|\\.)*\"|[^;]*)")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_METADATA_TYPES = ("application/rs-metadata+xml", "application/rs-metadata")
_PASS_THROUGH = ("", "7bit", "8bit", "binary")
_SDP_TYPE = "application/sdp"
# What a sender that does not know better calls its parts; "" is none at all.
_VAGUE_TYPES = ("", "text/plain", "text/xml", "application/xml", "application/octet-stream")
_RECORDING = re.compile(rb"\s*(?:\xef\xbb\xbf)?(?:<[?!][^>]*>\s*)*<(?:[\w.-]+:)?recording[\s_>]")
_FIRST_DELIMITER = re.compile(rb"\A\s*--([^\r\n]{1,70}?)[ \t]*\r?\n")


@dataclass(frozen=True, slots=True)
class Part:
    """One body part: its media type in lower case without parameters, and its decoded bytes."""

    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RecordingBody:
    """What a SIPREC request carries; None where it has no such part."""

    sdp: bytes | None = None
    metadata: bytes | None = None
    others: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class ContentType:
    media_type: str
    params: dict[str, str] = field(default_factory=dict)


def parse_content_type(value: str) -> ContentType:
    """`type/subtype;name=value`, quoted values too; names and type in lower case."""
    media_type = value.partition(";")[0].strip().lower()
    params = {}
    for name, text in _QUOTED_PARAMETER.findall(value):
        quoted = len(text) > 1 and text[0] == text[-1] == '"'
        params[name.lower()] = re.sub(r"\\(.)", r"\1", text[1:-1]) if quoted else text.strip()
    return ContentType(media_type, params)


def recording_body(content_type: str, body: bytes) -> RecordingBody:
    """Finds SDP and metadata in a request's body, nested multiparts included.

    The first part of either kind counts. Raises MultipartError.
    """
    if not body:
        return RecordingBody()
    sdp = metadata = None
    others = []
    for part in _leaves(content_type, body, depth=0):
        kind = _meant_type(part)
        if kind == _SDP_TYPE and sdp is None:
            sdp = part.body
        elif kind in _METADATA_TYPES and metadata is None:
            metadata = part.body
        else:
            others.append(part)
    return RecordingBody(sdp, metadata, tuple(others))


def _meant_type(part: Part) -> str:
    """A part's type; of one with a vague type what its first bytes say."""
    if part.content_type in _VAGUE_TYPES:
        if part.body.lstrip().startswith(b"v=0"):
            return _SDP_TYPE
        if _RECORDING.match(part.body[:1024]):
            return _METADATA_TYPES[0]
    return part.content_type


def _leaves(content_type: str, body: bytes, depth: int) -> Iterator[Part]:
    parsed = parse_content_type(content_type)
    if not parsed.media_type.startswith("multipart/"):
        yield Part(parsed.media_type, body)
        return
    if depth == MAX_DEPTH:
        raise MultipartError(f"multiparts nested more than {MAX_DEPTH} deep")
    for part in parse_multipart(content_type, body):
        if part.content_type.startswith("multipart/"):
            declared = dict(part.headers).get("content-type", "")
            yield from _leaves(declared, part.body, depth + 1)
        else:
            yield part


def parse_multipart(content_type: str, body: bytes) -> tuple[Part, ...]:
    """The parts of a multipart body, in order.

    Takes bare LF, preamble and epilogue, a missing last boundary, folded part headers, and the
    transfer encodings; a body that begins with another boundary than the declared one is read by
    its own. Raises MultipartError without boundary or part, or over 64 parts.
    """
    declared = parse_content_type(content_type).params.get("boundary", "")
    boundary = declared.encode("utf-8", "surrogateescape")
    if not boundary or b"--" + boundary not in body:
        if (own := _FIRST_DELIMITER.match(body)) is None:
            raise MultipartError(f"no boundary of {content_type!r} in the body")
        boundary = own[1]
    delimiter = re.compile(
        rb"(?:^|\r?\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r?\n|$)"
    )  # fmt: skip
    marks: list[re.Match[bytes]] = []
    # The line end before a boundary belongs to it, and the line end after one to the next part,
    # so that two boundaries in a row are an empty part and not one boundary.
    for mark in delimiter.finditer(body):
        marks.append(mark)
        if mark[1] or len(marks) > MAX_PARTS + 1:
            break
    if not marks:
        raise MultipartError(f"boundary {boundary!r} is nowhere in the body")
    closed = bool(marks[-1][1])
    ends = [mark.start() for mark in marks[1:]] + ([] if closed else [len(body)])
    if len(ends) > MAX_PARTS:
        raise MultipartError(f"more than {MAX_PARTS} parts")
    starts = [mark.end() for mark in marks]
    return tuple(
        _read_part(body[start:end]) for start, end in zip(starts, ends, strict=False) if end > start
    )


def _read_part(raw: bytes) -> Part:
    raw = re.sub(rb"\A\r?\n", b"", raw, count=1)
    if blank := re.match(rb"\r?\n", raw):
        head, body = b"", raw[blank.end() :]
    elif end := re.search(rb"\r?\n\r?\n", raw):
        head, body = raw[: end.start()], raw[end.end() :]
    else:
        head, body = raw, b""
    headers = tuple(_read_headers(head))
    named = dict(headers)
    media_type = parse_content_type(named.get("content-type", "text/plain")).media_type
    body = _decoded(named.get("content-transfer-encoding", "").strip().lower(), body)
    return Part(media_type, body, headers)


def _read_headers(head: bytes) -> Iterator[tuple[str, str]]:
    for line in _FOLD.sub(b" ", head).splitlines():
        name, colon, value = line.decode("utf-8", "surrogateescape").partition(":")
        if colon:
            yield name.strip().lower(), value.strip()


def _decoded(encoding: str, body: bytes) -> bytes:
    if encoding in _PASS_THROUGH:
        return body
    if encoding == "base64":
        try:
            return base64.b64decode(body + b"==")  # padding that is too much does no harm
        except binascii.Error as error:
            raise MultipartError(f"base64 part: {error}") from error
    if encoding == "quoted-printable":
        return quopri.decodestring(body)
    raise MultipartError(f"transfer encoding {encoding!r}")


def multipart_mixed(parts: Iterable[Part], boundary: str) -> bytes:
    """Writes a multipart/mixed body. The caller picks a boundary that no part contains."""
    chunks = []
    for part in parts:
        chunks.append(b"--" + boundary.encode())
        chunks.append(b"Content-Type: " + part.content_type.encode())
        chunks += [
            f"{name}: {value}".encode("utf-8", "surrogateescape")
            for name, value in part.headers
            if name.lower() != "content-type"
        ]
        chunks += [b"", part.body]
    return b"\r\n".join([*chunks, b"--" + boundary.encode() + b"--", b""])
