"""Captures of real streams, with the counts an independent dissector gave."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from siprec_worker.media.call_audio import CallAudio
from siprec_worker.media.model import AudioChunk, AudioFormat, Dtmf, Encoding, Gap, GapCause
from siprec_worker.media.payload_table import Payloads
from siprec_worker.protocol.dtmf import DIGITS, KeyReceiver
from siprec_worker.protocol.rtcp import parse_rtcp
from siprec_worker.protocol.rtp import parse_rtp

from tests.builders.rtp import Captured, read_pcap

TICK = 0.02
PCM = AudioFormat(Encoding.PCM_S16LE, 8000)
PCM_16K = AudioFormat(Encoding.PCM_S16LE, 16_000)
CODECS = {
    "PCMA": (8, 8000), "PCMU": (0, 8000), "G722": (9, 8000), "G729": (18, 8000),
    "opus": (96, 48_000),
}  # fmt: skip
CASES = [
    *[f"dtmf-{key}" for key in (*range(1, 10), "star")],
    "g711a-30ms",
    "g711a-loss",
    "g711a-reorder",
    "g711a-seq-wrap",
    "g711a-two-streams",
    "g722-metaswitch",
    "g729-metaswitch",
    "opus-dtmf-10digits",
    "ulaw-dtmf-10digits",
]


class Listened:
    """A capture played into a call, tick by tick, on the capture's own clock."""

    def __init__(self, folder: Path, case: str, *, uplink: AudioFormat = PCM) -> None:
        self.expected: dict[str, Any] = json.loads((folder / f"{case}.expect.json").read_text())
        packets = list(read_pcap(folder / f"{case}.pcap"))
        self.start = packets[0].at
        self.call = CallAudio(self.start, uplink=uplink)
        self.handles = {
            stream["dst_port"]: handle for handle, stream in enumerate(self.expected["streams"])
        }
        tracks = {
            port: self.call.add_track(handle, self._payloads())
            for port, handle in self.handles.items()
        }
        self.call.want(self.handles.values())
        self.chunks: list[AudioChunk] = []
        self.gaps: list[Gap] = []
        self.keys: list[Dtmf] = []
        waiting = list(packets)
        ticks = math.ceil((packets[-1].at - self.start) / TICK) + 20
        for tick in range(1, ticks):
            now = self.start + tick * TICK
            while waiting and waiting[0].at < now:
                datagram = waiting.pop(0)
                tracks[datagram.port].receive(datagram.data)
            self._take(now)
        assert not waiting

    def audio(self, handle: int) -> bytes:
        return b"".join(
            leg.data for chunk in self.chunks for leg in chunk.legs if leg.handle == handle
        )

    def _payloads(self) -> Payloads:
        clock = self.expected["clock_rate"]
        number = self.expected.get("telephone_event_pt", 101)
        payloads = {number: ("telephone-event", clock)}
        if (codec := self.expected["codec"]) in CODECS:
            number, rate = CODECS[codec]
            payloads[number] = (codec, rate)
        return payloads

    def _take(self, now: float) -> None:
        for item in self.call.tick(now):
            match item:
                case AudioChunk():
                    self.chunks.append(item)
                case Gap():
                    self.gaps.append(item)
                case Dtmf():
                    self.keys.append(item)


@pytest.fixture
def captures(shared: Path) -> Path:
    return shared / "interop" / "rtp"


@pytest.mark.parametrize("case", CASES)
def test_counts_are_those_of_the_dissector(captures: Path, case: str) -> None:
    listened = Listened(captures, case)
    for handle, stream in enumerate(listened.expected["streams"]):
        stats = listened.call.stats()[handle]
        assert stats.packets == stream["packets"]
        assert stats.lost == stream["lost"]
        assert stats.duplicates == stream["duplicates"]
        assert stats.payload_types == {int(n): c for n, c in stream["payload_types"].items()}
        assert stats.ssrc == int(stream["ssrc"], 16)
        assert (stats.epochs, stats.bad, stats.late) == (1, 0, 0)


@pytest.mark.parametrize("case", CASES)
def test_keys_are_told_once_with_their_duration(captures: Path, case: str) -> None:
    listened = Listened(captures, case)
    stream = listened.expected["streams"][0]
    clock = listened.expected["clock_rate"]
    assert "".join(key.digit for key in listened.keys) == stream.get("dtmf", "")
    assert [key.duration_ms for key in listened.keys] == [
        event["max_duration"] * 1000 // clock for event in stream.get("dtmf_events", ())
    ]


@pytest.mark.parametrize("case", [case for case in CASES if case.startswith(("g711a", "g722"))])
def test_audio_and_gaps_make_up_the_whole_duration(captures: Path, case: str) -> None:
    listened = Listened(captures, case)
    for handle, stream in enumerate(listened.expected["streams"]):
        chunks = [c for c in listened.chunks if any(leg.handle == handle for leg in c.legs)]
        samples = chunks[-1].pts + 160 - chunks[0].pts
        # The last slot is not whole when the packets are not of 20 ms.
        assert samples == pytest.approx(stream["media_duration_s"] * 8000, abs=160)
        positions = [chunk.pts for chunk in chunks]
        assert positions == sorted(set(positions))
        assert all(pts % 160 == 0 for pts in positions)


