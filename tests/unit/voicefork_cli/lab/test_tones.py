"""The music of the lab is a steady tone that loops without a click."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from voicefork_cli.lab.tones import AMPLITUDE, write_tone


def samples(path: Path) -> np.ndarray:
    with wave.open(str(path), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 8000)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float)


def test_the_tone_has_one_frequency_and_the_level(tmp_path: Path) -> None:
    write_tone(tmp_path / "tone.wav", hertz=350, seconds=2)
    tone = samples(tmp_path / "tone.wav")
    spectrum = np.abs(np.fft.rfft(tone)) / len(tone)
    assert np.argmax(spectrum) / 2 == 350
    assert abs(np.max(np.abs(tone)) - AMPLITUDE) <= 1


def test_the_tone_loops_without_a_step(tmp_path: Path) -> None:
    write_tone(tmp_path / "tone.wav", hertz=350, seconds=1)
    tone = samples(tmp_path / "tone.wav")
    largest_step = np.max(np.abs(np.diff(tone)))
    assert abs(tone[0] - tone[-1]) <= largest_step
