"""ConverseRequest{seq, audio} written by hand around the payload, from per-leg templates.

Byte for byte what protobuf writes (fields in order, zeros left out), at a tenth of its price:
audio is all but a handful of a stream's messages. Source: protobuf's encoding of varints (type 0)
and length-delimited fields (type 2); field numbers from agent.proto.
"""

from __future__ import annotations

from collections.abc import Sequence

from siprec_worker.media.model import LegAudio

_SEQ = b"\x08"  # ConverseRequest.seq = 1, varint
_AUDIO = b"\x1a"  # ConverseRequest.audio = 3, length-delimited
_PTS = b"\x08"  # Audio.pts = 1, varint
_LEG = b"\x12"  # Audio.legs = 2, length-delimited
_HANDLE = b"\x08"  # LegAudio.handle = 1, varint
_DATA = b"\x12"  # LegAudio.data = 2, length-delimited
_FLAGS = b"\x18"  # LegAudio.flags = 3, varint

_GROUP = 1 << 7
_TWO_GROUPS, _FOUR_GROUPS = 1 << 14, 1 << 28

_MAX_SHAPES = 64  # legs x lengths x flags: a dozen in a real call


def _groups(value: int) -> bytes:
    groups = bytearray()
    while value >= _GROUP:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


# Three varints a message: looked up in halves of two groups, because putting them together byte by
# byte costs more than all else that is written.
_SHORT = [_groups(value) for value in range(_TWO_GROUPS)]
_LOW = [bytes((value & 0x7F | 0x80, value >> 7 | 0x80)) for value in range(_TWO_GROUPS)]


def varint(value: int) -> bytes:
    """A base-128 varint, least significant group first; `value` is not negative."""
    if value < _TWO_GROUPS:
        return _SHORT[value]
    if value < _FOUR_GROUPS:
        return _LOW[value & 0x3FFF] + _SHORT[value >> 14]
    return _groups(value)


class AudioWriter:
    """Writes one stream's Audio messages; remembers what surrounds each leg's payload."""

    __slots__ = ("_shapes",)

    def __init__(self) -> None:
        self._shapes: dict[tuple[int, int, int], tuple[bytes, bytes, int]] = {}

    def pieces(self, seq: int, pts: int, legs: Sequence[LegAudio]) -> tuple[int, list[bytes]]:
        """The message's length in bytes, and its bytes in pieces to be joined by whoever sends."""
        length = 0
        pieces = [b""]
        shapes = self._shapes
        for handle, data, flags in legs:
            key = (handle, len(data), flags)
            before, after, size = shapes.get(key) or self._shape(key)
            length += size
            pieces.append(before)
            pieces.append(data)
            if after:
                pieces.append(after)
        position = _PTS + varint(pts) if pts else b""
        size = length + len(position)
        pieces[0] = head = b"".join((_SEQ, varint(seq), _AUDIO, varint(size), position))
        return len(head) + length, pieces

    def _shape(self, key: tuple[int, int, int]) -> tuple[bytes, bytes, int]:
        handle, size, flags = key
        fields = _HANDLE + varint(handle) if handle else b""
        if size:
            fields += _DATA + varint(size)
        after = _FLAGS + varint(flags) if flags else b""
        before = _LEG + varint(len(fields) + size + len(after)) + fields
        if len(self._shapes) >= _MAX_SHAPES:
            self._shapes.clear()
        self._shapes[key] = shape = (before, after, len(before) + size + len(after))
        return shape
