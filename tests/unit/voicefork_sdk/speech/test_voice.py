from __future__ import annotations

import io
import wave

import numpy as np
import pytest
from voicefork_sdk.speech.voice import narrow


def wav(rate: int, frequency: int) -> bytes:
    """A second of a tone."""
    samples = 8000 * np.sin(2 * np.pi * frequency * np.arange(rate) / rate)
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def test_a_tone_survives_the_halving_of_its_rate() -> None:
    spectrum = np.abs(np.fft.rfft(np.frombuffer(narrow(wav(16000, 1000)), "<i2")))
    assert int(np.argmax(spectrum)) == 1000


def test_what_would_alias_is_gone() -> None:
    samples = np.frombuffer(narrow(wav(16000, 6000)), "<i2")
    assert np.max(np.abs(samples[100:-100])) < 100


def test_a_narrowband_voice_is_left_as_it_is() -> None:
    assert narrow(wav(8000, 440)) == wav(8000, 440)[44:]


def test_an_unusual_rate_is_refused() -> None:
    with pytest.raises(RuntimeError, match="44100 Hz"):
        narrow(wav(44100, 440))
