"""One leg: loss told from silence, clocks that jump or drift, keys, any packet length."""

from __future__ import annotations

import pytest
from siprec_worker.media.model import (
    AudioChunk,
    AudioFlag,
    Dtmf,
    Gap,
    GapCause,
    LegAudio,
)
from siprec_worker.protocol.dtmf import DIGITS

from tests.builders.listening import PHASE, START, TICK, Call, shape
from tests.builders.rtp import PACKET, event, rtp


def test_loss_is_a_gap_and_no_audio() -> None:
    call = Call()
    out = call.play(1, 2, 4, 5) + call.idle(3)
    assert shape(out) == [
        (0, 1),
        (1, 2),
        Gap(0, 320, 480, GapCause.NETWORK_LOSS, 1),
        (3, 4),
        (4, 5),
    ]


def test_silence_suppression_is_no_loss() -> None:
    call = Call()
    call.play(1, 2)
    call.idle(9)
    out = call.tick(rtp(3, timestamp=12 * PACKET))
    assert shape(out) == [Gap(0, 320, 11 * 160, GapCause.SILENCE_SUPPRESSED), (11, 3)]


def test_loss_within_silence_suppression_is_told_apart() -> None:
    call = Call()
    call.play(1, 2)
    call.idle(9)
    out = call.tick(rtp(4, timestamp=12 * PACKET)) + call.idle(3)
    assert shape(out) == [
        Gap(0, 320, 480, GapCause.NETWORK_LOSS, 1),
        Gap(0, 480, 11 * 160, GapCause.SILENCE_SUPPRESSED),
        (11, 4),
    ]


def test_a_hole_that_lasts_is_told_while_it_lasts() -> None:
    call = Call()
    call.play(1)
    gaps = [item for item in call.idle(150) if isinstance(item, Gap)]
    assert len(gaps) >= 2
    assert [gap.cause for gap in gaps] == [GapCause.NETWORK_LOSS] * len(gaps)
    assert [gap.from_pts for gap in gaps[1:]] == [gap.to_pts for gap in gaps[:-1]]
    assert call.audio.position(START + PHASE + 150 * TICK) - gaps[-1].to_pts < 8000 + 640


def test_a_hole_after_comfort_noise_is_silence() -> None:
    call = Call()
    call.play(1)
    call.tick(rtp(2, b"\x40", payload_type=13))
    gaps = [item for item in call.idle(60) if isinstance(item, Gap)]
    assert [gap.cause for gap in gaps] == [GapCause.SILENCE_SUPPRESSED]


def test_an_expected_hole_has_its_own_cause() -> None:
    call = Call()
    call.play(1)
    call.audio.expect_silence(0, GapCause.ON_HOLD)
    gaps = [item for item in call.idle(60) if isinstance(item, Gap)]
    assert [gap.cause for gap in gaps] == [GapCause.ON_HOLD]


def test_audio_goes_on_at_its_place_after_a_hole_was_told() -> None:
    call = Call()
    call.play(1)
    call.idle(99)
    out = call.tick(rtp(2, timestamp=101 * PACKET))
    assert shape(out)[-1] == (100, 2)


def test_a_new_ssrc_goes_on_without_a_gap() -> None:
    call = Call()
    call.play(1, 2)
    out = [*call.tick(rtp(700, ssrc=9)), *call.tick(rtp(701, ssrc=9))]
    assert shape(out) == [(2, 700 % 251), (3, 701 % 251)]
    assert call.audio.stats()[0].epochs == 2


def test_timestamps_that_jump_without_time_passing_are_a_clock_set_anew() -> None:
    call = Call()
    call.play(1, 2)
    out = [*call.tick(rtp(3, timestamp=80_000)), *call.tick(rtp(4, timestamp=80_160))]
    assert shape(out) == [(2, 3), (3, 4)]


def test_timestamps_that_go_back_are_a_clock_set_anew() -> None:
    call = Call()
    call.play(100, 101)
    assert shape(call.tick(rtp(102, timestamp=5))) == [(2, 102)]


@pytest.mark.parametrize("samples", [80, 240, 320, 480])
def test_packets_of_any_length_fill_slots_of_20_ms(samples: int) -> None:
    call = Call()
    sound = bytes(n % 255 for n in range(samples * 12))
    heard = b""
    for number in range(12):
        payload = sound[number * samples : (number + 1) * samples]
        call.ticks = number * samples // PACKET  # the tick in which it comes
        for item in call.tick(rtp(number, payload, timestamp=number * samples)):
            assert isinstance(item, AudioChunk)
            assert (item.pts, len(item.legs[0].data)) == (len(heard), PACKET)
            heard += item.legs[0].data
    assert heard == sound[: len(heard)]
    assert len(sound) - len(heard) < PACKET


