"""RTP headers: what is audio, what is not, and what is no RTP."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from siprec_worker.errors import PeerError, RtpError
from siprec_worker.protocol.rtp import RtpPacket, parse_rtp, write_rtp

from tests.builders.rtp import rtp

WORDS = st.integers(0, 8).flatmap(lambda words: st.binary(min_size=4 * words, max_size=4 * words))
NUMBERS = st.integers(0, 0xFFFFFFFF)
PACKETS = st.builds(
    RtpPacket,
    payload_type=st.integers(0, 127),
    sequence=st.integers(0, 0xFFFF),
    timestamp=NUMBERS,
    ssrc=NUMBERS,
    payload=st.binary(max_size=400),
    marker=st.booleans(),
    csrcs=st.lists(NUMBERS, max_size=15).map(tuple),
    extension=st.none() | st.tuples(st.integers(0, 0xFFFF), WORDS),
)


@given(PACKETS)
def test_what_was_written_is_read_back(packet: RtpPacket) -> None:
    assert parse_rtp(write_rtp(packet)) == packet


@given(st.binary(max_size=200))
def test_any_bytes_are_a_packet_or_a_peer_error(data: bytes) -> None:
    with contextlib.suppress(PeerError):
        parse_rtp(data)


@given(PACKETS, st.integers(1, 255))
def test_padding_never_ends_up_in_the_audio(packet: RtpPacket, padding: int) -> None:
    data = bytearray(write_rtp(packet) + bytes(padding - 1) + bytes((padding,)))
    data[0] |= 0x20
    assert parse_rtp(bytes(data)) == packet


def test_padding_of_nothing_is_refused() -> None:
    data = bytearray(rtp(1, payload=b"\0"))
    data[0] |= 0x20
    with pytest.raises(RtpError, match="0 bytes of padding"):
        parse_rtp(bytes(data))


def test_padding_that_reaches_into_the_header_is_refused() -> None:
    data = bytearray(rtp(1, payload=b"\x05\x05"))
    data[0] |= 0x20
    with pytest.raises(RtpError, match="5 bytes of padding"):
        parse_rtp(bytes(data))


@pytest.mark.parametrize("version", [0, 1, 3])
def test_another_version_is_refused(version: int) -> None:
    data = bytearray(rtp(1))
    data[0] = data[0] & 0x3F | version << 6
    with pytest.raises(RtpError, match=f"version {version}"):
        parse_rtp(bytes(data))


@pytest.mark.parametrize("size", range(12))
def test_less_than_a_header_is_refused(size: int) -> None:
    with pytest.raises(RtpError):
        parse_rtp(rtp(1)[:size])


def test_csrcs_that_do_not_fit_are_refused() -> None:
    data = bytearray(rtp(1, payload=b"\0" * 8))
    data[0] |= 3
    with pytest.raises(RtpError, match="3 CSRCs"):
        parse_rtp(bytes(data))


@pytest.mark.parametrize(
    "extension", [b"", b"\xbe\xde\x00", struct.pack("!HH", 0xBEDE, 2) + b"1234"]
)
def test_an_extension_that_does_not_fit_is_refused(extension: bytes) -> None:
    data = bytearray(rtp(1, payload=extension))
    data[0] |= 0x10
    with pytest.raises(RtpError, match="extension"):
        parse_rtp(bytes(data))
