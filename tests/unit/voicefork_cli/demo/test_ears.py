"""What was audible last."""

from __future__ import annotations

from voicefork_cli.demo.ears import audible_until

from tests.unit.voicefork_cli.measure.made import at, steady


def test_the_last_audible_packet_before_a_moment_is_found_over_a_silence() -> None:
    packets = [*steady(0, 10), *steady(10, 20, None), *steady(20, 30)]
    assert audible_until(packets, at(0.4)) == at(0.18)


def test_a_packet_at_the_moment_itself_is_not_before_it() -> None:
    assert audible_until(steady(0, 10), at(0.1)) == at(0.08)


def test_where_nothing_was_audible_there_is_no_moment() -> None:
    assert audible_until(steady(0, 10, None), at(1)) is None
