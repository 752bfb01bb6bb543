"""Rates of 16-bit samples changed, piece by piece, without a gap or a burst.

A streaming resampler of the shelf may hold back 100 ms and then give it at once. These polyphase
filters give exactly their share of what they get, every time; what they delay is half their
length (2.7 ms). Between 8, 16, 24 and 48 kHz, both ways.
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd

import numpy as np
from numpy.typing import NDArray

_SECONDS = 0.0054  # the filter's length
_EDGE = 0.45  # of the lower rate: the middle of the slope, -6 dB
_KAISER_BETA = 6.8  # stop band about 70 dB down
_LOW, _HIGH = -32768, 32767

Floats = NDArray[np.float32]


@lru_cache(maxsize=32)
def _taps(from_rate: int, to_rate: int) -> tuple[tuple[Floats, ...], int]:
    """The sub-filters, and how many samples of the past they need.

    Up or between: one per phase of the output, for `correlate` with the input. Down by a whole
    number: one per phase of the input.
    """
    up, down = _ratio(from_rate, to_rate)
    fast = from_rate * up
    parts = down if up == 1 else up
    length = -(-round(_SECONDS * fast) // parts) * parts
    places = np.arange(length) - (length - 1) / 2
    edge = 2 * _EDGE * min(from_rate, to_rate) / fast
    low_pass = edge * np.sinc(edge * places) * np.kaiser(length, _KAISER_BETA)
    low_pass *= up / low_pass.sum()
    if up == 1:
        phases = tuple(low_pass[q::down].astype(np.float32) for q in range(down))
        return phases, length - down
    phases = tuple(low_pass[p::up][::-1].astype(np.float32) for p in range(up))
    return phases, length // up - 1


def _ratio(from_rate: int, to_rate: int) -> tuple[int, int]:
    divisor = gcd(from_rate, to_rate)
    return to_rate // divisor, from_rate // divisor


class RateChanger:
    """One stream from one rate to another."""

    __slots__ = ("_down", "_history", "_past", "_phases", "_up")

    def __init__(self, from_rate: int, to_rate: int) -> None:
        self._up, self._down = _ratio(from_rate, to_rate)
        self._phases, self._past = _taps(from_rate, to_rate)
        self._history: Floats = np.zeros(self._past, np.float32)

    def change(self, pcm: bytes) -> bytes:
        """`pcm`: little-endian samples. Gives len * to_rate / from_rate of them.

        What does not make a whole output sample waits for the next piece.
        """
        x = np.concatenate((self._history, np.frombuffer(pcm, "<i2").astype(np.float32)))
        count = (len(x) - self._past) // self._down
        if count <= 0:
            self._history = x
            return b""
        used = count * self._down
        self._history = x[used:]
        x = x[: used + self._past]
        y = self._decimated(x) if self._up == 1 else self._interpolated(x, count)
        np.rint(y, out=y)
        np.clip(y, _LOW, _HIGH, out=y)
        out: bytes = y.astype("<i2").tobytes()
        return out

    def _decimated(self, x: Floats) -> Floats:
        down = self._down
        y = np.correlate(x[0::down], self._phases[0])
        for phase in range(1, down):
            y += np.correlate(x[phase::down], self._phases[phase])
        return y

    def _interpolated(self, x: Floats, count: int) -> Floats:
        up, down = self._up, self._down
        y = np.empty(count * up, np.float32)
        for place in range(up):
            phase, begin = place * down % up, place * down // up
            y[place::up] = np.correlate(x, self._phases[phase])[begin::down]
        return y
