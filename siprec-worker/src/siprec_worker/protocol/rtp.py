"""RTP packets (RFC 3550 section 5.1): taken apart and put together.

In the spirit of dpkt: one struct, one small value, no copies but the payload. Unlike dpkt's class
the header extension and the padding never end up in the audio.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from siprec_worker.errors import RtpError

HEADER = Struct("!BBHII")
"""First octet, marker and payload type, sequence number, timestamp, SSRC."""

HEADER_BYTES = HEADER.size
PLAIN = 0x80  # version 2, no padding, no extension, no CSRC: what nearly every packet begins with
_VERSION = 2
_PADDING, _EXTENSION, _CSRC_COUNT = 0x20, 0x10, 0x0F
_MARKER = 0x80  # of the second octet
_EXTENSION_HEADER = Struct("!HH")
_WORD = 4


class RtpPacket(NamedTuple):
    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    marker: bool = False
    csrcs: tuple[int, ...] = ()
    extension: tuple[int, bytes] | None = None  # "defined by profile", content in whole words


def parse_rtp(data: bytes) -> RtpPacket:
    """Reads one datagram; the payload comes without extension and padding.

    Raises RtpError on a wrong version and on lengths that do not fit the datagram.
    """
    size = len(data)
    if size < HEADER_BYTES:
        raise RtpError(f"{size} bytes is less than an RTP header")
    first, second, sequence, timestamp, ssrc = HEADER.unpack_from(data)
    if first >> 6 != _VERSION:
        raise RtpError(f"RTP version {first >> 6}")
    start = HEADER_BYTES + _WORD * (first & _CSRC_COUNT)
    if start > size:
        raise RtpError(f"{first & _CSRC_COUNT} CSRCs do not fit {size} bytes")
    csrcs = tuple(
        int.from_bytes(data[at : at + _WORD], "big") for at in range(HEADER_BYTES, start, _WORD)
    )
    extension = None
    if first & _EXTENSION:
        start, extension = _read_extension(data, start)
    end = size
    if first & _PADDING:
        # RFC 3550 section 5.1: the last octet counts the padding, itself included.
        padding = data[-1]
        end -= padding
        if not padding or end < start:
            raise RtpError(f"{padding} bytes of padding do not fit")
    return RtpPacket(
        second & 0x7F,
        sequence,
        timestamp,
        ssrc,
        data[start:end],
        marker=bool(second & _MARKER),
        csrcs=csrcs,
        extension=extension,
    )


def write_rtp(packet: RtpPacket) -> bytes:
    """The datagram of a packet. The extension's content must be whole 32-bit words."""
    first = PLAIN | len(packet.csrcs)
    extension = b""
    if packet.extension is not None:
        first |= _EXTENSION
        profile, content = packet.extension
        extension = _EXTENSION_HEADER.pack(profile, len(content) // _WORD) + content
    return b"".join(
        (
            HEADER.pack(
                first,
                packet.payload_type | (_MARKER if packet.marker else 0),
                packet.sequence,
                packet.timestamp,
                packet.ssrc,
            ),
            *(csrc.to_bytes(_WORD, "big") for csrc in packet.csrcs),
            extension,
            packet.payload,
        )
    )


def _read_extension(data: bytes, start: int) -> tuple[int, tuple[int, bytes]]:
    """The extension at `start`, and where the payload begins behind it."""
    content = start + _EXTENSION_HEADER.size
    if content > len(data):
        raise RtpError("header extension is cut off")
    profile, words = _EXTENSION_HEADER.unpack_from(data, start)
    end = content + _WORD * words
    if end > len(data):
        raise RtpError(f"header extension of {words} words does not fit")
    return end, (profile, data[content:end])
