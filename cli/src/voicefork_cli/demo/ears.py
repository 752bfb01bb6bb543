"""Listening as a person does: speak when the other one has finished."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from voicefork_cli.measure.heard import is_silent
from voicefork_cli.measure.packets import Packet
from voicefork_cli.sim.errors import CallTimeout
from voicefork_cli.sim.leg import Leg

LOOK_SECONDS = 0.05


async def until_quiet(leg: Leg, after_ns: int, *, quiet_seconds: float, limit: float) -> int:
    """Waits until something was audible after `after_ns` and then nothing for `quiet_seconds`.

    Returns the arrival of the last audible packet. Raises CallTimeout.
    """
    seen, last = 0, 0
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        heard = leg.heard
        for packet in heard[seen:]:
            if packet.arrival_ns > after_ns and not is_silent(packet):
                last = packet.arrival_ns
        seen = len(heard)
        if last and time.time_ns() - last > quiet_seconds * 1e9:
            return last
        await asyncio.sleep(LOOK_SECONDS)
    raise CallTimeout(f"nothing to be heard and then quiet in {limit:g} s")


def audible_until(packets: Sequence[Packet], before_ns: int) -> int | None:
    """Arrival of the last audible packet before a moment."""
    return next(
        (p.arrival_ns for p in reversed(packets) if p.arrival_ns < before_ns and not is_silent(p)),
        None,
    )
