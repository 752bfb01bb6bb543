"""A leg that another worker heard before goes on at its place."""

from __future__ import annotations

from siprec_worker.media.carried import Carried, Reached, Tie
from siprec_worker.media.model import Gap, GapCause

from tests.builders.listening import Call, shape
from tests.builders.rtp import PACKET, rtp


def moved(first: int, carried: Carried, silent_ticks: int = 0) -> list[object]:
    """What another call hears that begins with packet `first`, its clock at the same place."""
    call = Call()
    call.ticks = first + silent_ticks
    call.audio.carry_on(0, carried)
    return shape(call.tick(rtp(first)) + call.tick(rtp(first + 1)))


def tie_after(packets: int) -> Tie | None:
    call = Call()
    call.play(*range(packets))
    return call.audio.tie(0)


def test_a_leg_has_no_tie_before_its_first_packet() -> None:
    assert Call().audio.tie(0) is None


def test_the_audio_goes_on_at_the_sample_where_it_was_left() -> None:
    tie = tie_after(10)
    assert tie is not None
    assert tie.pts == 10 * PACKET
    assert moved(10, Carried(tie)) == [(10, 10), (11, 11)]


def test_packets_that_waited_take_the_places_they_had() -> None:
    assert moved(12, Carried(tie_after(10)), silent_ticks=40) == [(12, 12), (13, 13)]


def test_what_nobody_heard_is_told_as_a_switch_of_the_source() -> None:
    out = moved(60, Carried(tie_after(10), since=9 * PACKET))
    assert out == [Gap(0, 9 * PACKET, 60 * PACKET, GapCause.SOURCE_SWITCH), (60, 60), (61, 61)]


def test_without_a_tie_the_clock_gives_the_place() -> None:
    assert moved(60, Carried()) == [(60, 60), (61, 61)]


def test_a_tie_of_another_source_is_not_believed() -> None:
    assert moved(60, Carried(Tie(99, 0, 8000 * 3600))) == [(60, 60), (61, 61)]


def test_a_tie_that_is_far_off_is_not_believed() -> None:
    tie = tie_after(1)
    assert tie is not None
    assert moved(900, Carried(tie._replace(pts=0, timestamp=0))) == [
        (900, 900 % 251),
        (901, 901 % 251),
    ]


def test_a_leg_that_stays_silent_after_the_switch_is_told_so_while_it_lasts() -> None:
    call = Call()
    call.ticks = 100
    call.audio.carry_on(0, Carried(None, since=0))
    gaps = [item for item in call.idle(60) if isinstance(item, Gap)]
    assert gaps
    assert {gap.cause for gap in gaps} == {GapCause.SOURCE_SWITCH}


def test_the_slot_that_the_former_worker_did_not_finish_is_told_up_to_the_place() -> None:
    tie = tie_after(10)
    assert tie is not None
    place = 10 * PACKET + 80
    out = moved(10, Carried(tie._replace(pts=place)))
    assert out[0] == Gap(0, 10 * PACKET, place, GapCause.SOURCE_SWITCH)


def test_what_a_leg_that_is_given_away_does_not_bring_is_no_hole_until_it_stays() -> None:
    call = Call()
    call.play(*range(10))
    call.audio.leave(True)
    assert call.idle(70) == []
    call.audio.leave(False)
    (gap,) = call.idle(1)
    assert isinstance(gap, Gap)
    assert gap.from_pts == 10 * PACKET


def test_audio_that_waited_for_longer_than_a_tie_may_be_ahead_is_tied_all_the_same() -> None:
    call = Call()
    call.ticks = 210
    call.audio.carry_on(0, Carried(tie_after(10)))
    out = call.tick(*map(rtp, range(10, 211)))
    assert shape(out) == [(number, number) for number in range(10, 211)]


def after(packets: int) -> Carried:
    """As the former worker says when it has said all: it has heard so many packets."""
    call = Call()
    call.play(*range(packets))
    reached = call.audio.reached(0)
    assert reached is not None
    return Carried(reached.tie, None, reached)


def test_the_packet_that_follows_the_former_workers_last_follows_without_a_word() -> None:
    assert moved(10, after(10)) == [(10, 10), (11, 11)]


def test_a_packet_that_neither_worker_has_is_told() -> None:
    gap = Gap(0, 10 * PACKET, 11 * PACKET, GapCause.SOURCE_SWITCH, 1)
    assert moved(11, after(10)) == [gap, (11, 11), (12, 12)]


def test_a_pause_between_two_workers_is_silence_where_no_number_is_missing() -> None:
    call = Call()
    call.ticks = 40
    call.audio.carry_on(0, after(10))
    out = shape(call.tick(rtp(10, timestamp=30 * PACKET)))
    assert out == [Gap(0, 10 * PACKET, 30 * PACKET, GapCause.SILENCE_SUPPRESSED), (30, 10)]


def test_what_both_workers_have_is_said_once_and_shifts_nothing() -> None:
    call = Call()
    call.ticks = 10
    call.audio.carry_on(0, after(10))
    out = [item for number in range(8, 13) for item in call.tick(rtp(number))]
    assert shape(out) == [(10, 10), (11, 11), (12, 12)]


def test_another_source_goes_on_where_the_former_worker_came_to() -> None:
    call = Call()
    call.ticks = 10
    carried = after(10)
    assert carried.reached is not None
    tie = carried.reached.tie._replace(ssrc=99)
    call.audio.carry_on(0, Carried(tie, None, Reached(tie, 10)))
    assert shape(call.tick(rtp(10)) + call.tick(rtp(11))) == [(10, 10), (11, 11)]
