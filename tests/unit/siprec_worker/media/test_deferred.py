"""Decoding elsewhere: order kept, overload told, loss made up for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from siprec_worker.media.call_audio import CallAudio, TickOutput
from siprec_worker.media.model import (
    AudioChunk,
    AudioFlag,
    AudioFormat,
    Dtmf,
    Encoding,
    Gap,
    GapCause,
)
from siprec_worker.protocol.dtmf import TelephoneEvent, write_event

from tests.builders.rtp import rtp

opuslib_next: Any = pytest.importorskip("opuslib_next", exc_type=ImportError)

TICK = 0.02
PAYLOADS = {96: ("opus", 48_000), 0: ("PCMU", 8000), 101: ("telephone-event", 48_000)}
PCM = AudioFormat(Encoding.PCM_S16LE, 8000)


class Slow:
    """A lane that works when it is told to."""

    def __init__(self, room: int = 1000) -> None:
        self.jobs: list[Callable[[], None]] = []
        self.room = room

    def submit(self, job: Callable[[], None]) -> bool:
        if len(self.jobs) >= self.room:
            return False
        self.jobs.append(job)
        return True

    def work(self) -> None:
        for job in self.jobs:
            job()
        self.jobs.clear()


class OpusCall:
    """One leg of Opus packets, a tick each."""

    def __init__(self, lane: Slow | None = None, *, fec: bool = False) -> None:
        self.audio = CallAudio(0.0, uplink=PCM, lane=lane)
        self.track = self.audio.add_track(0, PAYLOADS)
        self.audio.want((0,))
        self.lane = lane
        self.encoder = opuslib_next.Encoder(48_000, 1, "voip")
        if fec:
            self.encoder.inband_fec = 1
            self.encoder.packet_loss_perc = 20
        self.ticks = 0

    def packet(self, number: int) -> bytes:
        payload = self.encoder.encode(bytes((number % 200, 10)) * 960, 960)
        return rtp(number, payload, payload_type=96, timestamp=number * 960)

    def tick(self, *datagrams: bytes, work: bool = True) -> list[TickOutput]:
        for datagram in datagrams:
            self.track.receive(datagram)
        self.ticks += 1
        out = self.audio.tick(0.011 + self.ticks * TICK)
        if self.lane is not None and work:
            self.lane.work()
        return out


def slots(items: list[TickOutput]) -> list[int]:
    return [item.pts // 160 for item in items if isinstance(item, AudioChunk)]


def test_audio_comes_back_a_tick_later() -> None:
    call = OpusCall(Slow())
    first = call.tick(call.packet(1))
    second = call.tick(call.packet(2))
    third = call.tick(call.packet(3))
    assert first == []
    assert [len(slots(out)) for out in (second, third)] == [1, 1]


def test_a_lane_that_is_late_changes_no_order() -> None:
    call = OpusCall(Slow())
    out = []
    for number in range(1, 30):
        out += call.tick(call.packet(number), work=number % 4 == 0)
    assert slots(out) == sorted(set(slots(out)))
    assert all(isinstance(item, AudioChunk) for item in out)


def test_keys_wait_for_the_audio_before_them() -> None:
    lane = Slow()
    call = OpusCall(lane)
    call.tick(call.packet(1))
    event = write_event(TelephoneEvent(5, True, 10, 4800))
    call.tick(call.packet(2), rtp(3, event, payload_type=101, timestamp=3 * 960), work=False)
    assert call.tick(work=False) == []
    lane.work()
    out = call.tick()
    assert [type(item) for item in out] == [AudioChunk, Dtmf]
    assert isinstance(out[1], Dtmf)
    assert (out[1].digit, out[1].duration_ms) == ("5", 100)
    assert out[1].pts == 160 * (slots(out)[0] + 1)


def test_what_the_lane_has_no_time_for_is_told_as_shed() -> None:
    lane = Slow()
    call = OpusCall(lane)
    out = []
    for number in range(1, 40):
        lane.room = 0 if 10 <= number < 15 else 1000
        out += call.tick(call.packet(number))
    gaps = [item for item in out if isinstance(item, Gap)]
    assert [(gap.cause, gap.to_pts - gap.from_pts) for gap in gaps] == [(GapCause.SHED, 5 * 160)]
    stats = call.audio.stats()[0]
    assert (stats.overloaded, stats.lost) == (5, 0)


def test_a_lane_that_stands_still_is_given_no_more_than_it_can_hold() -> None:
    lane = Slow()
    call = OpusCall(lane)
    for number in range(1, 100):
        call.tick(call.packet(number), work=False)
    assert len(lane.jobs) <= 16
    assert call.audio.stats()[0].overloaded > 80


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_lost_packets_are_made_up_for_and_flagged(lost: int) -> None:
    call = OpusCall(fec=True)
    out = []
    for number in range(1, 30):
        out += call.tick(*(() if 10 <= number < 10 + lost else (call.packet(number),)))
    assert not [item for item in out if isinstance(item, Gap)]
    flags = [item.legs[0].flags for item in out if isinstance(item, AudioChunk)]
    assert flags.count(AudioFlag.CONCEALED) == lost
    assert slots(out) == list(range(slots(out)[0], slots(out)[0] + len(flags)))
    stats = call.audio.stats()[0]
    assert (stats.lost, stats.recovered) == (lost, lost)


def test_of_a_long_loss_only_the_end_is_made_up_for() -> None:
    call = OpusCall()
    out = []
    for number in range(1, 40):
        out += call.tick(*(() if 10 <= number < 18 else (call.packet(number),)))
    gaps = [item for item in out if isinstance(item, Gap)]
    assert [(g.cause, g.to_pts - g.from_pts, g.packets) for g in gaps] == [
        (GapCause.NETWORK_LOSS, 5 * 160, 5)
    ]


def test_a_payload_that_is_no_opus_counts_as_lost() -> None:
    call = OpusCall()
    out = call.tick(call.packet(1))
    out += call.tick(rtp(2, b"\xff\x00", payload_type=96, timestamp=2 * 960))
    for number in range(3, 9):
        out += call.tick(call.packet(number))
    assert [g.cause for g in out if isinstance(g, Gap)] == [GapCause.NETWORK_LOSS]
    assert call.audio.stats()[0].bad == 1


def test_what_is_no_opus_is_counted_on_a_leg_that_nobody_wants_too() -> None:
    call = OpusCall()
    call.audio.want(())
    call.tick(call.packet(1))
    call.tick(rtp(2, b"\xff\x6e", payload_type=96, timestamp=2 * 960))
    call.tick(call.packet(3))
    call.tick()
    assert call.audio.stats()[0].bad == 1


def test_a_call_may_change_from_g711_to_opus_and_back() -> None:
    call = OpusCall(Slow())
    out = []
    for number in range(1, 10):
        out += call.tick(rtp(number))
    for number in range(10, 20):
        out += call.tick(call.packet(number))
    for number in range(20, 30):
        out += call.tick(rtp(number))
    out += call.tick() + call.tick()
    assert len(slots(out)) == 29
    assert slots(out) == sorted(set(slots(out)))


def test_an_unwanted_leg_is_not_decoded_at_all() -> None:
    lane = Slow()
    call = OpusCall(lane)
    call.audio.want(())
    call.tick(call.packet(1), work=False)
    assert lane.jobs == []
    call.audio.want((0,))
    call.tick(call.packet(2))
    assert len(slots(call.tick(call.packet(3)))) == 1
