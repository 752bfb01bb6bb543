"""Which tone is heard when: every party plays its own, so content proves who hears whom.

A packet is fitted with all candidate tones at once (least squares over their sines and cosines:
Goertzel's bins, freed of each other's leakage), so 350 and 440 Hz part in 20 ms.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from voicefork_cli.measure.packets import AUDIO_TYPES, PACKET_MS, SAMPLE_RATE, Packet
from voicefork_cli.measure.pcm import RMS_0_DBM0, Pcm, decode

AUDIBLE_DBM0 = -45.0
PURE = 0.9  # of the power: a vowel near the tone has a third of its own there at most
SHARE = 0.08  # of the packet's power: a second tone 10 dB below the first still shows


@dataclass(frozen=True, slots=True)
class Toned:
    """A stretch in which exactly the tones `hz` were heard (none: silence or something else)."""

    from_ns: int
    to_ns: int
    hz: frozenset[float]
    packets: int


@lru_cache(maxsize=64)
def _fit(candidates: tuple[float, ...], samples: int) -> NDArray[np.float64]:
    """(2 x candidates, samples): the rows give the cosine and sine amplitudes of a frame."""
    angle = 2 * np.pi / SAMPLE_RATE * np.outer(np.arange(samples), candidates)
    return np.linalg.pinv(np.concatenate([np.cos(angle), np.sin(angle)], axis=1))


def tones_in(pcm: Pcm, candidates: tuple[float, ...]) -> frozenset[float]:
    """The candidates (Hz) that sound in `pcm`; 10 ms at least, else none."""
    if len(pcm) < SAMPLE_RATE // 100:
        return frozenset()
    frame = pcm.astype(np.float64)
    cosines, sines = np.split(_fit(candidates, len(frame)) @ frame, 2)
    power = (np.square(cosines) + np.square(sines)) / 2
    floor = max(
        SHARE * float(np.mean(np.square(frame))),
        RMS_0_DBM0**2 * 10 ** (AUDIBLE_DBM0 / 10),
    )
    return frozenset(hz for hz, own in zip(candidates, power, strict=True) if own >= floor)


def tones_of(packet: Packet, candidates: tuple[float, ...]) -> frozenset[float]:
    codec = AUDIO_TYPES.get(packet.payload_type)
    return tones_in(decode(packet.payload, codec), candidates) if codec else frozenset()


def is_pure(packet: Packet, hz: float) -> bool:
    """Whether `hz` sounds and nothing beside it: tells a tone from speech that passes by it."""
    codec = AUDIO_TYPES.get(packet.payload_type)
    if codec is None or hz not in tones_of(packet, (hz,)):
        return False
    frame = decode(packet.payload, codec).astype(np.float64)
    cosine, sine = _fit((hz,), len(frame)) @ frame
    return bool((cosine**2 + sine**2) / 2 >= PURE * np.mean(np.square(frame)))


def tone_timeline(packets: Sequence[Packet], candidates: Iterable[float]) -> list[Toned]:
    """Stretches of equal tones, by arrival. A stretch lasts to the arrival of the next one."""
    wanted = tuple(candidates)
    timeline: list[Toned] = []
    for packet in packets:
        hz = tones_of(packet, wanted)
        end = packet.arrival_ns + PACKET_MS * 1_000_000
        if timeline and timeline[-1].hz == hz:
            last = timeline[-1]
            timeline[-1] = Toned(last.from_ns, end, hz, last.packets + 1)
            continue
        if timeline:
            last = timeline[-1]
            timeline[-1] = Toned(last.from_ns, packet.arrival_ns, last.hz, last.packets)
        timeline.append(Toned(packet.arrival_ns, end, hz, 1))
    return timeline


def first_heard(
    packets: Sequence[Packet], hz: float, candidates: Iterable[float], after_ns: int = 0
) -> int | None:
    """Arrival of the first packet at or after `after_ns` in which `hz` sounds: "hold heard"."""
    wanted = tuple(dict.fromkeys((hz, *candidates)))
    for packet in packets:
        if packet.arrival_ns >= after_ns and hz in tones_of(packet, wanted):
            return packet.arrival_ns
    return None


def share_of(packets: Sequence[Packet], hz: float, candidates: Iterable[float]) -> float:
    """The part (0..1) of the packets in which `hz` sounds; 0 where there are none."""
    wanted = tuple(dict.fromkeys((hz, *candidates)))
    hits = sum(hz in tones_of(packet, wanted) for packet in packets)
    return hits / len(packets) if packets else 0.0
