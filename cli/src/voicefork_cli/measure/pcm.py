"""G.711 to samples and back, and the levels of ITU-T G.711: tables, no arithmetic per sample.

Written apart from the worker's codec on purpose: what measures it must not share its faults.
PCM is numpy int16, 8000 Hz, mono.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]

# A full-scale sine is +3.17 dBm0 in mu-law (G.711 table 6), its peak 32636 on the 16-bit scale.
RMS_0_DBM0 = 32636 / math.sqrt(2) / 10 ** (3.17 / 20)
QUIETEST_DBM0 = -99.0
NEGATIVE_ZERO = 0x7F  # mu-law has two zeros; encoders use 0xFF


def _ulaw_table() -> Pcm:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 132) << (code >> 4 & 7)) - 132
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _alaw_table() -> Pcm:
    code = np.arange(256, dtype=np.int32) ^ 0x55
    segment = code >> 4 & 7
    step = ((code & 0x0F) << 4) + 8
    magnitude = np.where(segment == 0, step, (step + 256) << np.maximum(segment - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


def _nearest_codes(decoded: Pcm) -> NDArray[np.uint8]:
    """The code whose value lies nearest to each of the 65536 samples, indexed by sample + 32768."""
    order = np.argsort(decoded, kind="stable")
    order = order[~((order == NEGATIVE_ZERO) & (decoded[order] == 0))]
    levels = decoded[order].astype(np.int32)
    middles = (levels[1:] + levels[:-1]) // 2
    nearest = np.searchsorted(middles, np.arange(-32768, 32768))
    return np.asarray(order[nearest], dtype=np.uint8)


DECODED = {"PCMU": _ulaw_table(), "PCMA": _alaw_table()}
_ENCODED = {name: _nearest_codes(table) for name, table in DECODED.items()}


def decode(payload: bytes, codec: str) -> Pcm:
    """G.711 bytes to as many samples. Raises KeyError for a codec other than PCMU, PCMA."""
    return DECODED[codec][np.frombuffer(payload, np.uint8)]


def encode(pcm: Pcm, codec: str) -> bytes:
    """Samples to as many G.711 bytes. Raises KeyError for a codec other than PCMU, PCMA."""
    return _ENCODED[codec][pcm.astype(np.int32) + 32768].tobytes()


def level_dbm0(pcm: Pcm) -> float:
    """The level of the whole of `pcm`; QUIETEST_DBM0 for digital silence or nothing."""
    if len(pcm) == 0:
        return QUIETEST_DBM0
    rms = math.sqrt(float(np.mean(np.square(pcm.astype(np.float64)))))
    return max(QUIETEST_DBM0, 20 * math.log10(rms / RMS_0_DBM0)) if rms else QUIETEST_DBM0


def tone(hz: float, samples: int, level: float = -10.0, first: int = 0) -> Pcm:
    """`samples` of a sine at `level` dBm0, beginning at its sample number `first`."""
    peak = RMS_0_DBM0 * math.sqrt(2) * 10 ** (level / 20)
    phase = 2 * np.pi * hz / 8000 * (np.arange(samples) + first)
    return np.asarray(np.round(peak * np.sin(phase)), dtype=np.int16)
