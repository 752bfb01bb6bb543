"""`voicefork demo`: starts everything, tells a story, measures it, writes it down."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path

from voicefork_cli.demo.cast import Cast, open_cast
from voicefork_cli.demo.figures import Figure, question_figures
from voicefork_cli.demo.screen import Screen
from voicefork_cli.demo.story import follow_vendor, tell_question
from voicefork_cli.demo.timeline import Timeline
from voicefork_cli.lab.errors import LabError
from voicefork_cli.lab.processes import open_lab
from voicefork_cli.sim.errors import SimError

STORY_SECONDS = 55.0


async def run_demo(out: Path, screen: Screen) -> int:
    """The exit code: 0 when every demanded figure is good."""
    timeline = Timeline(screen.show)
    try:
        async with open_lab() as lab:
            began = time.time_ns()
            timeline.add(began, "lab", "starts redis, rtpengine, Asterisk and Voicefork")
            async with open_cast(lab, screen.step) as cast:
                timeline.add(time.time_ns(), "lab", "everything runs")
                async with asyncio.timeout(STORY_SECONDS):
                    figures = await _told(cast, timeline)
                _write(out, cast, timeline, figures)
    except (LabError, SimError, TimeoutError) as error:
        screen.say(f"[bold red]demo failed:[/] {str(error) or 'it took too long'}")
        for note in getattr(error, "__notes__", ()):
            screen.say(str(note))
        return 1
    screen.table("Measured on the RTP that the caller received", figures)
    screen.say(f"written: {out}/call.wav (left said, right heard), {out}/timeline.json")
    return 0 if all(figure.good is not False for figure in figures) else 1


async def _told(cast: Cast, timeline: Timeline) -> list[Figure]:
    follower = asyncio.create_task(follow_vendor(cast, timeline))
    try:
        question = await tell_question(cast, timeline)
    finally:
        await asyncio.sleep(0.1)  # what the vendor wrote last
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)
    return question_figures(cast.caller.heard, question)


def _write(out: Path, cast: Cast, timeline: Timeline, figures: Sequence[Figure]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    cast.caller.save_wav(out / "call.wav")
    zero = cast.caller.events[0].at_ns
    report = {
        "figures": [{"name": f.name, "value": f.value, "good": f.good} for f in figures],
        "timeline": timeline.as_list(zero),
    }
    (out / "timeline.json").write_text(json.dumps(report, indent=1, ensure_ascii=False))
