"""The reorder buffer against a slow, obvious one."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from siprec_worker.media.jitter import Ordered, ReorderBuffer
from siprec_worker.protocol.rtp import RtpPacket

from tests.builders.rtp import packet

TICK = 0.02
HOLD_TICKS = 2


@dataclass
class ObviousBuffer:
    """Knows the true numbers, so it needs no arithmetic of 16 bits: sort, wait, give up."""

    expected: int | None = None
    held: dict[int, int] = field(default_factory=dict)  # number -> tick of arrival
    out: list[tuple[int, int]] = field(default_factory=list)  # (lost before, number)
    given_up: set[int] = field(default_factory=set)
    lost: int = 0
    late: int = 0
    duplicates: int = 0

    def insert(self, number: int, tick: int) -> None:
        if self.expected is None:
            self.expected = number
        if number in self.given_up:
            self.given_up.remove(number)
            self.late += 1
        elif number < self.expected or number in self.held:
            self.duplicates += 1
        else:
            self.held[number] = tick
            self._give(0)

    def release(self, tick: int) -> None:
        while self.held and min(self.held.values()) <= tick - HOLD_TICKS:
            assert self.expected is not None
            hole = range(self.expected, min(self.held))
            self.given_up.update(hole)
            self.lost += len(hole)
            self.expected = min(self.held)
            self._give(len(hole))

    def _give(self, lost: int) -> None:
        assert self.expected is not None
        while self.expected in self.held:
            del self.held[self.expected]
            self.out.append((lost, self.expected))
            self.expected += 1
            lost = 0


@dataclass
class Network:
    """What happens to the n-th packet: dropped, doubled, or delayed by ticks."""

    first: int
    delays: list[list[int]]  # of each packet, the delays of its copies

    def arrivals(self) -> list[tuple[int, int]]:
        """(tick, number), in the order of arrival."""
        return sorted(
            ((number + delay), number)
            for number, copies in enumerate(self.delays)
            for delay in copies
        )


@st.composite
def networks(draw: st.DrawFn) -> Network:
    copies = st.sampled_from([[0], [0], [0], [0], [], [0, 0], [0, 1], [1], [2], [3], [4]])
    delays = draw(st.lists(copies, min_size=1, max_size=80))
    return Network(draw(st.integers(0, 0xFFFF)), [[0], *delays])


@given(networks())
def test_order_and_counts_are_those_of_the_obvious_buffer(network: Network) -> None:
    buffer, obvious = ReorderBuffer(hold=HOLD_TICKS * TICK, depth=64), ObviousBuffer()
    out: list[Ordered] = []
    arrivals = network.arrivals()
    for tick in range(arrivals[-1][0] + HOLD_TICKS + 2):
        for _, number in (a for a in arrivals if a[0] == tick):
            out += buffer.insert(numbered_packet(network.first, number), tick * TICK)
            obvious.insert(number, tick)
        out += buffer.release(tick * TICK)
        obvious.release(tick)
    assert [(o.lost, o.packet.timestamp // 160) for o in out] == obvious.out
    assert (buffer.lost, buffer.late, buffer.duplicates) == (
        obvious.lost,
        obvious.late,
        obvious.duplicates,
    )
    assert (buffer.epochs, buffer.held) == (1, {})


def numbered_packet(first: int, number: int) -> RtpPacket:
    return packet(first + number, timestamp=number * 160)


def feed(buffer: ReorderBuffer, *sequences: int, now: float = 0.0, ssrc: int = 1) -> list[int]:
    return [
        ordered.packet.sequence
        for sequence in sequences
        for ordered in buffer.insert(packet(sequence, ssrc=ssrc), now)
    ]


def test_packets_in_order_are_not_delayed() -> None:
    assert feed(ReorderBuffer(), 7, 8, 9) == [7, 8, 9]


def test_a_swapped_pair_is_put_right_at_once() -> None:
    assert feed(ReorderBuffer(), 7, 9, 8, 10) == [7, 8, 9, 10]


def test_the_sequence_wraps_without_an_epoch() -> None:
    buffer = ReorderBuffer()
    assert feed(buffer, 65534, 0, 65535, 1) == [65534, 65535, 0, 1]
    assert buffer.epochs == 1


def test_a_hole_is_waited_for_and_then_given_up() -> None:
    buffer = ReorderBuffer(hold=0.04)
    feed(buffer, 1, 3, now=1.0)
    assert buffer.release(1.02) == []
    (ordered,) = buffer.release(1.04)
    assert (ordered.lost, ordered.packet.sequence) == (1, 3)


def test_long_packets_are_waited_for_a_little_longer() -> None:
    buffer = ReorderBuffer(hold=0.04)
    buffer.expect_packets_of(0.03)
    feed(buffer, 1, 3, now=1.0)
    assert buffer.release(1.04) == []
    assert [ordered.lost for ordered in buffer.release(1.06)] == [1]


def test_no_packet_is_waited_for_longer_than_half_as_much_again() -> None:
    buffer = ReorderBuffer(hold=0.04)
    buffer.expect_packets_of(0.06)
    feed(buffer, 1, 3, now=1.0)
    assert len(buffer.release(1.06)) == 1


def test_the_buffer_is_bounded_whatever_the_clock_says() -> None:
    buffer = ReorderBuffer(depth=4)
    assert feed(buffer, 0, 2, 3, 4, 5, 6) == [0, 2, 3, 4, 5, 6]
    assert buffer.lost == 1


def test_a_new_ssrc_begins_an_epoch_after_what_the_old_one_left() -> None:
    buffer = ReorderBuffer()
    feed(buffer, 1, 3)
    out = buffer.insert(packet(900, ssrc=2), 0.0)
    assert [(o.lost, o.begins, o.packet.sequence) for o in out] == [(1, False, 3), (0, True, 900)]
    assert buffer.epochs == 2


def test_a_straggler_of_the_old_ssrc_does_not_switch_back() -> None:
    buffer = ReorderBuffer()
    feed(buffer, 1, now=0.0)
    feed(buffer, 900, now=0.02, ssrc=2)
    assert feed(buffer, 2, now=0.04) == []
    assert (buffer.ssrc, buffer.late, buffer.epochs) == (2, 1, 2)


def test_one_stray_number_is_no_restart() -> None:
    buffer = ReorderBuffer()
    assert feed(buffer, 1, 30000, 2, 3) == [1, 2, 3]
    assert (buffer.epochs, buffer.late) == (1, 1)


@pytest.mark.parametrize("restart", [30000, 60000])
def test_two_numbers_in_sequence_far_away_are_a_restart(restart: int) -> None:
    buffer = ReorderBuffer()
    assert feed(buffer, 1, 2, restart, restart + 1, restart + 2) == [
        1,
        2,
        restart + 1,
        restart + 2,
    ]
    assert buffer.epochs == 2


def test_a_restart_nearby_is_noticed_after_a_run() -> None:
    buffer = ReorderBuffer()
    feed(buffer, *range(100, 160))
    heard = feed(buffer, *range(80, 100))
    assert heard == list(range(89, 100))
    assert buffer.epochs == 2


def test_a_long_outage_is_loss_and_no_epoch() -> None:
    buffer = ReorderBuffer()
    feed(buffer, 1, 501, now=0.0)
    assert [o.lost for o in buffer.release(0.04)] == [499]
    assert buffer.epochs == 1
