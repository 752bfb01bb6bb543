"""Protected packets of a sender with its own libsrtp session: let in, refused, counted."""

from __future__ import annotations

import pytest
from pylibsrtp import Policy, Session
from siprec_worker.net.srtp import SrtpLine, SrtpStats, muxed
from siprec_worker.protocol.rtcp import ReceiverReport, parse_rtcp, write_receiver_report
from siprec_worker.protocol.sdes import KEY_AND_SALT_BYTES, SrtpKeys

from tests.builders.rtp import rtp

PROFILES = {
    "AES_CM_128_HMAC_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AES_CM_128_HMAC_SHA1_32": Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
    "AEAD_AES_128_GCM": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "AEAD_AES_256_GCM": Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}
CM_80 = "AES_CM_128_HMAC_SHA1_80"


def keys(suite: str = CM_80, seed: int = 1, mki_bytes: int = 0) -> SrtpKeys:
    size = KEY_AND_SALT_BYTES[suite]
    theirs, ours = (bytes((n + i) % 256 for i in range(size)) for n in (seed, seed + 100))
    return SrtpKeys(suite, theirs, ours, mki_bytes)


class Line:
    """A line, what it let through, and its sender."""

    def __init__(self, agreed: SrtpKeys) -> None:
        self.rtp: list[bytes] = []
        self.rtcp: list[bytes] = []
        self.line = SrtpLine(agreed, self.rtp.append, self.rtcp.append)
        self.sender = sender(agreed)


def sender(agreed: SrtpKeys) -> Session:
    profile = PROFILES[agreed.suite]
    return Session(Policy(agreed.theirs, Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile))


@pytest.mark.parametrize("suite", sorted(PROFILES))
def test_packets_come_out_as_they_were_before(suite: str) -> None:
    line = Line(keys(suite))
    for number in (1, 2, 4, 3):
        line.line.receive(line.sender.protect(rtp(number)))
    assert line.rtp == [rtp(number) for number in (1, 2, 4, 3)]


@pytest.mark.parametrize("suite", sorted(PROFILES))
def test_reports_come_out_and_ours_can_be_read(suite: str) -> None:
    agreed = keys(suite)
    line = Line(agreed)
    report = write_receiver_report(ReceiverReport(7), "a@b")
    line.line.receive_rtcp(line.sender.protect_rtcp(report))
    assert line.rtcp == [report]
    profile = PROFILES[suite]
    reader = Session(Policy(agreed.ours, Policy.SSRC_ANY_INBOUND, srtp_profile=profile))
    protected = line.line.protect_rtcp(report)
    assert protected[8:] != report[8:]
    assert parse_rtcp(reader.unprotect_rtcp(protected)) == parse_rtcp(report)


def test_a_packet_that_comes_twice_is_refused_and_counted() -> None:
    line = Line(keys())
    packet = line.sender.protect(rtp(1))
    line.line.receive(packet)
    line.line.receive(packet)
    assert len(line.rtp) == 1
    assert line.line.stats == SrtpStats(replayed=1)


@pytest.mark.parametrize("suite", sorted(PROFILES))
def test_another_key_opens_nothing_and_is_counted(suite: str) -> None:
    line = Line(keys(suite))
    line.line.receive(sender(keys(suite, seed=9)).protect(rtp(1)))
    line.line.receive(rtp(2) + bytes(10))
    assert line.rtp == []
    assert line.line.stats == SrtpStats(refused=2)


def test_junk_is_counted_and_hurts_nothing() -> None:
    line = Line(keys())
    for junk in (b"", b"\x80", bytes(11), bytes(2000)):
        line.line.receive(junk)
        line.line.receive_rtcp(junk)
    line.line.receive(line.sender.protect(rtp(1)))
    assert line.rtp == [rtp(1)]
    assert line.line.stats.malformed + line.line.stats.refused == 8


def test_the_roll_over_is_kept_through_a_wrap() -> None:
    line = Line(keys())
    for number in range(65_500, 65_600):
        line.line.receive(line.sender.protect(rtp(number)))
    assert line.rtp == [rtp(number) for number in range(65_500, 65_600)]


def test_the_roll_over_is_kept_when_the_same_keys_are_offered_again() -> None:
    line = Line(keys())
    for number in range(65_500, 65_600):
        line.line.receive(line.sender.protect(rtp(number)))
    line.line.rekey(keys())
    line.line.receive(line.sender.protect(rtp(65_600)))
    assert line.rtp[-1] == rtp(65_600)
    assert line.line.stats == SrtpStats()


def test_new_keys_begin_anew() -> None:
    line = Line(keys())
    line.line.receive(line.sender.protect(rtp(1)))
    line.line.rekey(keys(seed=3))
    line.line.receive(sender(keys(seed=3)).protect(rtp(2)))
    line.line.receive(line.sender.protect(rtp(3)))
    assert line.rtp == [rtp(1), rtp(2)]
    assert line.line.stats == SrtpStats(refused=1)


def test_two_streams_under_one_key_have_their_own_counters() -> None:
    line = Line(keys())
    for ssrc in (1, 2):
        for number in range(65_530, 65_540):
            line.line.receive(line.sender.protect(rtp(number, ssrc=ssrc)))
    assert len(line.rtp) == 20


@pytest.mark.parametrize(
    ("suite", "tag"), [(CM_80, 10), ("AES_CM_128_HMAC_SHA1_32", 4), ("AEAD_AES_128_GCM", 0)]
)
def test_a_key_identifier_in_the_packets_is_passed_over(suite: str, tag: int) -> None:
    line = Line(keys(suite, mki_bytes=4))
    packet = line.sender.protect(rtp(1))
    end = len(packet) - tag
    line.line.receive(packet[:end] + b"\0\0\0\1" + packet[end:])
    assert line.rtp == [rtp(1)]


def test_a_tap_hears_packets_in_the_clear_with_their_arrival() -> None:
    line = Line(keys())
    heard: list[tuple[bytes, float]] = []
    line.line.tap(lambda packet, at: heard.append((packet, at)))
    protected = line.sender.protect(rtp(1))
    line.line.note_arrival(protected, 12.5)
    line.line.receive(protected)
    assert heard == [(rtp(1), 12.5)]


def test_reports_on_the_audio_socket_are_told_by_their_type() -> None:
    audio: list[bytes] = []
    reports: list[bytes] = []
    receive = muxed(audio.append, reports.append)
    report = write_receiver_report(ReceiverReport(7), "a@b")
    for data in (rtp(1), report, b"", rtp(2, payload_type=96)):
        receive(data)
    assert reports == [report]
    assert audio == [rtp(1), b"", rtp(2, payload_type=96)]
