"""Whether somebody was ever left alone: told by what they heard, not by how fast the machine is.

A switch from one voice to the next leaves 20 to 60 ms without a packet where nobody waits for a
processor; `bench.handoff` measures that. Here is twice as much allowed, and where all packets come
late, ten times as much more as they do, because a switch waits for several programs in turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from voicefork_cli.measure.heard import MISSING_AFTER_MS, is_silent
from voicefork_cli.measure.packets import AUDIO_TYPES, PACKET_MS, Packet
from voicefork_cli.sim.leg import Leg

SWITCH_MS = 120.0
PER_LATE_MS = 10.0
MOST_MS = 600.0
SILENT_PACKETS = 10  # in a row: 200 ms, however late they come

Stretch = tuple[int, int]
"""Between two arrivals, in nanoseconds."""


def assert_never_alone(
    ear: Leg, from_ns: int, to_ns: int, others: Iterable[Sequence[Stretch]] = ()
) -> None:
    """No row of silent packets, and no stretch without one that a switch does not explain.

    `others`: what was missing of other streams at the same time (`unheard` by a call without a
    handoff, `unsaid` by a phone of ours) is the machine's doing, or the phone's.
    """
    heard = up_to_now(ear)
    row = most_silent(p for p in heard if from_ns <= p.arrival_ns < to_ns)
    assert row < SILENT_PACKETS, f"{row} silent packets in a row"
    others = list(others)
    arrivals = _arrivals(heard, from_ns, to_ns)
    left = max((_unexplained_ms(gap, others) for gap in _stretches(arrivals)), default=0.0)
    late = late_ms(arrivals)
    limit = min(MOST_MS, SWITCH_MS + PER_LATE_MS * late)
    assert left <= limit, f"left alone for {left:.0f} ms, usual packets {late:.0f} ms late"


def late_ms(arrivals: Sequence[int]) -> float:
    """How late the machine makes packets as a rule: of 20 those that are later are no rule."""
    gaps = sorted(b - a for a, b in pairwise(arrivals))
    return max(0.0, gaps[len(gaps) * 19 // 20] / 1e6 - PACKET_MS)


def up_to_now(ear: Leg) -> list[Packet]:
    """Also what has come and waits in the socket, where this process did not get round to it."""
    ear.rtp.receive_ready()
    return list(ear.heard)


def most_silent(packets: Iterable[Packet]) -> int:
    """The longest row of packets without a sound."""
    most = row = 0
    for packet in packets:
        row = row + 1 if is_silent(packet) else 0
        most = max(most, row)
    return most


def unheard(ear: Leg) -> list[Stretch]:
    """When nothing came to it."""
    return _stretches([packet.arrival_ns for packet in up_to_now(ear)])


def unsaid(phone: Leg) -> list[Stretch]:
    """When it said nothing in between: it pressed a key, whose packets take the place of its voice
    (RFC 4733 section 2.5.1.4), or its process stood still.
    """
    return _stretches([each.sent_ns for each in phone.said if each.payload_type in AUDIO_TYPES])


def _arrivals(heard: Sequence[Packet], from_ns: int, to_ns: int) -> list[int]:
    """With both ends; a stretch that began before the first is judged by its whole length."""
    inside = [p.arrival_ns for p in heard if from_ns <= p.arrival_ns < to_ns]
    before = next((p.arrival_ns for p in reversed(heard) if p.arrival_ns < from_ns), from_ns)
    return [before, *inside, to_ns]


def _stretches(times: Sequence[int]) -> list[Stretch]:
    return [(a, b) for a, b in pairwise(times) if b - a > MISSING_AFTER_MS * 1_000_000]


def _unexplained_ms(gap: Stretch, others: Sequence[Sequence[Stretch]]) -> float:
    (begun, over) = gap
    explained = [
        sum(max(0, min(over, b) - max(begun, a)) for a, b in stretches) for stretches in others
    ]
    return (over - begun - max(explained, default=0)) / 1e6
