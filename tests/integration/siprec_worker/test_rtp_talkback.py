"""The talk-back against a socket that plays Asterisk's external media channel."""

from __future__ import annotations

import socket
from array import array
from collections.abc import Iterator
from itertools import pairwise

import pytest
from siprec_worker.media.model import AudioFormat, Encoding, TalkbackCodec
from siprec_worker.media.playout import Playout
from siprec_worker.net.talkback import Talkback
from siprec_worker.protocol.rtp import RtpPacket, parse_rtp

HOST = "127.0.0.1"
FRAME = 0.02


class Line:
    """A talk-back and Asterisk's socket; time is what the test says."""

    def __init__(self, ours: socket.socket, asterisk: socket.socket) -> None:
        self.asterisk = asterisk
        self.playout = Playout(AudioFormat(Encoding.PCM_S16LE, 8000), lead_in_ms=0)
        self.talkback = Talkback(ours, self.playout)

    def attach(self, codec: TalkbackCodec = TalkbackCodec.PCMU, now: float = 10.0) -> None:
        host, port = self.asterisk.getsockname()
        self.talkback.attach(host, port, codec, now)

    def heard(self) -> list[RtpPacket]:
        packets = []
        while True:
            try:
                packets.append(parse_rtp(self.asterisk.recv(2048)))
            except BlockingIOError:
                return packets


@pytest.fixture
def line() -> Iterator[Line]:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asterisk,
    ):
        for sock in (ours, asterisk):
            sock.bind((HOST, 0))
            sock.setblocking(False)
        yield Line(ours, asterisk)


def test_nothing_is_sent_before_it_is_attached(line: Line) -> None:
    line.talkback.tick(10.0)
    assert not line.talkback.attached
    assert line.heard() == []


def test_attached_it_sends_silence_fifty_times_a_second(line: Line) -> None:
    line.attach()
    for tick in range(50):
        line.talkback.tick(10.007 + tick * FRAME)
    packets = line.heard()
    assert len(packets) == 50
    assert {packet.payload for packet in packets} == {b"\xff" * 160}
    assert {(p.sequence - packets[0].sequence) & 0xFFFF for p in packets} == set(range(50))


def test_ticks_of_ten_milliseconds_send_every_second_time(line: Line) -> None:
    line.attach()
    for tick in range(100):
        line.talkback.tick(10.0 + tick * 0.01 + (tick % 3) * 0.001)
    assert len(line.heard()) == 50


def test_the_voice_goes_out_with_a_marker_at_its_beginning(line: Line) -> None:
    line.attach()
    line.talkback.tick(10.0)
    line.playout.speak("u", array("h", [8031] * 320).tobytes(), last=True)
    for tick in range(1, 4):
        line.talkback.tick(10.0 + tick * FRAME)
    assert [packet.marker for packet in line.heard()] == [False, True, False, False]


@pytest.mark.parametrize(("codec", "number"), [(TalkbackCodec.PCMA, 8), (TalkbackCodec.G722, 9)])
def test_the_codec_is_the_one_attached(line: Line, codec: TalkbackCodec, number: int) -> None:
    line.attach(codec)
    line.talkback.tick(10.0)
    (packet,) = line.heard()
    assert (packet.payload_type, len(packet.payload)) == (number, 160)


def test_after_a_stall_it_catches_up_a_little_and_skips_the_rest(line: Line) -> None:
    line.attach()
    line.talkback.tick(10.0)
    line.talkback.tick(10.5)
    packets = line.heard()
    assert len(packets) == 4
    assert line.talkback.stats.skipped == 22
    steps = {(b.timestamp - a.timestamp) & 0xFFFFFFFF for a, b in pairwise(packets)}
    assert steps == {160, 23 * 160}


def test_what_asterisk_sends_back_is_drained_and_counted(line: Line) -> None:
    line.attach()
    line.asterisk.sendto(b"x" * 172, line.talkback.address)
    line.talkback.tick(10.0)
    stats = line.talkback.stats
    assert (stats.received, stats.last_received, stats.refused) == (1, 10.0, 0)


def test_strangers_are_refused_before_and_by_the_kernel_afterwards(line: Line) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"x", line.talkback.address)
        line.talkback.tick(10.0)
        line.attach()
        stranger.sendto(b"x", line.talkback.address)
        line.talkback.tick(10.02)
    assert (line.talkback.stats.refused, line.talkback.stats.received) == (1, 0)


def test_detached_it_sends_no_more_and_can_be_attached_again(line: Line) -> None:
    line.attach()
    line.talkback.tick(10.0)
    line.talkback.detach()
    line.talkback.tick(10.02)
    assert len(line.heard()) == 1
    line.attach(now=20.0)
    line.talkback.tick(20.0)
    assert len(line.heard()) == 1
    assert line.talkback.stats.skipped == 0


def test_an_asterisk_that_is_not_there_yet_is_no_failure(line: Line) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind((HOST, 0))
        host, port = nobody.getsockname()
    line.talkback.attach(host, port, TalkbackCodec.PCMU, 10.0)
    for tick in range(10):
        line.talkback.tick(10.0 + tick * FRAME)
    assert line.talkback.stats.sent + line.talkback.stats.send_errors == 10


def test_a_host_name_is_refused(line: Line) -> None:
    with pytest.raises(ValueError, match="asterisk"):
        line.talkback.attach("asterisk", 5000, TalkbackCodec.PCMU, 10.0)
