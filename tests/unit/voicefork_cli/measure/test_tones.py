"""Which tone is heard when."""

from __future__ import annotations

import numpy as np
import pytest
from voicefork_cli.measure.pcm import decode, encode, tone
from voicefork_cli.measure.tones import first_heard, share_of, tone_timeline, tones_in, tones_of

from tests.unit.voicefork_cli.measure.made import at, packet, steady

ALL = (350.0, 440.0, 600.0, 1000.0)


@pytest.mark.parametrize("hz", ALL)
@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
def test_each_party_is_known_by_its_tone_at_any_phase(hz: float, codec: str) -> None:
    for first in range(0, 160, 17):
        frame = decode(encode(tone(hz, 160, -10, first), codec), codec)
        assert tones_in(frame, ALL) == {hz}


@pytest.mark.parametrize("quieter", [0.0, -6.0, -9.0])
def test_two_tones_at_once_are_both_heard(quieter: float) -> None:
    frame = tone(440, 160, -12) + tone(1000, 160, -12 + quieter)
    assert tones_in(frame, ALL) == {440.0, 1000.0}


def test_silence_noise_and_a_whisper_are_no_tone() -> None:
    noise = np.random.default_rng(1).normal(0, 2000, 160).astype(np.int16)
    assert tones_in(np.zeros(160, np.int16), ALL) == frozenset()
    assert tones_in(tone(440, 160, -50), ALL) == frozenset()
    assert len(tones_in(noise, ALL)) <= 1


def test_a_tone_that_is_not_asked_for_is_not_mistaken() -> None:
    assert tones_in(tone(1700, 160), ALL) == frozenset()


def test_a_packet_too_short_to_tell_has_none() -> None:
    assert tones_in(tone(440, 40), ALL) == frozenset()


def test_a_telephone_event_has_none() -> None:
    assert tones_of(packet(0, tone(440, 160), kind=101), ALL) == frozenset()


def test_the_timeline_joins_packets_of_equal_tone() -> None:
    timeline = tone_timeline(steady(0, 50, 1000) + steady(50, 60, None) + steady(60, 99, 350), ALL)
    assert [(t.hz, t.packets) for t in timeline] == [
        (frozenset({1000.0}), 50),
        (frozenset(), 10),
        (frozenset({350.0}), 39),
    ]
    assert [(t.from_ns, t.to_ns) for t in timeline] == [
        (at(0), at(1)),
        (at(1), at(1.2)),
        (at(1.2), at(1.98)),
    ]


def test_hold_is_heard_with_its_first_packet_after_the_escalation() -> None:
    stream = steady(0, 50, 1000) + steady(50, 100, 350)
    assert first_heard(stream, 350, ALL, after_ns=at(0.5)) == at(1)
    assert first_heard(stream, 1000, ALL, after_ns=at(0.5)) == at(0.5)
    assert first_heard(stream, 600, ALL) is None


def test_the_share_of_a_tone() -> None:
    assert share_of(steady(0, 75, 440) + steady(75, 100, 350), 440, ALL) == 0.75
    assert share_of([], 440, ALL) == 0
