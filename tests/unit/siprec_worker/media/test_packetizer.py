"""The talk-back's RTP headers."""

from __future__ import annotations

from siprec_worker.media.packetizer import Packetizer
from siprec_worker.protocol.rtp import parse_rtp

FRAME = b"\xff" * 160


def test_sequence_and_timestamp_count_and_wrap() -> None:
    packetizer = Packetizer(0, ssrc=7, sequence=65535, timestamp=0xFFFFFFFF)
    packets = [parse_rtp(packetizer.packet(FRAME, speaking=False)) for _ in range(2)]
    assert [(p.sequence, p.timestamp) for p in packets] == [(65535, 0xFFFFFFFF), (0, 159)]
    assert {(p.ssrc, p.payload_type, p.payload) for p in packets} == {(7, 0, FRAME)}


def test_the_marker_is_on_the_first_packet_of_a_talkspurt_only() -> None:
    packetizer = Packetizer(9, ssrc=7, sequence=0, timestamp=0)
    speaking = [False, True, True, False, True]
    packets = [parse_rtp(packetizer.packet(FRAME, speaking=speaks)) for speaks in speaking]
    assert [p.marker for p in packets] == [False, True, False, False, True]


def test_time_without_packets_moves_the_timestamp_only() -> None:
    packetizer = Packetizer(0, ssrc=7, sequence=5, timestamp=0)
    packetizer.skip(3)
    packet = parse_rtp(packetizer.packet(FRAME, speaking=False))
    assert (packet.sequence, packet.timestamp) == (5, 480)
