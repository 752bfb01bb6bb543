"""What one recording client sends, and what a recording server makes of it."""

from __future__ import annotations

from dataclasses import dataclass

from tests.builders.sdp import sdp
from tests.builders.siprec import BOUNDARY, MULTIPART

SDP_TYPE = ("Content-Type", "application/sdp")
Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Form:
    """An INVITE's body and headers. `legs`: (label, kind, AOR) of each leg that is recorded.

    `ports`: for each m-line of the answer whether it is taken; None: as many as legs, all taken.
    """

    name: str
    body: bytes
    headers: Headers = (MULTIPART,)
    status: int = 200
    legs: tuple[tuple[str, str, str], ...] = ()
    ports: tuple[bool, ...] | None = None
    warning: str = ""  # of the call, among others
    codecs: tuple[str, ...] | None = None  # of the first leg
    names: tuple[str, ...] | None = None  # display names of the legs
    extensions: tuple[str, ...] = ()
    sources: tuple[str, ...] | None = None  # addresses that RTP is taken from

    @property
    def taken(self) -> tuple[bool, ...]:
        return (True,) * len(self.legs) if self.ports is None else self.ports


def both(description: bytes, document: bytes, kind: str = "application/rs-metadata+xml") -> bytes:
    """Description and metadata as parts."""
    parts = (("application/sdp", description), (kind, document))
    return mixed(*(f"Content-Type: {t}\r\n\r\n".encode() + content for t, content in parts))


def mixed(*parts: bytes) -> bytes:
    """Parts with their headers, between boundaries."""
    edge = f"--{BOUNDARY}".encode()
    return b"".join(edge + b"\r\n" + part + b"\r\n" for part in parts) + edge + b"--\r\n"


def offer(*labels: str, host: str = "127.0.0.3") -> bytes:
    """Audio lines with these labels."""
    lines = [
        [f"m=audio {40000 + 2 * place} RTP/AVP 0 101", f"a=label:{label}",
         "a=rtpmap:101 telephone-event/8000", "a=sendonly"]
        for place, label in enumerate(labels)
    ]  # fmt: skip
    return sdp(*lines, host=host)


def ids(form: Form) -> str:
    return form.name
