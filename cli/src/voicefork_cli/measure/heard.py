"""Missing and silent time at a caller's ear: the definitions of dead air, over received packets.

The time between two arrivals belongs to the packet that began it. A stretch longer than 60 ms is
`missing`, whole. Otherwise it is silent when that packet's audio lies below -60 dBm0 (or is no
audio at all: telephone-event, comfort noise). Silent stretches count where they, together with
missing time inside or beside them, last longer than 200 ms. So no moment counts twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from voicefork_cli.measure.packets import AUDIO_TYPES, Packet
from voicefork_cli.measure.pcm import decode, level_dbm0

MISSING_AFTER_MS = 60
SILENT_AFTER_MS = 200
SILENT_BELOW_DBM0 = -60.0


@dataclass(frozen=True, slots=True)
class Heard:
    """One party's ear between two moments. Times in milliseconds where the name says so."""

    from_ns: int
    to_ns: int
    packets: int
    missing_ms: float
    silent_ms: float
    longest_gap_ms: float
    gaps_ms: tuple[float, ...]  # every stretch without a packet longer than 60 ms, in order
    ssrc_changes: int
    first_audio_ns: int | None  # arrival of the first packet that is not silent

    @property
    def dead_air_ms(self) -> float:
        return self.missing_ms + self.silent_ms

    @property
    def duration_ms(self) -> float:
        return (self.to_ns - self.from_ns) / 1e6

    def beyond(self, control: Heard) -> Heard:
        """The same, less what `control` (a call without a handoff) misses in as long a time.

        Only missing time: that is what the machine's own load costs every call.
        """
        allowance = control.missing_ms * self.duration_ms / max(control.duration_ms, 1.0)
        return replace(self, missing_ms=max(0.0, self.missing_ms - allowance))


def is_silent(packet: Packet) -> bool:
    codec = AUDIO_TYPES.get(packet.payload_type)
    return codec is None or level_dbm0(decode(packet.payload, codec)) < SILENT_BELOW_DBM0


def hear(packets: Sequence[Packet], from_ns: int, to_ns: int) -> Heard:
    """Measures [from_ns, to_ns). A packet before `from_ns` still sounds at its beginning.

    Args:
        packets: in order of arrival.
        from_ns, to_ns: CLOCK_REALTIME; `to_ns` must lie within the capture, or its end is missing.
    """
    inside = [packet for packet in packets if from_ns <= packet.arrival_ns < to_ns]
    before = next((p for p in reversed(packets) if p.arrival_ns < from_ns), None)
    edges = np.array([from_ns, *(p.arrival_ns for p in inside), to_ns], dtype=np.int64)
    # The gap the window opens in may have begun before it: judge it by its whole length.
    began = before.arrival_ns if before else from_ns
    whole = np.diff(np.concatenate(([began], edges[1:]))) / 1e6
    within = np.diff(edges) / 1e6
    silent = np.array([before is None or is_silent(before), *map(is_silent, inside)])
    missing = whole > MISSING_AFTER_MS
    ssrcs = [packet.ssrc for packet in inside]
    audible = (packet.arrival_ns for packet in inside if not is_silent(packet))
    return Heard(
        from_ns,
        to_ns,
        len(inside),
        missing_ms=float(within[missing].sum()),
        silent_ms=_silent_ms(within, silent, missing),
        longest_gap_ms=float(whole.max()),
        gaps_ms=tuple(float(gap) for gap in whole[missing]),
        ssrc_changes=sum(a != b for a, b in pairwise(ssrcs)),
        first_audio_ns=next(audible, None),
    )


def _silent_ms(
    length: NDArray[np.float64], silent: NDArray[np.bool_], missing: NDArray[np.bool_]
) -> float:
    total = 0.0
    for first, last in _runs(silent | missing):
        stretch = slice(first, last)
        if length[stretch].sum() > SILENT_AFTER_MS:
            total += float(length[stretch][~missing[stretch]].sum())
    return total


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """[first, last) of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]
