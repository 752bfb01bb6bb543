"""`voicefork demo`: starts everything, tells a story, measures it, writes it down."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import grpc
from rich.markup import escape

from voicefork_cli.demo.cast import Cast, open_cast
from voicefork_cli.demo.dispute import AgentMood, tell_dispute
from voicefork_cli.demo.figures import dispute_figures, question_figures
from voicefork_cli.demo.pattern_figures import field_figures
from voicefork_cli.demo.patterns import Pattern
from voicefork_cli.demo.question import tell_question
from voicefork_cli.demo.report import AgentEar, Report, write_report
from voicefork_cli.demo.rows import Figure
from voicefork_cli.demo.screen import Screen
from voicefork_cli.demo.spans import agent_spans, handoff_spans, heard_spans
from voicefork_cli.demo.story import follow_vendor
from voicefork_cli.demo.surroundings import Fact, surroundings
from voicefork_cli.demo.timeline import Timeline
from voicefork_cli.lab.errors import LabError
from voicefork_cli.lab.processes import open_lab
from voicefork_cli.measure.packets import Packet
from voicefork_cli.sim.errors import SimError
from voicefork_cli.sim.wav import write_conversation

STORY_SECONDS = 75.0


class Story(Enum):
    """What is told: a caller who ends with a human, or one whom the bot can help."""

    DISPUTE = "dispute"
    QUESTION = "question"


@dataclass(frozen=True, slots=True)
class DemoPlan:
    out: Path
    story: Story = Story.DISPUTE
    agent: AgentMood = AgentMood.ANSWER
    pattern: Pattern = Pattern.ATTENDED

    @property
    def title(self) -> str:
        if self.story is Story.QUESTION:
            return "A question, answered by the bot"
        how = self.pattern.title
        return {
            AgentMood.ANSWER: f"A dispute, {how}",
            AgentMood.BUSY: f"A dispute, {how}: the agent is busy",
            AgentMood.DECLINE: f"A dispute, {how}: the agent declines",
            AgentMood.NO_ANSWER: f"A dispute, {how}: no agent answers",
        }[self.agent]


@dataclass(frozen=True, slots=True)
class Told:
    """A story that was told: its figures, those the field asks for, and the agent's ear."""

    figures: list[Figure]
    targets: list[Figure]
    agent_heard: tuple[Packet, ...] = ()

    @property
    def bad(self) -> list[str]:
        return [f.name.strip() for f in (*self.figures, *self.targets) if f.good is False]


async def run_demo(plan: DemoPlan, screen: Screen) -> int:
    """The exit code: 0 when every demanded figure is good. SIGTERM cancels it."""
    timeline = Timeline(screen.show)
    told: Told | None = None
    failed = False
    story = asyncio.current_task()
    assert story is not None
    # Cancelled rather than killed: everything that was started ends in order, its folder too.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, story.cancel)
    try:
        plan.out.mkdir(parents=True, exist_ok=True)  # before the call rather than after it
        async with open_lab() as lab:
            timeline.add(time.time_ns(), "lab", "starts redis, rtpengine, Asterisk and Voicefork")
            async with open_cast(lab, screen.step, plan.pattern) as cast:
                timeline.add(time.time_ns(), "lab", "everything runs")
                async with asyncio.timeout(STORY_SECONDS):
                    told = await _told(plan, cast, timeline, screen)
                _write(plan, cast, timeline, told, await surroundings(cast))
    except* (LabError, SimError, OSError, TimeoutError, grpc.aio.AioRpcError) as errors:
        failed = True
        _complain(errors, screen)
    if told is None:
        return 1
    screen.table("Measured on the RTP that caller and agent received", told.figures)
    if told.targets:
        screen.table("What the field asks for, by this one call", told.targets)
    if told.bad:
        screen.say(f"[bold red]not as demanded:[/] {'; '.join(told.bad)}")
    if not failed:
        screen.say(
            f"written: {plan.out}/report.html, {plan.out}/call.wav (left said, right heard),"
            f" {plan.out}/timeline.json"
        )
    return 1 if told.bad or failed else 0


def _complain(errors: BaseExceptionGroup[Exception], screen: Screen) -> None:
    """Each error and, once, what was noted about it or about the group it came in."""
    notes: dict[str, None] = {}
    for error in _leaves(errors):
        what = str(error) or f"the call took longer than {STORY_SECONDS:g} s"
        screen.say(f"[bold red]demo failed:[/] {escape(what)}")
        notes |= dict.fromkeys(getattr(error, "__notes__", ()))
    notes |= dict.fromkeys(getattr(errors, "__notes__", ()))
    for note in notes:
        screen.say(note)


async def _told(plan: DemoPlan, cast: Cast, timeline: Timeline, screen: Screen) -> Told:
    follower = asyncio.create_task(follow_vendor(cast, timeline))
    printer = asyncio.create_task(screen.run())
    try:
        if plan.story is Story.QUESTION:
            question = await tell_question(cast, timeline)
            return Told(question_figures(cast.caller.heard, question), [])
        dispute = await tell_dispute(cast, timeline, plan.agent, plan.pattern)
        expected = plan.pattern.outcome(answers=plan.agent is AgentMood.ANSWER)
        as_expected = dispute.handoff.outcome == expected
        return Told(
            dispute_figures(cast.heard, dispute, expected),
            field_figures(cast.heard, dispute, as_expected=as_expected),
            dispute.agent_heard,
        )
    finally:
        await asyncio.sleep(0.1)  # what the vendor wrote last
        follower.cancel()
        printer.cancel()
        await asyncio.gather(follower, printer, return_exceptions=True)


def _write(
    plan: DemoPlan,
    cast: Cast,
    timeline: Timeline,
    told: Told,
    facts: Sequence[Fact],
) -> None:
    out = plan.out
    write_conversation(out / "call.wav", cast.said, cast.heard)
    page = write_report(_report(plan, cast, timeline, told, facts))
    (out / "report.html").write_text(page, encoding="utf-8")
    zero = cast.caller.events[0].at_ns
    report = {
        "figures": [{"name": f.name, "value": f.value, "good": f.good} for f in told.figures],
        "targets": [{"name": f.name, "value": f.value, "good": f.good} for f in told.targets],
        "timeline": timeline.as_list(zero),
    }
    (out / "timeline.json").write_text(json.dumps(report, indent=1, ensure_ascii=False))


def _report(
    plan: DemoPlan,
    cast: Cast,
    timeline: Timeline,
    told: Told,
    facts: Sequence[Fact],
) -> Report:
    caller, moments = cast.caller, timeline.moments
    begins = [packets[0][0] for packets in (cast.said, cast.heard) if packets]
    zero = min(begins, default=caller.events[0].at_ns)  # where the recording begins
    ended = ((cast.ended_ns or time.time_ns()) - zero) / 1e9
    return Report(
        title=plan.title,
        wav=(plan.out / "call.wav").read_bytes(),
        zero_ns=zero,
        moments=moments,
        heard=heard_spans(cast.heard, zero),
        agent=AgentEar(told.agent_heard, agent_spans(told.agent_heard, zero)),
        handoff=handoff_spans(moments, zero, ended),
        figures=told.figures,
        targets=told.targets,
        facts=facts,
    )


def _leaves(group: BaseExceptionGroup[Exception]) -> list[Exception]:
    found: list[Exception] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
