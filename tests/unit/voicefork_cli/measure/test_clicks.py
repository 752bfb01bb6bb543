"""Mouth to ear by clicks."""

from __future__ import annotations

import numpy as np
import pytest
from voicefork_cli.measure.clicks import click, mouth_to_ear
from voicefork_cli.measure.packets import Packet, Sent
from voicefork_cli.measure.pcm import Pcm, encode, tone

from tests.unit.voicefork_cli.measure.made import BEGAN, MS

CLICKS_AT = (1000, 7013, 15107, 22999)  # samples; the second lies across two packets


def line(length: int = 32000, level: float = 1.0, delay: int = 0) -> Pcm:
    pcm = np.zeros(length, np.int16)
    for position in CLICKS_AT:
        pcm[position + delay : position + delay + 80] = (click() * level).astype(np.int16)
    return pcm


def sent(pcm: Pcm) -> list[Sent]:
    return [
        Sent(BEGAN + i * 20 * MS, i, i * 160, 0, encode(pcm[i * 160 : i * 160 + 160], "PCMU"))
        for i in range(len(pcm) // 160)
    ]


def received(pcm: Pcm, after_ms: float) -> list[Packet]:
    return [
        Packet(p.sent_ns + round(after_ms * MS), p.seq, p.timestamp, 9, 0, False, p.payload)
        for p in sent(pcm)
    ]


def test_the_delay_is_found_to_a_sample() -> None:
    latency = mouth_to_ear(sent(line()), received(line(delay=37), after_ms=90))
    assert latency.lost == 0
    assert latency.samples_ms == pytest.approx([90 + 37 / 8 + 20] * 4, abs=0.2)
    assert latency.p50_ms == pytest.approx(114.6, abs=0.2)


def test_a_quieter_echo_under_a_tone_is_found() -> None:
    loud = line(level=0.5).astype(np.int32) + tone(350, 32000, -32)
    latency = mouth_to_ear(sent(line()), received(loud.astype(np.int16), after_ms=50))
    assert latency.samples_ms == pytest.approx([70] * 4, abs=0.5)


def test_a_click_that_never_comes_back_is_lost() -> None:
    echo = line()
    echo[15000:16000] = 0
    latency = mouth_to_ear(sent(line()), received(echo, after_ms=50))
    assert latency.lost == 1
    assert len(latency.samples_ms) == 3


def test_an_echo_later_than_the_longest_does_not_count() -> None:
    assert mouth_to_ear(sent(line()), received(line(), 90), longest_ms=80).lost == 4


def test_a_tone_is_no_click() -> None:
    latency = mouth_to_ear(sent(line()), received(tone(1000, 32000, -10), 50))
    assert latency.samples_ms == ()
    with pytest.raises(ValueError, match="4 clicks"):
        _ = latency.p99_ms
