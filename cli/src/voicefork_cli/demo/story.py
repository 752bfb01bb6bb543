"""What every story has: dialling in, speaking, and listening to what the vendor tells."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from voicefork_cli.demo.cast import Cast
from voicefork_cli.demo.ears import until_quiet
from voicefork_cli.demo.timeline import Timeline
from voicefork_cli.measure.packets import Packet
from voicefork_cli.sim.caller import open_caller
from voicefork_cli.sim.source import Clip, Silence
from voicefork_cli.sim.speech import say

NUMBER = "+14155550199"
CONTROL_NUMBER = "901"  # music on hold, without bot or handoff
VOICE = "rms"  # of flite; the bot speaks with another
BREATH_SECONDS = 0.8  # of quiet before a person takes the turn
TURN_SECONDS = 15.0


async def follow_vendor(cast: Cast, timeline: Timeline) -> None:
    """Copies what the AI vendor writes into the timeline, until cancelled."""
    told = 0
    while True:
        lines = cast.vendor_lines()
        for line in lines[told:]:
            at_ns = int(float(str(line["t"])) * 1e9)
            timeline.add(at_ns, "bot", f"{line['event']} {line['text']}")
        told = len(lines)
        await asyncio.sleep(0.05)


async def call_in(cast: Cast, timeline: Timeline) -> None:
    """Dials and waits for the bot's greeting to be over."""
    dialled = time.time_ns()
    timeline.add(dialled, "caller", f"dials {NUMBER}")
    host = cast.edge.uri.partition(":")[2]
    await cast.caller.dial(f"sip:{NUMBER}@{host}", Silence())
    timeline.add(cast.caller.answered_ns or dialled, "PBX", "200 OK")
    await next_line(cast, "said", TURN_SECONDS, "Hello")
    await until_quiet(cast.caller, time.time_ns(), quiet_seconds=BREATH_SECONDS, limit=TURN_SECONDS)


async def ask(cast: Cast, timeline: Timeline, text: str) -> int:
    """Says something; returns when it was over."""
    clip = Clip(await say(text, voice=VOICE))
    timeline.add(time.time_ns(), "caller", f"said {text}")
    cast.caller.play(clip)
    await asyncio.sleep(clip.seconds)
    return time.time_ns()


async def next_line(cast: Cast, event: str, limit: float, beginning: str = "") -> dict[str, object]:
    """The first thing of this kind that the vendor tells. Raises TimeoutError."""
    async with asyncio.timeout(limit):
        while True:
            for line in cast.vendor_lines():
                if line["event"] == event and str(line["text"]).startswith(beginning):
                    return line
            await asyncio.sleep(0.05)


@asynccontextmanager
async def control_call(cast: Cast) -> AsyncIterator[list[Packet]]:
    """A caller who only hears music: what this machine's load alone does to a call's packets."""
    async with open_caller() as control:
        await control.dial(f"sip:{CONTROL_NUMBER}@{cast.stack.asterisk.sip}", Silence())
        yield control.heard
