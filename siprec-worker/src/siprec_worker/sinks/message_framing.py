"""Length-prefixed gRPC messages in a byte stream.

Source: "gRPC over HTTP2", Length-Prefixed-Message: a byte Compressed-Flag, four bytes of length.
"""

from __future__ import annotations

import struct

from siprec_worker.errors import VendorError

PREFIX_BYTES = 5
_prefix = struct.Struct(">BI")


def prefixed(body: bytes) -> bytes:
    """One uncompressed message, ready for DATA frames."""
    return _prefix.pack(0, len(body)) + body


class MessageReader:
    """Cuts one stream's DATA bytes into messages; holds at most one unfinished message."""

    __slots__ = ("_buffer", "_max_bytes")

    def __init__(self, max_bytes: int) -> None:
        self._buffer = bytearray()
        self._max_bytes = max_bytes

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that `data` completes, in order.

        Raises VendorError for a compressed message (none was accepted) or one over the limit.
        """
        self._buffer += data
        messages: list[bytes] = []
        start = 0
        while len(self._buffer) - start >= PREFIX_BYTES:
            compressed, length = _prefix.unpack_from(self._buffer, start)
            if compressed:
                raise VendorError("the AI sent a compressed message: none was offered")
            if length > self._max_bytes:
                raise VendorError(
                    f"the AI sent a message of {length} bytes, over {self._max_bytes}"
                )
            end = start + PREFIX_BYTES + length
            if len(self._buffer) < end:
                break
            messages.append(bytes(self._buffer[start + PREFIX_BYTES : end]))
            start = end
        del self._buffer[:start]
        return messages

    @property
    def unfinished(self) -> bool:
        return bool(self._buffer)
