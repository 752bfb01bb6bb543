"""Speech from text: flite as a subprocess, made once at start. 8 kHz PCM."""

from __future__ import annotations

import io
import shutil
import subprocess
import wave
from collections.abc import Mapping
from typing import TypeVar

import numpy as np

Name = TypeVar("Name")
_FLITE_SECONDS = 20.0


def synthesise(lines: Mapping[Name, str], voice: str = "slt") -> dict[Name, bytes]:
    """Each line as PCM_S16LE at 8 kHz. Raises RuntimeError where flite is missing or fails."""
    return {name: _speak(text, voice) for name, text in lines.items()}


def _speak(text: str, voice: str) -> bytes:
    if (flite := shutil.which("flite")) is None:
        raise RuntimeError("flite is not installed: apt install flite")
    done = subprocess.run(
        [flite, "-voice", voice, "-t", text, "-o", "/dev/stdout"],
        capture_output=True,
        timeout=_FLITE_SECONDS,
        check=False,
    )
    if done.returncode or not done.stdout:
        raise RuntimeError(f"flite: {done.stderr.decode(errors='replace').strip()}")
    return narrow(done.stdout)


def narrow(wav: bytes) -> bytes:
    """A WAV of 8 or 16 kHz, mono, 16 bit, as PCM_S16LE at 8 kHz."""
    with wave.open(io.BytesIO(wav)) as file:
        rate = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    if rate == 8000:  # noqa: PLR2004
        return samples.tobytes()
    if rate != 16000:  # noqa: PLR2004
        raise RuntimeError(f"a voice of {rate} Hz: take one of 8 or 16 kHz")
    halved = np.convolve(samples.astype(np.float64), half_band(), "same")[::2]
    return np.clip(halved, -32768, 32767).astype("<i2").tobytes()


def half_band() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """A low-pass at 4 kHz for 16 kHz audio: windowed sinc, 81 taps."""
    taps = np.arange(-40, 41)
    low_pass: np.ndarray[tuple[int], np.dtype[np.float64]]
    low_pass = np.sinc(taps * 0.49) * np.hamming(81) * 0.49
    return low_pass
