"""The question: a caller asks something and the bot answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from voicefork_cli.demo.cast import Cast
from voicefork_cli.demo.ears import until_quiet
from voicefork_cli.demo.story import BREATH_SECONDS, TURN_SECONDS, ask, call_in, control_call
from voicefork_cli.demo.timeline import Timeline
from voicefork_cli.measure.heard import is_silent
from voicefork_cli.measure.packets import Packet

QUESTION = "What are your opening hours?"
GOODBYE = "Goodbye."
EXPECTED = "opening hours"
HANG_UP_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class Question:
    """A call in which the bot alone answers. Times are arrivals at the caller."""

    answered_ns: int
    ended_ns: int
    expected: str
    recognised: Sequence[str]
    answer: str  # what the bot said to it, by its own diary
    asked_until_ns: int | None
    greeted_ns: int  # the bot began its first words, by its own diary
    control: tuple[Packet, ...]  # what a caller of plain music heard in the same time
    answer_heard_ns: int | None  # may be before the question's end: the bot need not wait for it


async def tell_question(cast: Cast, timeline: Timeline) -> Question:
    """The whole call, with a control call beside it; what was heard is measured afterwards."""
    async with control_call(cast) as control:
        question = await _asked(cast, timeline)
        return replace(question, control=tuple(control))


async def _asked(cast: Cast, timeline: Timeline) -> Question:
    caller = cast.caller
    await call_in(cast, timeline)
    quiet_from = time.time_ns()
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
        greeted_ns=int(float(str(next(x for x in lines if x["event"] == "said")["t"])) * 1e9),
        control=(),
        answer_heard_ns=_audible_from(cast, quiet_from),
    )


def _audible_from(cast: Cast, after_ns: int) -> int | None:
    packets = cast.caller.heard
    return next(
        (p.arrival_ns for p in packets if p.arrival_ns > after_ns and not is_silent(p)), None
    )