def test_lost_packets_become_gaps_and_no_audio(captures: Path) -> None:
    listened = Listened(captures, "g711a-loss")
    assert sum(gap.packets for gap in listened.gaps) == 21
    assert {gap.cause for gap in listened.gaps} == {GapCause.NETWORK_LOSS}
    assert sum(gap.to_pts - gap.from_pts for gap in listened.gaps) == 21 * 240


def test_streams_without_loss_have_no_gaps(captures: Path) -> None:
    for case in ("g711a-30ms", "g711a-reorder", "g711a-seq-wrap", "g722-metaswitch"):
        assert Listened(captures, case).gaps == []


def test_reordered_packets_give_the_same_audio(captures: Path) -> None:
    straight = Listened(captures, "g711a-30ms")
    swapped = Listened(captures, str(straight_case(captures)))
    assert swapped.audio(0) == straight.audio(0)
    assert straight.audio(0)


def straight_case(captures: Path) -> str:
    expected = json.loads((captures / "g711a-reorder.expect.json").read_text())
    assert expected["same_audio_as"] == "g711a-30ms"
    return "g711a-reorder"


def test_pass_through_gives_the_octets_of_the_packets(captures: Path) -> None:
    listened = Listened(captures, "g711a-30ms", uplink=AudioFormat(Encoding.G711_ALAW, 8000))
    sent = b"".join(parse_rtp(c.data).payload for c in read_pcap(captures / "g711a-30ms.pcap"))
    assert listened.audio(0) == sent[: len(listened.audio(0))]
    assert len(sent) - len(listened.audio(0)) < 160


def test_two_legs_leave_in_step(captures: Path) -> None:
    listened = Listened(captures, "g711a-two-streams")
    together = sum(len(chunk.legs) == 2 for chunk in listened.chunks)
    assert together == len(listened.chunks)
    assert listened.audio(0) == listened.audio(1)


def test_a_codec_nobody_decodes_is_counted_and_not_played(captures: Path) -> None:
    listened = Listened(captures, "g729-metaswitch")
    assert listened.chunks == []
    assert listened.call.stats()[0].unsupported == 1071


def test_wideband_audio_of_g722_fills_the_upper_band(captures: Path) -> None:
    listened = Listened(captures, "g722-metaswitch", uplink=PCM_16K)
    assert {len(leg.data) for chunk in listened.chunks for leg in chunk.legs} == {640}
    samples = np.frombuffer(listened.audio(0), "<i2").astype(float)
    power = np.abs(np.fft.rfft(samples)) ** 2
    upper = power[len(power) * 9 // 16 : len(power) * 14 // 16].sum() / power.sum()
    assert upper > 1e-5  # above 4.5 kHz: 8 kHz audio brought to 16 kHz has 1e-7 there


@pytest.mark.parametrize("uplink", [PCM, PCM_16K, AudioFormat(Encoding.G711_ULAW, 8000)])
def test_opus_is_heard_whole_with_its_keys(captures: Path, uplink: AudioFormat) -> None:
    listened = Listened(captures, "opus-dtmf-10digits", uplink=uplink)
    assert "".join(key.digit for key in listened.keys) == "3125894607"
    samples = 160 * uplink.pts_factor
    sizes = {len(leg.data) for chunk in listened.chunks for leg in chunk.legs}
    assert sizes == {samples * uplink.bytes_per_sample}
    stats = listened.call.stats()[0]
    assert (stats.lost, stats.unsupported, stats.bad) == (0, 0, 0)
    positions = [chunk.pts for chunk in listened.chunks]
    assert positions == sorted(set(positions))
    assert {gap.cause for gap in listened.gaps} <= {GapCause.SILENCE_SUPPRESSED}
    assert 640 <= len(listened.chunks) <= 660


def test_opus_digits_keep_their_own_clock(captures: Path) -> None:
    receiver = KeyReceiver()
    keys = []
    for datagram in read_pcap(captures / "opus-dtmf-10digits.pcap"):
        packet = parse_rtp(datagram.data)
        if packet.payload_type == 101:
            keys += receiver.receive(packet.payload, packet.timestamp, datagram.at)
    assert "".join(key.digit for key in keys) == "3125894607"
    assert all(key.digit in DIGITS for key in keys)


def test_single_packets_of_every_shape_are_read(captures: Path) -> None:
    case = "rtp-rtcp-single-packets"
    expected = json.loads((captures / f"{case}.expect.json").read_text())
    datagrams: list[Captured] = list(read_pcap(captures / f"{case}.pcap"))
    packets = [parse_rtp(datagram.data) for datagram in datagrams if datagram.port == 2006]
    assert [
        (f"{packet.ssrc:#010x}", packet.sequence, packet.payload_type) for packet in packets
    ] == [
        (stream["ssrc"], stream["first_seq"], int(next(iter(stream["payload_types"]))))
        for stream in expected["streams"]
    ]
    reports = [parse_rtcp(datagram.data) for datagram in datagrams if datagram.port == 2007]
    assert all(reports)
