"""Speech as a telephone line leaves it: G.711 mu-law at 8 kHz and back."""

from __future__ import annotations

import numpy as np

_BIAS = 33  # ITU-T G.711 table 2, on 14-bit magnitudes


def through_ulaw(pcm: bytes) -> bytes:
    """PCM_S16LE quantised as G.711 mu-law does it (ITU-T G.711 section 3.2)."""
    samples = np.frombuffer(pcm, "<i2").astype(np.int64)
    magnitude = np.minimum(np.abs(samples) >> 2, 8158) + _BIAS
    segment = np.floor(np.log2(magnitude)).astype(np.int64) - 5
    step = (magnitude >> (segment + 1)) & 0xF
    decoded = ((2 * step + _BIAS) << segment) - _BIAS
    quantised: bytes = (np.sign(samples) * decoded * 4).astype("<i2").tobytes()
    return quantised
