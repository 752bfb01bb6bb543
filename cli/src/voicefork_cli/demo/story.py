"""The question: a caller asks something and the bot answers."""

from __future__ import annotations

import asyncio
import time

from voicefork_cli.demo.cast import Cast
from voicefork_cli.demo.ears import until_quiet
from voicefork_cli.demo.figures import Question
from voicefork_cli.demo.timeline import Timeline
from voicefork_cli.measure.heard import is_silent
from voicefork_cli.sim.source import Clip, Silence
from voicefork_cli.sim.speech import say

NUMBER = "+14155550199"
QUESTION = "What are your opening hours?"
GOODBYE = "Goodbye."
EXPECTED = "opening hours"
BREATH_SECONDS = 0.8  # of quiet before a person takes the turn
TURN_SECONDS = 15.0
HANG_UP_SECONDS = 8.0


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
    await _bot_said(cast, "Hello", TURN_SECONDS)
    await until_quiet(cast.caller, time.time_ns(), quiet_seconds=BREATH_SECONDS, limit=TURN_SECONDS)


async def ask(cast: Cast, timeline: Timeline, text: str) -> int:
    """Says something; returns when it was over."""
    clip = Clip(await say(text))
    timeline.add(time.time_ns(), "caller", f"said {text}")
    cast.caller.play(clip)
    await asyncio.sleep(clip.seconds)
    return time.time_ns()


async def tell_question(cast: Cast, timeline: Timeline) -> Question:
    """The whole call; what was heard is measured afterwards."""
    caller = cast.caller
    await call_in(cast, timeline)
    asked_until = await ask(cast, timeline, QUESTION)
    await until_quiet(caller, asked_until, quiet_seconds=BREATH_SECONDS, limit=TURN_SECONDS)
    await ask(cast, timeline, GOODBYE)
    try:
        async with asyncio.timeout(HANG_UP_SECONDS):
            await caller.ended.wait()
        timeline.add(caller.ended_ns or time.time_ns(), "PBX", "BYE")
    except TimeoutError:
        await caller.hang_up()
        timeline.add(time.time_ns(), "caller", "hangs up")
    lines = cast.vendor_lines()
    recognised = [str(line["text"]) for line in lines if line["event"] == "heard"]
    heard_at = next((i for i, line in enumerate(lines) if line["event"] == "heard"), len(lines))
    said = [str(line["text"]) for line in lines[heard_at:] if line["event"] == "said"]
    return Question(
        answered_ns=caller.answered_ns or 0,
        ended_ns=caller.ended_ns or time.time_ns(),
        expected=EXPECTED,
        recognised=recognised,
        answer=said[0] if said else "",
        asked_until_ns=asked_until,
        answer_heard_ns=_audible_from(cast, asked_until),
    )


def _audible_from(cast: Cast, after_ns: int) -> int | None:
    packets = cast.caller.heard
    return next(
        (p.arrival_ns for p in packets if p.arrival_ns > after_ns and not is_silent(p)), None
    )


async def _bot_said(cast: Cast, beginning: str, limit: float) -> None:
    async with asyncio.timeout(limit):
        while True:
            said = [str(line["text"]) for line in cast.vendor_lines() if line["event"] == "said"]
            if any(text.startswith(beginning) for text in said):
                return
            await asyncio.sleep(0.05)
