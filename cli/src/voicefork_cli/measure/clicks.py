"""Mouth to ear: when the caller's own clicks come back from an echoing agent.

A click is a 10 ms chirp, found again by normalised correlation, which survives companding,
resampling and a changed level. The moment of a sample is that of its packet's sending, less the
packet's own 20 ms (a microphone had to fill it first), plus its place in the packet; on the ear's
side it is the packet's arrival plus its place. The caller's own jitter buffer is not in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voicefork_cli.measure.packets import AUDIO_TYPES, PACKET_MS, SAMPLE_RATE, Packet, Sent
from voicefork_cli.measure.pcm import Pcm, decode

CLICK_SAMPLES = 80
FOUND_ABOVE = 0.6  # normalised correlation; a click against speech or a tone stays below 0.4
_MS_PER_SAMPLE = 1000 / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Latency:
    """Round trips in milliseconds, in order of the clicks, and the clicks that never came back."""

    samples_ms: tuple[float, ...]
    lost: int

    def quantile_ms(self, q: float) -> float:
        """Raises ValueError where no click came back."""
        if not self.samples_ms:
            raise ValueError(f"none of {self.lost} clicks came back")
        return float(np.quantile(self.samples_ms, q))

    @property
    def p50_ms(self) -> float:
        return self.quantile_ms(0.5)

    @property
    def p99_ms(self) -> float:
        return self.quantile_ms(0.99)


def click(level: int = 16000) -> Pcm:
    """The chirp: 600 to 3000 Hz in 10 ms under a sine window, peak about `level`."""
    t = np.arange(CLICK_SAMPLES) / SAMPLE_RATE
    length = CLICK_SAMPLES / SAMPLE_RATE
    phase = 2 * np.pi * (600 * t + (3000 - 600) / (2 * length) * t**2)
    return np.asarray(level * np.sin(phase) * np.sin(np.pi * t / length), dtype=np.int16)


def mouth_to_ear(
    said: Sequence[Sent], heard: Sequence[Packet], *, longest_ms: float = 1000.0
) -> Latency:
    """Pairs each click said with the first heard after it, within `longest_ms` (clicks must be
    further apart than that)."""
    spoken = find_clicks([(p.sent_ns, p.timestamp, p.payload_type, p.payload) for p in said])
    echoed = find_clicks([(p.arrival_ns, p.timestamp, p.payload_type, p.payload) for p in heard])
    arrivals = np.array(echoed)
    samples: list[float] = []
    for moment in (each - PACKET_MS for each in spoken):
        after = arrivals[(arrivals > moment) & (arrivals <= moment + longest_ms)]
        if len(after):
            samples.append(float(after[0] - moment))
    return Latency(tuple(samples), len(spoken) - len(samples))


def find_clicks(packets: Sequence[tuple[int, int, int, bytes]]) -> list[float]:
    """Moments (ms since the epoch) of the clicks in (time_ns, RTP timestamp, type, payload)s.

    The packets are laid out by order of arrival, those with consecutive timestamps side by side
    with nothing between, so that a click may lie across two of them.
    """
    audio = [p for p in packets if p[2] in AUDIO_TYPES and p[3]]
    if not audio:
        return []
    pcm = np.concatenate([decode(payload, AUDIO_TYPES[kind]) for _, _, kind, payload in audio])
    lengths = [len(payload) for *_, payload in audio]
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    found = []
    for position in _peaks(_likeness(pcm)):
        index = int(np.searchsorted(starts, position, side="right")) - 1
        offset_ms = (position - starts[index]) * _MS_PER_SAMPLE
        found.append(audio[index][0] / 1e6 + float(offset_ms))
    return found


def _likeness(pcm: Pcm) -> NDArray[np.float64]:
    """Normalised correlation with the click at each sample, 0 where it is all but silent."""
    if len(pcm) < CLICK_SAMPLES:
        return np.zeros(0)
    signal = pcm.astype(np.float64)
    template = click().astype(np.float64)
    product = np.correlate(signal, template, mode="valid")
    energy = np.convolve(np.square(signal), np.ones(CLICK_SAMPLES), mode="valid")
    scale = np.sqrt(np.maximum(energy, 0) * np.sum(np.square(template)))
    loud_enough = energy > CLICK_SAMPLES * 200.0**2
    return np.where(loud_enough, np.abs(product) / np.maximum(scale, 1.0), 0.0)


def _peaks(likeness: NDArray[np.float64]) -> list[int]:
    """The best sample of each stretch above the threshold; stretches closer than a click merge."""
    peaks: list[int] = []
    for position in np.flatnonzero(likeness > FOUND_ABOVE):
        if not peaks or position - peaks[-1] > 2 * CLICK_SAMPLES:
            peaks.append(int(position))
        elif likeness[position] > likeness[peaks[-1]]:
            peaks[-1] = int(position)
    return peaks
