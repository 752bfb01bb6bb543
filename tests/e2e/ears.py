"""Who hears what at the caller's end: every party has its own tone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from voicefork_cli.measure.packets import Packet
from voicefork_cli.measure.tones import tones_of
from voicefork_cli.sim.leg import Leg

MUSIC, CALLER, AGENT, BOT, INTRO = 350, 440, 600, 1000, 1600
TONES = (MUSIC, CALLER, AGENT, BOT, INTRO)
SURE_PACKETS = 10
LIMIT_SECONDS = 20.0


async def until_hears(
    caller: Leg, hz: int, seconds: float = LIMIT_SECONDS, *, since_ns: int = 0
) -> int:
    """Waits until `hz` alone sounds for 200 ms; the arrival of its first packet after now.

    `since_ns`: or after then, so that it may be over already.
    """
    candidates = tuple(dict.fromkeys((*TONES, hz)))
    begun, looked = since_ns or time.time_ns(), 0
    run: list[Packet] = []
    async with asyncio.timeout(seconds):
        while True:
            heard = caller.heard
            for packet in heard[looked:]:
                if packet.arrival_ns < begun:
                    continue
                run = [*run, packet] if tones_of(packet, candidates) == {hz} else []
                if len(run) >= SURE_PACKETS:
                    return run[0].arrival_ns
            looked = len(heard)
            await asyncio.sleep(0.02)


def heard_between(caller: Leg, from_ns: int, to_ns: int) -> list[Packet]:
    return [packet for packet in caller.heard if from_ns <= packet.arrival_ns < to_ns]


def tones(packets: Sequence[Packet]) -> list[frozenset[float]]:
    """The tones of each packet."""
    return [tones_of(packet, TONES) for packet in packets]


def share(packets: Sequence[Packet], hz: int) -> float:
    """The part (0..1) of the packets that hold that tone and no other."""
    found = tones(packets)
    return sum(each == {hz} for each in found) / len(found) if found else 0.0


def hears_only(windows: Sequence[frozenset[int]], hz: int) -> bool:
    """Whether an AI heard that tone in most of its windows, and no other in any.

    A window of silence is what becomes of a caller's stream that comes too late to be played.
    """
    return set(windows) <= {frozenset({hz}), frozenset()} and 2 * windows.count(
        frozenset({hz})
    ) > len(windows)
