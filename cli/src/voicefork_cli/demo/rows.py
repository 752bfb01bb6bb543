"""Rows of the demo's tables, and the moments they are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from voicefork_cli.measure.packets import Packet
from voicefork_cli.measure.tones import is_pure

SURE_PACKETS = 5  # a tone is heard when it sounds for 100 ms and nothing else does
NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Figure:
    """One row. `good` is None where nothing is demanded."""

    name: str
    value: str
    good: bool | None = None


def with_keys(packets: Sequence[Packet], keys: Sequence[Packet]) -> list[Packet]:
    """What was heard and the key's packets, which take the place of the agent's voice.

    RFC 4733 section 2.5.1.4: the key's end is told three times, 20 ms apart, and is taken with the
    first; that a phone says nothing meanwhile is no gap of the handoff's making.
    """
    return sorted([*packets, *keys])


def milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"


def since(later_ns: int | None, earlier_ns: int | None) -> float | None:
    """Milliseconds between two moments, None if one did not happen."""
    if later_ns is None or earlier_ns is None:
        return None
    return (later_ns - earlier_ns) / NS_PER_MS


def steady_tone_from(packets: Sequence[Packet], hz: float, after_ns: int) -> int | None:
    """Arrival of the first packet of a stretch of `hz` alone that lasts 100 ms."""
    begun, length = 0, 0
    for packet in packets:
        if packet.arrival_ns < after_ns or not is_pure(packet, hz):
            length = 0
            continue
        begun, length = (begun, length + 1) if length else (packet.arrival_ns, 1)
        if length == SURE_PACKETS:
            return begun
    return None
