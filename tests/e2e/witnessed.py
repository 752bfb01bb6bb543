"""Whether a worker's witness tells of as much dead air as the caller heard themselves.

Each has its own copy of every packet, and the kernel's time of it. The relay sends both copies one
after the other; where it waits for a processor in between, they are not equally late. So each end
of a stretch may be a few milliseconds off, and one that lasts about as long as the limit may count
for one of them and not for the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from voicefork_cli.measure.heard import MISSING_AFTER_MS, hear
from voicefork_cli.measure.packets import Packet

APART_MS = 20.0
EDGE_NS = 500_000_000  # the witness begins and ends so much later at most


def assert_witness_agrees(
    dead_air_ms: float, heard: Sequence[Packet], from_ns: int, to_ns: int
) -> None:
    """`heard`: by the caller, who hears on beyond `to_ns` or is gone by then."""
    own = hear(heard, from_ns, to_ns).dead_air_ms
    apart = apart_ms([p for p in heard if from_ns <= p.arrival_ns < to_ns])
    late = hear(heard, from_ns, min(from_ns + EDGE_NS, to_ns)).dead_air_ms
    longer = hear(heard, to_ns, max(to_ns, min(to_ns + EDGE_NS, heard[-1].arrival_ns))).dead_air_ms
    told = f"told {dead_air_ms}, heard {own}, {apart=}, {late=}, {longer=}"
    assert own - late - apart <= dead_air_ms <= own + longer + apart, told


def apart_ms(packets: Sequence[Packet]) -> float:
    """By how much two counts of one stream may differ; APART_MS where nothing comes late."""
    gaps = [(b.arrival_ns - a.arrival_ns) / 1e6 for a, b in pairwise(packets)]
    sure = sum(gap > MISSING_AFTER_MS + APART_MS for gap in gaps)
    unsure = [gap for gap in gaps if abs(gap - MISSING_AFTER_MS) <= APART_MS]
    return APART_MS * (1 + sure + len(unsure)) + sum(unsure)
