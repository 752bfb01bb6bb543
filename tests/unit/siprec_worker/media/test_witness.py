"""The witness counts dead air as the caller's own ear does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from siprec_worker.media.witness import Findings, Witness

LOUD = -10.0
QUIET = -90.0
BOT, MUSIC = 1, 2


def watched(*packets: tuple[float, int, float | None], until: float) -> Findings:
    witness = Witness(0.0)
    for at, ssrc, level in packets:
        witness.packet(at, ssrc, level)
    return witness.findings(until)


def steady(
    start: float, end: float, ssrc: int = BOT, level: float | None = LOUD
) -> list[tuple[float, int, float | None]]:
    count = round((end - start) / 0.02)
    return [(start + i * 0.02, ssrc, level) for i in range(count)]


def test_a_steady_tone_has_no_dead_air() -> None:
    findings = watched(*steady(0.0, 2.0), until=2.0)
    assert (findings.silent_ms, findings.missing_ms) == (0, 0)
    assert findings.longest_gap_ms == 20
    assert findings.watched_ms == 2000


def test_sixty_milliseconds_without_a_packet_are_not_missing_more_are_whole() -> None:
    assert watched(*steady(0.0, 1.02), (1.059, BOT, LOUD), until=1.08).missing_ms == 0
    assert watched(*steady(0.0, 1.02), (1.10, BOT, LOUD), until=1.12).missing_ms == 100


def test_silence_counts_only_above_two_hundred_milliseconds() -> None:
    pause = steady(1.0, 1.2, level=QUIET)
    assert watched(*steady(0.0, 1.0), *pause, *steady(1.2, 2.0), until=2.0).silent_ms == 0
    longer = steady(1.0, 1.3, level=QUIET)
    assert watched(*steady(0.0, 1.0), *longer, *steady(1.3, 2.0), until=2.0).silent_ms == 300


def test_silence_around_missing_time_counts_with_it_but_no_moment_twice() -> None:
    findings = watched(
        *steady(0.0, 1.0),
        *steady(1.0, 1.1, level=QUIET),
        *steady(1.2, 1.3, level=QUIET),
        *steady(1.3, 2.0),
        until=2.0,
    )
    assert (findings.missing_ms, findings.silent_ms) == (120, 180)


def test_telephone_events_are_no_audio() -> None:
    keys = steady(1.0, 1.4, level=None)
    assert watched(*steady(0.0, 1.0), *keys, *steady(1.4, 2.0), until=2.0).silent_ms == 400


def test_hold_audio_is_the_first_audible_packet_of_another_ssrc() -> None:
    findings = watched(
        *steady(0.0, 1.0),
        *steady(1.0, 1.04, ssrc=MUSIC, level=QUIET),
        *steady(1.04, 2.0, ssrc=MUSIC),
        until=2.0,
    )
    assert findings.first_hold_audio_ms == 1040


def test_the_bots_own_stream_is_no_hold_audio() -> None:
    assert watched(*steady(0.0, 2.0), until=2.0).first_hold_audio_ms is None


def test_an_open_stretch_counts_as_far_as_it_has_come() -> None:
    findings = watched(*steady(0.0, 1.0), until=1.5)
    assert findings.missing_ms == 520
    assert findings.longest_gap_ms == 520


def test_no_packet_at_all_is_all_missing() -> None:
    assert watched(until=1.0).missing_ms == 1000


def test_the_end_of_the_phrase_is_kept_once() -> None:
    witness = Witness(10.0)
    witness.phrase_ended(12.5)
    witness.phrase_ended(13.0)
    assert witness.findings(14.0).phrase_end_ms == 2500


@given(
    st.lists(
        st.tuples(st.floats(0, 0.4), st.integers(1, 3), st.sampled_from([LOUD, QUIET, None])),
        max_size=60,
    ),
    st.floats(0, 1),
)
def test_no_moment_counts_twice(steps: list[tuple[float, int, float | None]], rest: float) -> None:
    witness, at = Witness(0.0), 0.0
    for wait, ssrc, level in steps:
        at += wait
        witness.packet(at, ssrc, level)
    findings = witness.findings(at + rest)
    assert findings.missing_ms + findings.silent_ms <= findings.watched_ms + 2
    assert findings.longest_gap_ms <= findings.watched_ms + 1
