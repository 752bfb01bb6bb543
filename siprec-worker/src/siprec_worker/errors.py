"""The worker's exceptions, by who must act.

WorkerError
├── PeerError       the other side sent something wrong: answer it, count it, go on
│   ├── SipError            carries the SIP status to answer with
│   │   ├── OfferRejected       488: nothing in the offer can be recorded
│   │   └── TooLarge            413
│   ├── SdpError, MultipartError, MetadataError
│   └── RtpError
├── VendorError     an AI failed: retry or fall back
├── PbxError        Asterisk refused something or did not answer: retry, then say what to do
└── SetupError      wrong configuration or a missing resource: say what to do, exit
"""

from __future__ import annotations


class WorkerError(Exception):
    """Root of everything the worker raises on purpose."""


class PeerError(WorkerError):
    """A peer sent something wrong."""


class SipError(PeerError):
    """A SIP message that must be refused; knows its wire form."""

    sip_status = 400
    reason = "Bad Request"

    def __init__(self, text: str, *, status: int | None = None, reason: str | None = None) -> None:
        super().__init__(text)
        if status is not None:
            self.sip_status = status
        if reason is not None:
            self.reason = reason


class TooLarge(SipError):  # noqa: N818 - named after the SIP status
    sip_status = 413
    reason = "Request Entity Too Large"


class OfferRejected(SipError):  # noqa: N818 - named after what happened
    sip_status = 488
    reason = "Not Acceptable Here"


class SdpError(PeerError):
    """A session description that cannot be read (RFC 8866)."""


class MultipartError(PeerError):
    """A multipart body that cannot be taken apart (RFC 2046)."""


class MetadataError(PeerError):
    """Recording metadata that cannot be read (RFC 7865); the call is recorded all the same."""


class RtpError(PeerError):
    """A datagram that is not RTP (RFC 3550 section 5.1)."""


class VendorError(WorkerError):
    """An AI vendor's stream failed."""


class PbxError(WorkerError):
    """Asterisk refused a request, or did not answer it."""


class NoPorts(WorkerError):  # noqa: N818 - named after what happened
    """Every RTP port pair of the range is in use or cooling down."""


class SetupError(WorkerError):
    """The worker cannot start as it was told to."""
