"""Bytes to one SIP message, within the limits (RFC 3261 section 7, RFC 4475)."""

from __future__ import annotations

import re

from siprec_worker.errors import SipError
from siprec_worker.protocol.sip.message import (
    MAX_HEADER_BYTES,
    MAX_MESSAGE_BYTES,
    BadMessage,
    Headers,
    OversizeMessage,
    Request,
    Response,
    canonical,
    is_token,
)

_STATUS_LINE = re.compile(r"SIP/(\d+\.\d+) +(\d+) ?(.*)", re.IGNORECASE)
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_FOLD = re.compile(r"\r?\n[ \t]+")


def parse_message(data: bytes) -> Request | Response:
    """One whole message, as a datagram or the framer delivers it.

    Takes LF for CRLF, folded lines and compact names. Raises BadMessage or OversizeMessage, with
    `.request` where enough was readable to refuse it, and SipError for what is no SIP at all.
    """
    data = data.lstrip(b"\r\n")
    end = _HEAD_END.search(data)
    head = data[: end.start()] if end else data
    body = data[end.end() :] if end else b""
    start_line, headers = _read_head(head[:MAX_HEADER_BYTES])
    if match := _STATUS_LINE.fullmatch(start_line):
        return _response(match, headers, body, len(data))
    request, fault = _request(start_line, headers)
    if len(head) > MAX_HEADER_BYTES:
        raise OversizeMessage(f"{len(head)} bytes of headers", request=request)
    if len(data) > MAX_MESSAGE_BYTES:
        raise OversizeMessage(f"{len(data)} bytes", request=request)
    if fault:
        raise BadMessage(fault[1], request=request, status=fault[0])
    try:
        body = _counted_body(headers, body)
    except SipError as error:
        raise BadMessage(str(error), request=request) from error
    return Request(headers, body, request.method, request.uri)


def _response(match: re.Match[str], headers: Headers, body: bytes, size: int) -> Response:
    status = int(match[2][:4])
    if match[1] != "2.0" or not 100 <= status <= 699:
        raise SipError(f"status line {match[0][:60]!r}")
    if size > MAX_MESSAGE_BYTES:
        raise OversizeMessage(f"{size} bytes")
    return Response(headers, _counted_body(headers, body), status, match[3])


def _request(start_line: str, headers: Headers) -> tuple[Request, tuple[int, str] | None]:
    """The request, and (status, text) of what is wrong with its first line."""
    method, _, rest = start_line.partition(" ")
    uri, _, version = rest.rpartition(" ")
    request = Request(headers, b"", method, uri)
    if not re.fullmatch(r"SIP/\d+\.\d+", version, re.IGNORECASE):
        if not re.search(r" SIP/\d+\.\d+\s*$", start_line, re.IGNORECASE):
            raise SipError(f"neither request nor status line: {start_line[:60]!r}")
        return request, (400, "blanks at the end of the request line")
    if version.upper() != "SIP/2.0":
        return request, (505, f"version {version}")
    if not is_token(method) or not uri or uri != uri.strip() or re.search(r"\s", uri):
        return request, (400, f"request line {start_line[:100]!r}")
    return request, None


def _read_head(head: bytes) -> tuple[str, Headers]:
    """Start line and header fields. Bytes that are no UTF-8 survive as surrogates."""
    text = _FOLD.sub(" ", head.decode("utf-8", "surrogateescape"))
    # A CR by itself must not reach an answer, where a peer may take it for a line end.
    start_line, *lines = text.replace("\r\n", "\n").replace("\r", " ").split("\n")
    items = []
    for line in lines:
        name, colon, value = line.partition(":")
        # A line that is no header (or was cut off at the limit) says nothing that we need.
        if colon and is_token(name.strip()):
            items.append((name.strip(), value.strip()))
    return start_line, Headers(tuple(items))


def content_length(headers: Headers) -> int | None:
    """Raises SipError where it is no number, or two disagree."""
    fields = {value for name, value in headers.items if canonical(name) == "content-length"}
    if not fields:
        return None
    if len(fields) > 1:
        raise SipError("Content-Length given twice")
    value = fields.pop()
    if not (value.isascii() and value.isdigit() and len(value) <= 10):
        raise SipError(f"Content-Length {value!r}")
    return int(value)


def _counted_body(headers: Headers, body: bytes) -> bytes:
    """RFC 3261 section 18.3: bytes beyond Content-Length are none of the message."""
    length = content_length(headers)
    if length is None:
        return body
    if length > len(body):
        raise SipError(f"Content-Length {length}, but {len(body)} bytes of body")
    return body[:length]
