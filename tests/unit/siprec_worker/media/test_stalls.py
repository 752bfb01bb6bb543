"""Nothing is missing untold: what a stall of the sender, the network or this process does.

The model: packets are numbered; whoever listens counts. Between two packets that are heard one
after the other no more are missing than the gaps told between them have room for, or name.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from siprec_worker.media.call_audio import TickOutput
from siprec_worker.media.model import AudioChunk, AudioFlag, Gap, GapCause

from tests.builders.listening import Call
from tests.builders.rtp import PACKET, rtp

NUMBERS = 250  # octets that tell a packet
CALM = 30


class Stall(NamedTuple):
    """From tick `begin` on nothing comes for so many ticks, then all of it, or what is left of it.

    `ours`: it is this process that stands still; `halves`: the rest comes a tick later, as from a
    socket that was read to a limit.
    """

    begin: int
    ticks: int
    ours: bool
    halves: bool
    lost: int  # every so many-th packet of it never comes; 0: all come


STALLS = st.lists(
    st.builds(
        Stall,
        st.integers(5, 150),
        st.integers(1, 100),
        st.booleans(),
        st.booleans(),
        st.sampled_from([0, 0, 3, 7]),
    ),
    max_size=4,
)


def audio(number: int) -> bytes:
    return bytes((number % NUMBERS,)) * PACKET


def packet(number: int) -> bytes:
    return rtp(number, audio(number), timestamp=number * PACKET)


def heard(stalls: list[Stall], last: int) -> tuple[list[TickOutput], Call]:
    call = Call()
    out: list[TickOutput] = []
    waiting: list[int] = []
    for number in range(last):
        now = [s for s in stalls if s.begin <= number < s.begin + s.ticks]
        if not any(s.lost and number % s.lost == 0 for s in now):
            waiting.append(number)
        if now:
            if any(s.ours for s in now):
                call.ticks += 1  # no tick
            else:
                out += call.tick()
            continue
        just_over = any(s.halves and s.begin + s.ticks == number for s in stalls)
        take = len(waiting) // 2 if just_over else len(waiting)
        out += call.tick(*map(packet, waiting[:take]))
        del waiting[:take]
    return out + call.idle(5), call


def check(out: list[TickOutput], first: int = 0) -> int:
    """Every position once, every packet heard or told; the number of the last one."""
    reached: int | None = None
    due, room = first, 0  # the next packet's number; so many may be missing before it
    for item in out:
        match item:
            case Gap(0, begin, end, _, packets):
                assert reached is None or begin == reached
                reached = end
                room += (end - begin) // PACKET or packets
            case AudioChunk(pts, ((0, data, flags),)):
                assert reached is None or pts == reached
                assert flags == AudioFlag.NONE
                reached = pts + PACKET
                missing = (data[0] - due) % NUMBERS
                assert data == audio(data[0])
                assert missing <= room, f"{missing} packets are missing before {pts}"
                due, room = due + missing + 1, 0
    return due - 1


@settings(max_examples=300)
@given(STALLS)
def test_what_a_stall_costs_is_told(stalls: list[Stall]) -> None:
    last = max((s.begin + s.ticks for s in stalls), default=0) + CALM
    out, _ = heard(stalls, last)
    assert check(out, first=0) == last - 1


def test_audio_that_comes_after_its_hole_was_told_leaves_the_next_in_its_place() -> None:
    out, call = heard([Stall(20, 85, ours=False, halves=False, lost=0)], 140)
    places = {item.legs[0].data[0]: item.pts for item in out if isinstance(item, AudioChunk)}
    assert {pts - number * PACKET for number, pts in places.items()} == {0}
    assert call.audio.stats()[0].after_gap > 0
    assert call.audio.stats()[0].drift_dropped_ms == 0


def test_nothing_is_lost_by_a_stall_of_ours() -> None:
    out, _ = heard([Stall(20, 85, ours=True, halves=False, lost=0)], 140)
    assert [i.legs[0].data[0] for i in out if isinstance(i, AudioChunk)] == list(range(140))


def test_nothing_is_lost_by_a_stall_of_ours_while_a_call_begins() -> None:
    out, call = heard([Stall(0, 40, ours=True, halves=False, lost=0)], 60)
    places = {item.legs[0].data[0]: item.pts for item in out if isinstance(item, AudioChunk)}
    assert places == {number: number * PACKET for number in range(60)}
    assert call.audio.stats()[0].realigned == 0


def test_nothing_is_lost_by_a_stall_of_ours_in_which_a_leg_gets_another_source() -> None:
    call = Call()
    out = call.play(*range(10))
    call.ticks += 40
    before = (rtp(number) for number in range(10, 30))
    after = (rtp(number, ssrc=9, timestamp=77 + number * PACKET) for number in range(30, 51))
    out += call.tick(*before, *after)
    assert [(i.pts // PACKET, i.legs[0].data[0]) for i in out if isinstance(i, AudioChunk)] == [
        (number, number) for number in range(51)
    ]


def test_audio_dropped_because_it_runs_ahead_is_told_where_it_was_dropped() -> None:
    call = Call()
    out = call.play(*range(5)) + call.tick(*map(rtp, range(5, 15))) + call.play(*range(15, 30))
    (gap,) = (item for item in out if isinstance(item, Gap))
    assert (gap.from_pts, gap.cause) == (gap.to_pts, GapCause.ARRIVED_LATE)
    numbers = [item.legs[0].data[0] for item in out if isinstance(item, AudioChunk)]
    jumps = [b - a - 1 for a, b in pairwise(numbers) if b != a + 1]
    assert jumps == [gap.packets]


def test_the_end_of_an_older_stream_that_comes_behind_the_new_one_is_told() -> None:
    call = Call()
    call.play(1, 2)
    call.tick(rtp(700, ssrc=9))
    out = call.tick(rtp(3), rtp(701, ssrc=9))
    assert [i for i in out if isinstance(i, Gap)] == [Gap(0, 640, 640, GapCause.ARRIVED_LATE, 1)]


def test_a_burst_behind_a_lost_packet_is_told_when_the_hold_ends_without_packets() -> None:
    call = Call()
    out = call.play(*range(5)) + call.idle(70)
    out += call.tick(*map(packet, range(30, 40)), *map(packet, range(41, 57)))
    out += call.idle(3) + call.tick(*map(packet, range(57, 80))) + call.play(*range(80, 90))
    assert check(out) == 89