def test_chunks_may_be_longer_than_packets() -> None:
    call = Call(chunk_ms=60)
    chunks = call.play(*range(9))
    assert [c.pts for c in chunks if isinstance(c, AudioChunk)] == [0, 480, 960]


def test_a_slot_that_is_partly_lost_is_padded_and_flagged() -> None:
    call = Call()
    half = b"\x11" * 80
    call.tick(rtp(1, half, timestamp=0))
    out = call.tick(rtp(3, half, timestamp=160)) + call.tick() + call.tick()
    out += call.tick(rtp(4, half, timestamp=240))
    assert out[0] == AudioChunk(0, (LegAudio(0, half + b"\xff" * 80, AudioFlag.CONCEALED),))
    assert out[1] == Gap(0, 80, 160, GapCause.NETWORK_LOSS, 1)
    assert out[2] == AudioChunk(160, (LegAudio(0, half + half, 0),))


def test_a_key_is_told_once_with_its_place() -> None:
    call = Call()
    call.play(1, 2)
    ts = 3 * PACKET
    updates = [event(3 + n, ts, DIGITS.index("7"), 160 * (n + 1)) for n in range(4)]
    ends = [event(7 + n, ts, DIGITS.index("7"), 800, end=True) for n in range(3)]
    out = [item for datagram in updates + ends for item in call.tick(datagram)]
    assert out == [Dtmf(0, "7", 100, 320)]


def test_a_key_whose_end_is_lost_is_told_when_audio_goes_on() -> None:
    call = Call()
    call.play(1)
    call.tick(event(2, 2 * PACKET, 5, 160))
    out = [item for number in range(3, 20) for item in call.tick(rtp(number))]
    assert [item.digit for item in out if isinstance(item, Dtmf)] == ["5"]


def test_a_fast_sender_is_bounded_by_dropping() -> None:
    call = Call()
    number, latest = 0, 0
    for tick in range(3000):  # 61 packets where 60 are due
        for _ in range(2 if tick % 60 == 59 else 1):
            call.tracks[0].receive(rtp(number))
            number += 1
        chunks = [item for item in call.tick() if isinstance(item, AudioChunk)]
        for chunk in chunks:
            latest = max(latest, chunk.pts - tick * PACKET)
    assert latest <= 3 * PACKET
    stats = call.audio.stats()[0]
    assert stats.drift_dropped_ms == pytest.approx(50 * 20, abs=80)
    assert stats.lost == 0


def test_a_slow_sender_is_moved_forward_over_a_gap() -> None:
    call = Call()
    behind, gaps, number = 0, 0, 0
    for tick in range(3000):  # 59 packets where 60 are due
        due = [] if tick % 60 == 59 else [rtp(number)]
        number += len(due)
        for item in call.tick(*due):
            match item:
                case AudioChunk():
                    behind = max(behind, tick * PACKET - item.pts)
                case Gap(cause=cause):
                    assert cause is GapCause.ARRIVED_LATE
                    gaps += 1
    assert behind <= 6 * PACKET
    assert 10 <= gaps <= 50
    assert call.audio.stats()[0].realigned == gaps


def test_junk_is_counted_and_hurts_nothing() -> None:
    call = Call()
    out = call.tick(b"", b"\0" * 200, rtp(1)[:11], rtp(1), rtp(2, payload_type=97))
    assert shape(out) == [(0, 1)]
    stats = call.audio.stats()[0]
    assert (stats.bad, stats.unsupported, stats.packets) == (3, 1, 2)


def test_a_flood_is_bounded() -> None:
    call = Call()
    call.tick(*(rtp(number) for number in range(1000)))
    stats = call.audio.stats()[0]
    assert (stats.flooded, stats.packets) == (1, 256)


def test_jitter_is_zero_for_a_steady_stream_and_grows_with_unsteady_ones() -> None:
    steady, unsteady = Call(), Call()
    steady.play(*range(100))
    for number in range(0, 100, 2):
        unsteady.tick()
        unsteady.tick(rtp(number), rtp(number + 1))
    assert steady.audio.stats()[0].jitter_ms < 0.2
    assert unsteady.audio.stats()[0].jitter_ms == pytest.approx(20, abs=2)


def test_the_receiver_report_counts_loss_since_the_last_one() -> None:
    call = Call()
    call.play(*range(10))
    now = START + 1
    (first,) = call.audio.report_blocks(now)
    call.play(15, *range(16, 20))
    (second,) = call.audio.report_blocks(now + 1)
    assert (first.lost, first.fraction_lost, first.highest_sequence) == (0, 0, 9)
    assert (second.lost, second.fraction_lost, second.highest_sequence) == (5, 128, 19)


def test_the_highest_sequence_of_a_report_counts_wraps() -> None:
    call = Call()
    call.play(65534, 65535)
    call.audio.report_blocks(START)
    call.play(65536, 65537)
    (block,) = call.audio.report_blocks(START)
    assert block.highest_sequence == 65537
