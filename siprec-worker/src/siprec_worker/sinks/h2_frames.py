"""HTTP/2 frames that are written and read without the h2 library: the two that come per message.

RFC 9113: section 4.1 (frame header), 6.1 (DATA), 6.8 (GOAWAY), 6.9 (WINDOW_UPDATE). h2 builds an
object and an event for each; at 50 messages a second and call that is a third of the sender's time.
GOAWAY is kept from h2 because h2 ends the connection on it, and calls must be able to finish.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from h2.exceptions import FrameTooLargeError

FRAME_HEADER_BYTES = 9
MAX_INBOUND_FRAME = 16_384  # our SETTINGS_MAX_FRAME_SIZE, the default
MAX_WINDOW = 2**31 - 1

_WINDOW_UPDATE = 8
_WINDOW_UPDATE_BYTES = 4
_GOAWAY = 7
_GOAWAY_MIN_BYTES = 8

_data = struct.Struct(">IBI")
_data_and_prefix = struct.Struct(">IBIBI")
_two_words = struct.Struct(">II")


def data_header(stream_id: int, length: int) -> bytes:
    """Header of a DATA frame (type 0) with `length` bytes of payload and no flags."""
    return _data.pack(length << 8, 0, stream_id)


def message_header(stream_id: int, body_bytes: int) -> bytes:
    """Header of a DATA frame that holds one whole gRPC message, and that message's prefix."""
    return _data_and_prefix.pack((body_bytes + 5) << 8, 0, stream_id, 0, body_bytes)


@dataclass(slots=True)
class Sifted:
    """What was taken out of the received bytes, and what is left for h2."""

    rest: bytes = b""
    windows: list[tuple[int, int]] = field(default_factory=list)  # (stream id, increment)
    goaway: tuple[int, int] | None = None  # (last stream id, error code)


class FrameSieve:
    """Takes WINDOW_UPDATE and GOAWAY out of a peer's bytes; holds at most one unfinished frame."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Sifted:
        """Whole frames only; a malformed one is left for h2 to refuse.

        Raises FrameTooLargeError at the header of an overlong frame: h2 would wait for all of it.
        """
        if self._buffer:
            data = self._buffer + data
        sifted = Sifted()
        rest: list[bytes] = []
        start, size = 0, len(data)
        while size - start >= FRAME_HEADER_BYTES:
            length = data[start] << 16 | data[start + 1] << 8 | data[start + 2]
            if length > MAX_INBOUND_FRAME:
                raise FrameTooLargeError(f"a frame of {length} bytes")
            end = start + FRAME_HEADER_BYTES + length
            if end > size:
                break
            if not _taken(data, start, length, sifted):
                rest.append(data[start:end])
            start = end
        self._buffer = data[start:]
        sifted.rest = b"".join(rest)
        return sifted


def _taken(data: bytes, start: int, length: int, sifted: Sifted) -> bool:
    kind = data[start + 3]
    if kind == _WINDOW_UPDATE and length == _WINDOW_UPDATE_BYTES:
        stream_id, increment = _two_words.unpack_from(data, start + 5)
        if increment & MAX_WINDOW == 0:
            return False  # section 6.9: an error, h2 knows which
        sifted.windows.append((stream_id & MAX_WINDOW, increment & MAX_WINDOW))
        return True
    if kind == _GOAWAY and length >= _GOAWAY_MIN_BYTES:
        last, code = _two_words.unpack_from(data, start + FRAME_HEADER_BYTES)
        sifted.goaway = (last & MAX_WINDOW, code)
        return True
    return False
