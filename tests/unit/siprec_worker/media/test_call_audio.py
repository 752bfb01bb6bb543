"""A call's legs on one grid: in step, whatever comes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from siprec_worker.media.call_audio import CallAudio, TickOutput
from siprec_worker.media.g711 import ulaw_to_linear
from siprec_worker.media.model import (
    AudioChunk,
    AudioFormat,
    Encoding,
    Gap,
    PacketHeard,
)

from tests.builders.listening import Call, shape
from tests.builders.rtp import PACKET, numbered, rtp


def test_the_first_packet_takes_the_slot_of_its_tick() -> None:
    call = Call()
    call.idle(3)
    assert shape(call.play(50, 51)) == [(3, 50), (4, 51)]


def test_audio_is_decoded_to_what_was_asked_for() -> None:
    call = Call(uplink=AudioFormat(Encoding.PCM_S16LE, 8000))
    (chunk,) = call.tick(rtp(1))
    assert isinstance(chunk, AudioChunk)
    assert chunk.legs == ((0, ulaw_to_linear(numbered(1)), 0),)


def test_the_other_law_is_recoded_for_a_g711_uplink() -> None:
    call = Call()
    (chunk,) = call.tick(rtp(1, b"\xd5" * PACKET, payload_type=8))
    assert isinstance(chunk, AudioChunk)
    assert set(chunk.legs[0].data) <= {0x7F, 0xFF, 0xFE, 0x7E}  # A-law has no exact zero


def test_legs_of_one_tick_leave_in_one_chunk() -> None:
    call = Call(2)
    (chunk,) = call.tick(rtp(1), others={1: rtp(900, ssrc=9)})
    assert isinstance(chunk, AudioChunk)
    assert [leg.handle for leg in chunk.legs] == [0, 1]


def test_a_slot_waits_for_a_leg_that_is_a_tick_late() -> None:
    call = Call(2)
    call.tick(rtp(1), others={1: rtp(1)})
    assert call.tick(rtp(2)) == []
    out = call.tick(rtp(3), others={1: rtp(2)})
    assert [(c.pts, len(c.legs)) for c in out if isinstance(c, AudioChunk)] == [(160, 2)]


def test_a_slot_does_not_wait_for_a_leg_that_stopped() -> None:
    call = Call(2)
    call.tick(rtp(1), others={1: rtp(1)})
    out = call.play(2, 3, 4, 5, 6)
    assert [(c.pts // 160, len(c.legs)) for c in out if isinstance(c, AudioChunk)] == [
        (slot, 1) for slot in range(1, 6)
    ]


def test_unwanted_legs_are_counted_and_not_given() -> None:
    call = Call(2, wanted=(0,))
    (chunk,) = call.tick(rtp(1), others={1: rtp(1)})
    assert isinstance(chunk, AudioChunk)
    assert [leg.handle for leg in chunk.legs] == [0]
    assert call.audio.stats()[1].packets == 1


def test_a_leg_wanted_later_joins_at_its_place() -> None:
    call = Call(2, wanted=(0,))
    call.tick(rtp(1), others={1: rtp(1)})
    call.audio.want([0, 1])
    (chunk,) = call.tick(rtp(2), others={1: rtp(2)})
    assert isinstance(chunk, AudioChunk)
    assert (chunk.pts, [leg.handle for leg in chunk.legs]) == (160, [0, 1])


def test_a_stall_of_the_network_loses_no_audio() -> None:
    call = Call(2)
    for number in range(5):
        call.tick(rtp(number), others={1: rtp(number)})
    out: list[TickOutput] = []
    for number in range(5, 15):
        out += call.tick(others={1: rtp(number)})
    out += call.tick(*(rtp(number) for number in range(5, 16)), others={1: rtp(15)})
    heard = [
        (chunk.pts // PACKET, leg.data[0])
        for chunk in out
        if isinstance(chunk, AudioChunk)
        for leg in chunk.legs
        if leg.handle == 0
    ]
    assert heard == [(number, number) for number in range(5, 16)]
    assert not [item for item in out if isinstance(item, Gap)]


def test_a_watched_leg_tells_its_packets_though_nobody_wants_it() -> None:
    call = Call(wanted=())
    call.audio.watch([0])
    (heard,) = call.tick(rtp(1, b"\x80" * PACKET))
    assert isinstance(heard, PacketHeard)
    assert (heard.leg, heard.pts, heard.duration_ms) == (0, 0, 20)
    assert heard.level_dbm0 > 0


def test_silence_is_far_below_speech() -> None:
    call = Call(wanted=())
    call.audio.watch([0])
    (heard,) = call.tick(rtp(1, b"\xff" * PACKET))
    assert isinstance(heard, PacketHeard)
    assert heard.level_dbm0 < -60


def test_a_second_payload_map_keeps_the_place() -> None:
    call = Call()
    call.play(1)
    call.audio.update_track(0, {8: ("PCMA", 8000)})
    (chunk,) = call.tick(rtp(2, payload_type=8))
    assert isinstance(chunk, AudioChunk)
    assert chunk.pts == 160


def test_a_removed_track_is_gone() -> None:
    call = Call(2)
    call.audio.remove_track(1)
    (chunk,) = call.tick(rtp(1))
    assert isinstance(chunk, AudioChunk)
    assert list(call.audio.stats()) == [0]


def test_an_uplink_that_cannot_be_made_is_refused() -> None:
    with pytest.raises(ValueError, match="44100"):
        CallAudio(0.0, uplink=AudioFormat(Encoding.PCM_S16LE, 44_100))


ARRIVALS = st.lists(
    st.lists(
        st.tuples(
            st.integers(0, 65535) | st.integers(0, 40),  # sequence
            st.integers(0, 40 * 160) | st.integers(0, 0xFFFFFFFF),  # timestamp
            st.sampled_from([0, 0, 0, 8, 13, 101, 97]),
            st.integers(1, 2),  # SSRC
            st.sampled_from([0, 4, 80, 160, 240]),  # length
        ),
        max_size=4,
    ),
    max_size=60,
)


@settings(max_examples=200)
@given(ARRIVALS, st.sampled_from([20, 40, 60]))
def test_whatever_comes_positions_rise_and_nothing_overlaps(
    arrivals: list[list[tuple[int, int, int, int, int]]], chunk_ms: int
) -> None:
    call = Call(chunk_ms=chunk_ms)
    samples = chunk_ms * 8
    reached = covered = 0
    for packets in arrivals:
        datagrams = [
            rtp(sequence, b"\x55" * size, payload_type=kind, timestamp=timestamp, ssrc=ssrc)
            for sequence, timestamp, kind, ssrc, size in packets
        ]
        for item in call.tick(*datagrams):
            match item:
                case AudioChunk(pts=pts, legs=legs):
                    assert pts >= reached
                    assert pts % samples == 0
                    assert len(legs[0].data) == samples
                    reached = pts + samples
                    assert reached <= call.ticks * PACKET + 8 * samples
                case Gap(from_pts=begin, to_pts=end, packets=count):
                    assert covered <= begin <= end
                    assert begin < end or count
                    covered = end
