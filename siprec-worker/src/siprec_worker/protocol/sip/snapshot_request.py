"""Asking a recording client for all of its metadata (RFC 7866 section 9.2)."""

from __future__ import annotations

import re

from siprec_worker.protocol.multipart import Part, multipart_mixed

_TYPE = "application/rs-metadata-request"
_DISPOSITION = ("Content-Disposition", "recording-session")
_BOUNDARY = "voicefork-rs-metadata-request"


def snapshot_request(reason: str, offer: str = "") -> tuple[bytes, tuple[tuple[str, str], ...]]:
    """Body and headers of the UPDATE; with `offer`, of the re-INVITE to a client without UPDATE.

    The body is one line of text that says why.
    """
    line = re.sub(r"\s+", " ", reason).strip().encode("utf-8", "replace") + b"\r\n"
    if not offer:
        return line, (("Content-Type", _TYPE), _DISPOSITION)
    sdp = Part("application/sdp", offer.encode("utf-8", "surrogateescape"))
    parts = (sdp, Part(_TYPE, line, (_DISPOSITION,)))
    body = multipart_mixed(parts, _BOUNDARY)
    return body, (("Content-Type", f"multipart/mixed;boundary={_BOUNDARY}"),)
