"""Opus (RFC 6716, RTP by RFC 7587): packets in order in, 16-bit samples at the wanted rate out.

libopus decodes to 8, 16 or 24 kHz by itself, mixes stereo down, conceals what is lost, and finds a
lost packet's copy in the next one (in-band FEC). The package is looked for at the first use: a
worker without libopus has no Opus.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from siprec_worker.errors import RtpError

UNITS_PER_SECOND = 8000
_SILK_MS, _HYBRID_MS, _CELT_MS = (10, 20, 40, 60), (10, 20), (2.5, 5, 10, 20)
_FIRST_HYBRID, _FIRST_CELT = 12, 16  # configurations of RFC 6716 table 2
_TWO_FRAMES, _COUNTED_FRAMES = (1, 2), 3
_LONGEST_MS = 120


@cache
def _library() -> ModuleType | None:
    try:
        # Looks for the shared library, and raises a bare Exception where there is none.
        return import_module("opuslib_next")
    except Exception:
        return None


def opus_is_installed() -> bool:
    return _library() is not None


def opus_units(payload: bytes) -> int:
    """How long a packet is, in 1/8000 s, by its first octets (RFC 6716 section 3.1).

    Raises RtpError when it is no Opus packet.
    """
    if not payload:
        raise RtpError("an empty Opus packet")
    config, code = payload[0] >> 3, payload[0] & 3
    if config < _FIRST_HYBRID:
        ms: float = _SILK_MS[config % 4]
    elif config < _FIRST_CELT:
        ms = _HYBRID_MS[config % 2]
    else:
        ms = _CELT_MS[config % 4]
    frames = 2 if code in _TWO_FRAMES else 1
    if code == _COUNTED_FRAMES:
        frames = payload[1] & 0x3F if len(payload) > 1 else 0
    if not 0 < frames * ms <= _LONGEST_MS:
        raise RtpError(f"an Opus packet of {frames} frames of {ms} ms")
    return round(frames * ms * UNITS_PER_SECOND / 1000)


class OpusDecoder:
    """One stream; not to be used by two threads at once."""

    def __init__(self, rate: int) -> None:
        """Raises RuntimeError where libopus is not installed: ask `opus_is_installed` first."""
        library = _library()
        if library is None:
            raise RuntimeError("libopus is not installed")
        self._refusal: type[Exception] = library.OpusError
        self._decoder: Any = library.Decoder(rate, 1)
        self._per_unit = rate // UNITS_PER_SECOND

    def decode(self, payload: bytes) -> bytes:
        """The packet's samples. Raises RtpError for a packet that libopus refuses."""
        return self._run(payload, opus_units(payload), fec=False)

    def recover(self, units: int, packets: int, following: bytes) -> bytes:
        """Samples in place of `packets` lost ones of `units` each, just before `following`.

        The last comes from its copy in `following` if there is one, the others are made up.
        """
        made_up = [self._run(b"", units, fec=False) for _ in range(packets - 1)]
        return b"".join((*made_up, self._run(following, units, fec=True)))

    def _run(self, payload: bytes, units: int, *, fec: bool) -> bytes:
        try:
            pcm: bytes = self._decoder.decode(payload, units * self._per_unit, fec)
        except self._refusal as error:
            raise RtpError(f"Opus: {error}") from error
        return pcm
