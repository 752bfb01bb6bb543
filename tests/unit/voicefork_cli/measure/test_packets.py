"""Reading RTP packets for the measurement."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st
from voicefork_cli.measure.packets import parse_packet


def rtp(first: int = 0x80, second: int = 0, tail: bytes = b"") -> bytes:
    return struct.pack("!BBHII", first, second, 65535, 160, 0xDEADBEEF) + tail


def test_a_plain_packet() -> None:
    packet = parse_packet(rtp(second=0x80, tail=b"\xff" * 160), 5)
    assert packet is not None
    assert packet == (5, 65535, 160, 0xDEADBEEF, 0, True, b"\xff" * 160)


def test_csrcs_extension_and_padding_are_cut_away() -> None:
    extension = b"\xbe\xde\x00\x01abcd"
    datagram = rtp(0x80 | 0x20 | 0x10 | 2, tail=b"CSRCCSRC" + extension + b"hello" + b"\0\0\3")
    packet = parse_packet(datagram, 0)
    assert packet is not None
    assert packet.payload == b"hello"


def test_rtcp_stun_and_fragments_are_no_packets() -> None:
    assert parse_packet(rtp(second=200), 0) is None
    assert parse_packet(b"\x00\x01" + bytes(18), 0) is None
    assert parse_packet(rtp()[:11], 0) is None
    assert parse_packet(rtp(0xA0, tail=b"\xff"), 0) is None


@given(st.binary(max_size=60))
def test_no_bytes_raise(datagram: bytes) -> None:
    parse_packet(datagram, 0)
