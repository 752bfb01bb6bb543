"""Steady tones as WAV files: what a measurement can tell apart, where music has pauses."""

from __future__ import annotations

import math
import struct
import wave
from pathlib import Path

SAMPLE_RATE = 8000
AMPLITUDE = 8000  # of 32767: about -12 dBFS


def write_tone(path: Path, hertz: int, seconds: int) -> None:
    """Writes 16-bit mono at 8 kHz. Whole seconds of whole hertz: the file loops without a click."""
    second = [
        round(AMPLITUDE * math.sin(2 * math.pi * hertz * n / SAMPLE_RATE))
        for n in range(SAMPLE_RATE)
    ]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(struct.pack(f"<{SAMPLE_RATE}h", *second) * seconds)
