"""Both legs live when both bring packets, whatever is in them."""

from __future__ import annotations

from siprec_worker.media.liveness import BothLegs

MUSIC, AGENT, CALLER = 1, 2, 9


def talked(
    legs: BothLegs, start: float, end: float, *, pbx: int = 0, customer: bool = True
) -> None:
    """A packet of each leg every 20 ms; `pbx` 0 = none."""
    for number in range(round((end - start) / 0.02)):
        at = start + number * 0.02
        if pbx:
            legs.pbx(at, pbx)
        if customer:
            legs.customer(at, CALLER, starts=False, noise=False)


def test_both_live_a_few_packets_after_the_source_has_changed() -> None:
    legs = BothLegs(0.0)
    talked(legs, 0.0, 1.0, pbx=MUSIC)
    talked(legs, 1.0, 2.0, pbx=AGENT)
    assert legs.both_live_at is not None
    assert 1.03 < legs.both_live_at < 1.07
    assert not legs.one_way(2.0)


def test_nothing_is_proven_without_a_packet_of_the_agent() -> None:
    legs = BothLegs(0.0)
    talked(legs, 0.0, 1.0, pbx=MUSIC)
    before = legs.both_live_at
    talked(legs, 1.0, 2.0)
    assert legs.both_live_at == before
    assert legs.one_way(2.0)


def test_nothing_is_proven_without_a_packet_of_the_caller() -> None:
    legs = BothLegs(0.0)
    talked(legs, 0.0, 1.0, pbx=MUSIC)
    before = legs.both_live_at
    talked(legs, 1.0, 2.0, pbx=AGENT, customer=False)
    assert legs.both_live_at == before
    assert legs.one_way(2.0)


def test_a_call_that_brings_nothing_at_all_is_not_one_way() -> None:
    legs = BothLegs(0.0)
    talked(legs, 0.0, 1.0, pbx=MUSIC)
    assert not legs.one_way(3.0)


def test_a_short_gap_is_not_one_way() -> None:
    legs = BothLegs(0.0)
    talked(legs, 0.0, 1.0, pbx=MUSIC)
    talked(legs, 1.0, 1.3)
    assert not legs.one_way(1.3)


def test_a_caller_whose_phone_sends_nothing_in_pauses_is_not_missed() -> None:
    legs = BothLegs(0.0)
    legs.customer(0.1, CALLER, starts=False, noise=True)
    talked(legs, 0.1, 2.0, pbx=MUSIC, customer=False)
    talked(legs, 2.0, 3.0, pbx=AGENT, customer=False)
    assert legs.both_live_at is not None
    assert legs.both_live_at > 2.0
    assert not legs.one_way(3.0)


def test_a_talkspurt_after_a_pause_tells_of_such_a_phone_too() -> None:
    legs = BothLegs(0.0)
    legs.customer(0.1, CALLER, starts=False, noise=False)
    legs.customer(1.1, CALLER, starts=True, noise=False)
    talked(legs, 1.2, 3.0, pbx=AGENT, customer=False)
    assert not legs.one_way(3.0)
