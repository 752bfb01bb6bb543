"""Packets at their deadlines, by stated times."""

from __future__ import annotations

import math

from voicefork_cli.sim.pacer import PERIOD_NS, Pacer


class Port:
    def __init__(self) -> None:
        self.sent = 0

    def send_due(self) -> None:
        self.sent += 1


def paced() -> tuple[Pacer, Port, int]:
    """A port, and the moment after its first packet is due."""
    pacer, port = Pacer(), Port()
    pacer.add(port)
    left = pacer.step(0)
    assert left is not None
    return pacer, port, math.ceil(left * 1e9) + 1


def run_until(pacer: Pacer, now: int) -> float:
    while not (left := pacer.step(now)):
        assert left is not None
    return left


def test_a_packet_is_sent_every_20_ms() -> None:
    pacer, port, begun = paced()
    for period in range(50):
        run_until(pacer, begun + period * PERIOD_NS)
        assert port.sent == period + 1


def test_what_a_stall_of_this_process_held_up_is_sent_behind_it() -> None:
    pacer, port, begun = paced()
    run_until(pacer, begun)
    left = run_until(pacer, begun + 30 * PERIOD_NS)
    assert (port.sent, pacer.left_out) == (31, 0)
    assert 0 < left <= 0.02  # and the next at its old deadline
    assert pacer.stalls


def test_a_stall_of_more_than_a_second_sets_the_clock_anew() -> None:
    pacer, port, begun = paced()
    run_until(pacer, begun)
    run_until(pacer, begun + 70 * PERIOD_NS)
    assert (port.sent, pacer.left_out) == (2, 1)
