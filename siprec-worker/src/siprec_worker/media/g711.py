"""G.711: both laws, to and from 16-bit linear samples of the machine's order (little-endian).

`audioop` does the work: it left the standard library with Python 3.13 and comes as `audioop-lts`
from there on.
"""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop

ULAW_SILENCE = b"\xff"
ALAW_SILENCE = b"\xd5"
_SAMPLE = 2
AUDIOOP = {"PCMU": audioop.ulaw2lin, "PCMA": audioop.alaw2lin}
"""Decoders as audioop has them, for who calls them so often that a frame in between counts."""


def ulaw_to_linear(data: bytes) -> bytes:
    return audioop.ulaw2lin(data, _SAMPLE)


def alaw_to_linear(data: bytes) -> bytes:
    return audioop.alaw2lin(data, _SAMPLE)


def linear_to_ulaw(pcm: bytes) -> bytes:
    return audioop.lin2ulaw(pcm, _SAMPLE)


def linear_to_alaw(pcm: bytes) -> bytes:
    return audioop.lin2alaw(pcm, _SAMPLE)


def rms(pcm: bytes) -> int:
    """Root mean square of 16-bit samples."""
    return audioop.rms(pcm, _SAMPLE)
