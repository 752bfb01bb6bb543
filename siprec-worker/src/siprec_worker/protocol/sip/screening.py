"""What must be right about a request before a dialog sees it (RFC 3261 section 8.2)."""

from __future__ import annotations

import re

from siprec_worker.errors import MultipartError, SipError
from siprec_worker.protocol.multipart import parse_content_type, recording_body
from siprec_worker.protocol.sip.message import BadMessage, Request, Response
from siprec_worker.protocol.sip.settings import ACCEPT, ALLOW, SUPPORTED
from siprec_worker.protocol.sip.uri import parse_name_addr, parse_uri

KNOWN_EXTENSIONS = frozenset({"siprec", "timer", "record-aware", "replaces", "norefersub"})
METHODS = frozenset({"INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "UPDATE", "INFO"})
# Section 25.1 has fewer characters. It becomes a key, and goes where there is nothing but UTF-8.
_CALL_ID = re.compile(r"[!-~]{1,1024}")
_WITH_CONTENT = frozenset({"INVITE", "UPDATE"})
_TYPES = frozenset({
    "application/sdp", "application/rs-metadata+xml", "application/rs-metadata",
})  # fmt: skip
# A client that lists what it sends means to take an answer, too.
_ACCEPTABLE = _TYPES | {"multipart/mixed", "multipart/*", "application/*", "*/*"}


def check_readable(request: Request) -> None:
    """Raises BadMessage (400) where what every answer and dialog needs cannot be read."""
    try:
        request.top_via, request.from_tag, request.to_tag  # noqa: B018
        number_and_method, call_id = request.cseq, request.call_id
        for name in ("from", "to"):
            parse_name_addr(request.headers.get(name) or "")
    except SipError as error:
        raise BadMessage(str(error), request=request) from error
    if not _CALL_ID.fullmatch(call_id):
        raise BadMessage("Call-ID", request=request)
    if number_and_method.method != request.method:
        raise BadMessage(
            f"CSeq of {number_and_method.method} in a {request.method}", request=request
        )


def refusal(request: Request) -> Response | None:
    """The refusal of a request that cannot be served, in RFC 3261's order; None = serve it."""
    if request.method not in METHODS:
        return request.reply(405, headers=[("Allow", ALLOW)])
    if (response := _uri_refusal(request)) is not None:
        return response
    # Proxy-Require is not for us: only a proxy looks at it (section 20.29).
    unknown = [
        tag for tag in request.headers.values("require") if tag.lower() not in KNOWN_EXTENSIONS
    ]
    if unknown:
        return request.reply(420, headers=[("Unsupported", ", ".join(unknown))])
    if request.method in _WITH_CONTENT:
        return _content_refusal(request)
    return None


def _uri_refusal(request: Request) -> Response | None:
    try:
        uri = parse_uri(request.uri)
    except SipError:
        return request.reply(400)
    if uri.scheme not in ("sip", "sips", "tel"):
        return request.reply(416)
    return request.reply(400) if uri.headers else None  # section 19.1.5


def _content_refusal(request: Request) -> Response | None:
    accepts = [
        value.partition(";")[0].strip().lower() for value in request.headers.values("accept")
    ]
    if accepts and not _ACCEPTABLE.intersection(accepts):
        return request.reply(406)
    if not request.body:
        return None
    encoding = (request.headers.get("content-encoding") or "identity").lower()
    if encoding != "identity":
        return request.reply(415, headers=[("Accept-Encoding", "identity")])
    media_type = parse_content_type(request.content_type).media_type
    if media_type and not media_type.startswith("multipart/") and media_type not in _TYPES:
        return request.reply(415, headers=[("Accept", ACCEPT)])
    try:
        content = recording_body(request.content_type, request.body)
    except MultipartError:
        return request.reply(400)
    if content.sdp is None and content.metadata is None and content.others:
        return request.reply(415, headers=[("Accept", ACCEPT)])
    return None


def options_answer(request: Request, available: bool, retry_after: int) -> Response:
    """200 with what we can do, or 503: OpenSIPS' dispatcher takes that for out of service."""
    if not available:
        return request.reply(503, headers=[("Retry-After", str(retry_after))])
    return request.reply(
        200, headers=[("Allow", ALLOW), ("Accept", ACCEPT), ("Supported", SUPPORTED)]
    )
