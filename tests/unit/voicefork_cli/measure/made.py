"""Builds what a socket would have received, without one."""

from __future__ import annotations

from voicefork_cli.measure.packets import Packet
from voicefork_cli.measure.pcm import Pcm, encode, tone

MS = 1_000_000
SECOND = 1000 * MS
BEGAN = 1_800_000_000 * SECOND


def packet(index: int, pcm: Pcm, *, late_ms: float = 0, ssrc: int = 7, kind: int = 0) -> Packet:
    """The packet number `index` of a 20 ms stream that began at BEGAN."""
    return Packet(
        BEGAN + index * 20 * MS + round(late_ms * MS),
        index & 0xFFFF,
        index * 160,
        ssrc,
        kind,
        False,
        encode(pcm, "PCMU"),
    )


def steady(first: int, last: int, hz: float | None = 440, ssrc: int = 7) -> list[Packet]:
    """Packets [first, last) of a tone, or of silence."""
    return [
        packet(i, tone(hz or 440, 160, -10.0 if hz else -120.0, i * 160), ssrc=ssrc)
        for i in range(first, last)
    ]


def at(seconds: float) -> int:
    return BEGAN + round(seconds * SECOND)
