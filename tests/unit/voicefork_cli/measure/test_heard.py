"""Missing and silent time: the definitions of dead air, on made-up streams."""

from __future__ import annotations

import pytest
from voicefork_cli.measure.heard import hear
from voicefork_cli.measure.pcm import tone

from tests.unit.voicefork_cli.measure.made import MS, at, packet, steady


def test_a_steady_tone_has_no_dead_air() -> None:
    heard = hear(steady(0, 100), at(0), at(2))
    assert heard.dead_air_ms == 0
    assert heard.longest_gap_ms == pytest.approx(20)
    assert heard.packets == 100


def test_a_gap_of_sixty_ms_is_not_missing() -> None:
    heard = hear(steady(0, 50) + steady(52, 100), at(0), at(2))
    assert heard.missing_ms == 0
    assert heard.longest_gap_ms == pytest.approx(60)


def test_a_longer_gap_is_missing_as_a_whole() -> None:
    heard = hear(steady(0, 50) + steady(53, 100), at(0), at(2))
    assert heard.missing_ms == pytest.approx(80)
    assert heard.gaps_ms == pytest.approx((80,))
    assert heard.silent_ms == 0


def test_a_stream_that_ends_early_is_missing_to_the_end() -> None:
    assert hear(steady(0, 50), at(0), at(2)).missing_ms == pytest.approx(1020)


def test_nothing_at_all_is_missing_throughout() -> None:
    heard = hear([], at(0), at(2))
    assert heard.missing_ms == pytest.approx(2000)
    assert heard.silent_ms == 0
    assert heard.first_audio_ns is None


def test_only_the_part_of_a_gap_inside_the_window_counts() -> None:
    heard = hear(steady(0, 50) + steady(75, 100), at(1.2), at(2))
    assert heard.missing_ms == pytest.approx(300)
    assert heard.longest_gap_ms == pytest.approx(520)


def test_a_short_tail_of_a_long_gap_still_counts() -> None:
    heard = hear(steady(0, 50) + steady(75, 100), at(1.46), at(2))
    assert heard.missing_ms == pytest.approx(40)


def test_silence_of_two_hundred_ms_is_a_pause() -> None:
    assert hear(steady(0, 50) + steady(50, 60, None) + steady(60, 100), at(0), at(2)).silent_ms == 0


def test_longer_silence_counts_as_a_whole() -> None:
    stream = steady(0, 50) + steady(50, 61, None) + steady(61, 100)
    heard = hear(stream, at(0), at(2))
    assert heard.silent_ms == pytest.approx(220)
    assert heard.missing_ms == 0


def test_silence_and_a_gap_in_it_are_one_stretch_and_no_moment_counts_twice() -> None:
    stream = steady(0, 50) + steady(50, 57, None) + steady(64, 70, None) + steady(70, 100)
    heard = hear(stream, at(0), at(2))
    assert heard.missing_ms == pytest.approx(160)
    assert heard.dead_air_ms == pytest.approx(400)


def test_telephone_events_are_no_audio() -> None:
    events = [packet(i, tone(440, 4), kind=101) for i in range(50, 65)]
    assert hear(steady(0, 50) + events + steady(65, 100), at(0), at(2)).silent_ms == pytest.approx(
        300
    )


def test_a_level_just_above_minus_sixty_is_heard() -> None:
    stream = [packet(i, tone(440, 160, -55, i * 160)) for i in range(100)]
    assert hear(stream, at(0), at(2)).silent_ms == 0


def test_the_first_audio_is_the_first_packet_with_sound() -> None:
    assert hear(steady(0, 5, None) + steady(5, 100), at(0), at(2)).first_audio_ns == at(0.1)


def test_changes_of_the_source_are_counted() -> None:
    stream = steady(0, 10) + steady(10, 20, ssrc=8) + steady(20, 30)
    assert hear(stream, at(0), at(0.6)).ssrc_changes == 2


def test_what_a_control_call_misses_in_as_long_a_time_is_taken_off() -> None:
    control = hear(steady(0, 50) + steady(53, 100), at(0), at(2))
    busy = hear(steady(0, 20) + steady(30, 50), at(0), at(1))
    assert busy.missing_ms == pytest.approx(220)
    assert busy.beyond(control).missing_ms == pytest.approx(180)
    assert control.beyond(busy).missing_ms == 0


def test_jitter_alone_is_not_dead_air() -> None:
    pcm = tone(440, 160)
    stream = [packet(i, pcm, late_ms=(i * 7) % 40) for i in range(100)]
    stream.sort(key=lambda p: p.arrival_ns)
    assert hear(stream, at(0), at(2) + 15 * MS).dead_air_ms == 0
