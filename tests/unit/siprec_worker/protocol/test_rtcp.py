"""RTCP: what peers report is read, our receiver report is well formed."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from siprec_worker.errors import PeerError, RtpError
from siprec_worker.protocol.rtcp import (
    Goodbye,
    OtherRtcp,
    ReceiverReport,
    ReportBlock,
    SenderReport,
    SourceDescription,
    parse_rtcp,
    write_goodbye,
    write_receiver_report,
)

NUMBERS = st.integers(0, 0xFFFFFFFF)
BLOCKS = st.builds(
    ReportBlock,
    ssrc=NUMBERS,
    fraction_lost=st.integers(0, 255),
    lost=st.integers(-0x800000, 0x7FFFFF),
    highest_sequence=NUMBERS,
    jitter=NUMBERS,
    last_sr=NUMBERS,
    since_last_sr=NUMBERS,
)
REPORTS = st.builds(ReceiverReport, ssrc=NUMBERS, blocks=st.lists(BLOCKS, max_size=31).map(tuple))
CNAMES = st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=100)


@given(REPORTS, CNAMES)
def test_a_receiver_report_is_read_back_with_its_cname(report: ReceiverReport, cname: str) -> None:
    description = SourceDescription(((report.ssrc, ((1, cname),)),))
    assert parse_rtcp(write_receiver_report(report, cname)) == [report, description]


@given(st.lists(NUMBERS, max_size=31))
def test_a_goodbye_is_read_back(ssrcs: list[int]) -> None:
    assert parse_rtcp(write_goodbye(ssrcs)) == [Goodbye(tuple(ssrcs))]


@given(st.binary(max_size=200))
def test_any_bytes_are_packets_or_a_peer_error(data: bytes) -> None:
    with contextlib.suppress(PeerError):
        parse_rtcp(data)


@given(st.integers(200, 204), st.integers(0, 63), st.binary(max_size=80))
def test_any_body_of_a_known_type_is_packets_or_a_peer_error(
    packet_type: int, count: int, body: bytes
) -> None:
    body += bytes(-len(body) % 4)
    with contextlib.suppress(PeerError):
        parse_rtcp(struct.pack("!BBH", 0x80 | count, packet_type, len(body) // 4) + body)


def test_a_loss_beyond_24_bits_is_clamped() -> None:
    block = ReportBlock(1, 0, 1 << 30, 0, 0)
    report = parse_rtcp(write_receiver_report(ReceiverReport(2, (block,)), "c"))[0]
    assert report == ReceiverReport(2, (ReportBlock(1, 0, 0x7FFFFF, 0, 0),))


def test_a_sender_report_tells_its_clock() -> None:
    body = struct.pack("!IQIII", 7, 0x0123456789ABCDEF, 160, 50, 8000)
    data = struct.pack("!BBH", 0x80, 200, len(body) // 4) + body
    assert parse_rtcp(data) == [SenderReport(7, 0x0123456789ABCDEF, 160, 50, 8000)]


def test_a_goodbye_may_give_a_reason() -> None:
    body = struct.pack("!I", 7) + b"\x03bye"
    assert parse_rtcp(struct.pack("!BBH", 0x81, 203, 2) + body) == [Goodbye((7,), "bye")]


def test_unknown_types_are_passed_over() -> None:
    data = struct.pack("!BBHI", 0x80, 207, 1, 9) + write_goodbye([1])
    assert parse_rtcp(data) == [OtherRtcp(207, b"\0\0\0\x09"), Goodbye((1,))]


def test_padding_is_taken_off() -> None:
    data = struct.pack("!BBHI", 0xA1, 203, 2, 5) + b"\0\0\0\x04"
    assert parse_rtcp(data) == [Goodbye((5,))]


@pytest.mark.parametrize("data", [b"\x80", b"\x40\xc8\0\0", b"\x80\xc8\0\x06", b"\xa0\xcb\0\0"])
def test_lengths_that_do_not_fit_are_refused(data: bytes) -> None:
    with pytest.raises(RtpError):
        parse_rtcp(data)
