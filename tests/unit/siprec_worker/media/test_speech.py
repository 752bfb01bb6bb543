"""Beginnings and ends of speech, in every form of a call's audio."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from siprec_worker.media.g711 import linear_to_alaw, linear_to_ulaw
from siprec_worker.media.model import AudioFormat, Encoding, Speech
from siprec_worker.media.rate import RateChanger
from siprec_worker.media.speech import HANG_OVER_MS, SpeechWatch

FORMS = [
    AudioFormat(Encoding.PCM_S16LE, 8000),
    AudioFormat(Encoding.PCM_S16LE, 16_000),
    AudioFormat(Encoding.PCM_S16LE, 24_000),
    AudioFormat(Encoding.G711_ULAW, 8000),
    AudioFormat(Encoding.G711_ALAW, 8000),
]
PCM = FORMS[0]
SLOT = 160


def voice(seconds: float, level: float = 6000.0) -> bytes:
    """A vowel at 8 kHz: harmonics of 120 Hz under two formants, swelling like syllables."""
    times = np.arange(int(8000 * seconds)) / 8000
    sound = np.zeros_like(times)
    for number in range(1, 28):
        hertz = 120 * number
        formants = sum(np.exp(-(((hertz - f) / 180) ** 2)) for f in (600, 1200, 2500))
        sound += (formants + 0.02) * np.sin(2 * np.pi * hertz * times)
    sound *= level * (1 + 0.5 * np.sin(2 * np.pi * 4 * times)) / np.abs(sound).max()
    pcm: bytes = sound.astype("<i2").tobytes()
    return pcm


def noise(seconds: float, level: float) -> bytes:
    samples = np.random.default_rng(7).normal(0, level, int(8000 * seconds))
    pcm: bytes = samples.astype("<i2").tobytes()
    return pcm


def silence(seconds: float) -> bytes:
    return bytes(2 * int(8000 * seconds))


def in_form(pcm: bytes, form: AudioFormat) -> bytes:
    match form.encoding:
        case Encoding.G711_ULAW:
            return linear_to_ulaw(pcm)
        case Encoding.G711_ALAW:
            return linear_to_alaw(pcm)
    return pcm if form.pts_factor == 1 else RateChanger(8000, form.sample_rate).change(pcm)


def heard(
    pieces: Iterable[bytes], form: AudioFormat = PCM, chunk_ms: int = 20
) -> tuple[SpeechWatch, list[Speech]]:
    watch = SpeechWatch(form)
    news: list[Speech] = []
    audio = in_form(b"".join(pieces), form)
    size = form.bytes_per_sample * form.sample_rate * chunk_ms // 1000
    for number, at in enumerate(range(0, len(audio) - size + 1, size)):
        news += watch.hear(1, number * 8 * chunk_ms, audio[at : at + size])
    return watch, news


@pytest.mark.parametrize("form", FORMS, ids=lambda f: f"{f.encoding.name}-{f.sample_rate}")
@pytest.mark.parametrize("chunk_ms", [20, 60])
def test_speech_is_told_once_with_its_beginning_and_end(form: AudioFormat, chunk_ms: int) -> None:
    _, news = heard((silence(0.48), voice(1.2), silence(1.2)), form, chunk_ms)
    assert [one.started for one in news] == [True, False]
    assert news[0].pts == pytest.approx(0.48 * 8000, abs=4 * SLOT)
    assert news[1].pts == pytest.approx(1.68 * 8000, abs=10 * SLOT)


def test_a_pause_for_breath_ends_nothing() -> None:
    _, news = heard((voice(0.6), silence(HANG_OVER_MS / 1000 - 0.2), voice(0.6)))
    assert [one.started for one in news] == [True]


def test_two_sentences_are_two() -> None:
    _, news = heard((voice(0.6), silence(1), voice(0.6), silence(1)))
    assert [one.started for one in news] == [True, False, True, False]


@pytest.mark.parametrize("level", [0.0, 5.0, 30.0])
def test_a_quiet_line_says_nothing(level: float) -> None:
    assert heard((noise(4, level),))[1] == []


def test_a_voice_from_far_away_is_none() -> None:
    assert heard((voice(2, level=40.0),))[1] == []


def test_a_click_is_no_speech() -> None:
    assert heard((silence(0.4), voice(0.02), silence(0.4)))[1] == []


def test_speech_ends_although_nothing_more_comes() -> None:
    watch, news = heard((voice(0.6),))
    end = int(0.6 * 8000)
    assert [one.started for one in news] == [True]
    assert watch.idle(end) == []
    (ended,) = watch.idle(end + 8000)
    assert not ended.started
    assert ended.pts == pytest.approx(end, abs=4 * SLOT)
    assert watch.idle(end + 16_000) == []


def test_legs_are_told_apart() -> None:
    watch = SpeechWatch(PCM)
    loud, quiet = voice(0.4), silence(0.4)
    news: list[Speech] = []
    for slot in range(20):
        part = slice(slot * 320, slot * 320 + 320)
        news += watch.hear(1, slot * SLOT, quiet[part])
        news += watch.hear(2, slot * SLOT, loud[part])
    assert [(one.leg, one.started) for one in news] == [(2, True)]
