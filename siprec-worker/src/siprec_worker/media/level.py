"""How loud a piece of audio is, in the telephone network's measure."""

from __future__ import annotations

from math import log10

from siprec_worker.media.g711 import rms

_RMS_AT_0_DBM0 = 15_770.0
"""G.711 overloads at +3.17 dBm0 (mu-law), a sine of peak 32,124 in 16-bit samples."""

SILENT_DBM0 = -90.0
"""Digital silence; what has no sample above zero is no quieter than that."""


def level_dbm0(pcm: bytes) -> float:
    """The level of 16-bit samples; SILENT_DBM0 for digital silence and for nothing at all."""
    root_mean_square = rms(pcm) if pcm else 0
    if not root_mean_square:
        return SILENT_DBM0
    return 20 * log10(root_mean_square / _RMS_AT_0_DBM0)


def rms_at(dbm0: float) -> float:
    """The root mean square of 16-bit samples at a level."""
    return float(_RMS_AT_0_DBM0 * 10 ** (dbm0 / 20))
