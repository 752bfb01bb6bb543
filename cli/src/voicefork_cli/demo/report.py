"""report.html: the call as one page that needs nothing else, to be read, heard and passed on."""

from __future__ import annotations

import base64
import io
import re
import tempfile
import time
import wave
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voicefork_cli.demo.drawing import BINS, FULL_SCALE, bars, block, lane, peaks, percent
from voicefork_cli.demo.rows import Figure
from voicefork_cli.demo.spans import Span
from voicefork_cli.demo.timeline import Moment
from voicefork_cli.lab.templates import fill
from voicefork_cli.measure.packets import AUDIO_TYPES, Packet
from voicefork_cli.measure.pcm import decode
from voicefork_cli.sim.wav import write_conversation

BEFORE_SECONDS = 1.0  # of the first packet: what came earlier is not the call
HEADLINES = {
    "dead air during the whole handoff": "dead air, whole handoff",
    "  of it after the bot's last word": "bot's last word to music",
    "agent answered -> caller hears agent": "answer to agent's voice",
    "context published before the merge by": "context ahead of the voice",
    "context published before the music by": "context ahead of the music",
    "first audio after 200 OK": "answer to first audio",
    "briefing heard by the agent": "of briefing at the agent",
    "escalation -> REFER at the carrier": "escalation to REFER",
    "agent's key -> caller hears agent": "key to agent's voice",
    "question's end -> answer heard": "question to answer",
    "longest gap between packets": "longest gap in the audio",
}
HEADLINES_SHOWN = 4
MARKED = {"escalated": "asks for a human", "CONNECTED": "connected", "QUEUED": "in the queue"}


@dataclass(frozen=True, slots=True)
class AgentEar:
    """What the agent's phone heard; nothing where there was no agent."""

    packets: Sequence[Packet] = ()
    spans: Sequence[Span] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """Everything the page shows. `zero_ns` is where the recording begins (CLOCK_REALTIME)."""

    title: str
    wav: bytes  # stereo: left said, right heard
    zero_ns: int
    moments: Sequence[Moment]
    heard: Sequence[Span]
    handoff: Sequence[Span]
    figures: Sequence[Figure]
    facts: Sequence[tuple[str, str]]
    targets: Sequence[Figure] = ()
    agent: AgentEar = field(default_factory=AgentEar)

    @property
    def good(self) -> bool:
        return all(figure.good is not False for figure in (*self.figures, *self.targets))


def write_report(report: Report) -> str:
    """The page. Every text from the call is escaped."""
    template = resources.files(__package__).joinpath("report.html").read_text()
    said, heard = _channels(report.wav)
    seconds = max(len(heard) / 8000, 0.001)
    shown = [m for m in report.moments if _at(report, m) > -BEFORE_SECONDS and m.who != "lab"]
    return fill(
        template,
        {
            "TITLE": escape(report.title),
            "VERDICT": "all figures as demanded" if report.good else "not as demanded",
            "VERDICT_CLASS": "good" if report.good else "bad",
            "WHEN": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(report.zero_ns / 1e9)),
            "SECONDS": f"{seconds:.1f}",
            "HEADLINES": _headlines(report.figures),
            "SAID": bars(peaks(said, BINS), [], seconds, "caller"),
            "HEARD": bars(peaks(heard, BINS), report.heard, seconds, "quiet"),
            "HEARD_SPANS": lane(report.heard, seconds),
            "AGENT_LANES": _agent_lanes(report, seconds),
            "AGENT_AUDIO": _agent_audio(report),
            "LEGEND": _legend(report),
            "TARGETS": _targets(report.targets),
            "HANDOFF_LANE": _handoff_lane(report.handoff, seconds),
            "MARKS": _marks(report, shown, seconds),
            "AXIS": _axis(seconds),
            "WAV": base64.b64encode(report.wav).decode(),
            "FIGURES": "".join(map(_figure, report.figures)),
            "TRANSCRIPT": "".join(_line(report, moment) for moment in shown),
            "TIMELINE": "".join(_row(report, moment) for moment in shown),
            "FACTS": "".join(f"<dt>{escape(n)}</dt><dd>{escape(v)}</dd>" for n, v in report.facts),
        },
    )


def _channels(wav: bytes) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    with wave.open(io.BytesIO(wav)) as source:
        both = np.frombuffer(source.readframes(source.getnframes()), "<i2").reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _at(report: Report, moment: Moment) -> float:
    return (moment.at_ns - report.zero_ns) / 1e9


def _headlines(figures: Sequence[Figure]) -> str:
    found = [figure for figure in figures if figure.name in HEADLINES][:HEADLINES_SHOWN]
    cards = []
    for figure in found:
        number, unit, rest = _parted(figure.value)
        cards.append(
            f'<div class="card {_class(figure)}"><b>{number}<i>{unit}</i></b>'
            f"<span>{escape(HEADLINES[figure.name])}</span><small>{rest}</small></div>"
        )
    return "".join(cards)


def _parted(value: str) -> tuple[str, str, str]:
    """("0", "ms", "missing 0 + silent 0") of "0 ms (missing 0 + silent 0)", escaped."""
    found = re.fullmatch(r"(\S+) (ms)\s*\(?(.*?)\)?", value)
    parts = found.groups() if found else (value, "", "")
    number, unit, rest = (escape(part) for part in parts)
    return number, unit, rest


def _class(figure: Figure) -> str:
    return {True: "good", False: "bad", None: ""}[figure.good]


def _agent_lanes(report: Report, seconds: float) -> str:
    """The agent's ear under the caller's, on the same time."""
    if not report.agent.spans:
        return ""
    loud = [0.0] * BINS
    for packet in report.agent.packets:
        part = int((packet.arrival_ns - report.zero_ns) / 1e9 / seconds * BINS)
        codec = AUDIO_TYPES.get(packet.payload_type)
        if codec is not None and 0 <= part < BINS:
            level = float(np.abs(decode(packet.payload, codec).astype(np.int32)).max())
            loud[part] = max(loud[part], level / FULL_SCALE)
    drawn = bars(loud, report.agent.spans, seconds, "quiet")
    return (
        '<div class="label"><strong>Heard</strong> by the agent</div>'
        f'<svg viewBox="0 -1 {BINS} 2" preserveAspectRatio="none" role="img"'
        f' aria-label="waveform of what the agent heard">{drawn}</svg>'
        '<div class="label">Who is heard</div>'
        f'<div class="lane">{lane(report.agent.spans, seconds)}</div>'
    )


def _agent_audio(report: Report) -> str:
    """Only where there is something to hear that the caller does not: a briefing."""
    if not any(span.what == "briefing" for span in report.agent.spans):
        return ""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "agent.wav"
        write_conversation(path, (), report.agent.packets)
        wav = base64.b64encode(path.read_bytes()).decode()
    return (
        '<p class="ear">What the agent heard, from their answer on:</p>'
        f'<audio controls preload="auto" src="data:audio/wav;base64,{wav}"></audio>'
    )


def _legend(report: Report) -> str:
    """The colour that only some reports have."""
    whispered = any(span.what == "briefing" for span in report.agent.spans)
    return '<span><i class="dot briefing"></i>briefing</span>' if whispered else ""


def _targets(targets: Sequence[Figure]) -> str:
    if not targets:
        return ""
    rows = "".join(map(_figure, targets))
    return (
        "<section><h2>What the field asks for, by this one call</h2>"
        f'<table class="figures"><tbody>{rows}</tbody></table></section>'
    )


def _handoff_lane(spans: Sequence[Span], seconds: float) -> str:
    """The lane with its label; nothing where there was no handoff."""
    if not spans:
        return ""
    blocks = "".join(
        block(span, span.what.replace("_", " ").lower(), f"phase p{n % 2}", seconds)
        for n, span in enumerate(spans)
    )
    return f'<div class="label">Handoff</div><div class="lane">{blocks}</div>'


def _marks(report: Report, moments: Sequence[Moment], seconds: float) -> str:
    marks = []
    for moment in moments:
        word = moment.text.partition(" ")[0]
        if moment.who not in ("bot", "handoff") or word not in MARKED:
            continue
        at = percent(_at(report, moment), seconds)
        marks.append(
            f'<span class="{moment.who}" style="left:{at:.3f}%"><em>{MARKED[word]}</em></span>'
        )
    return "".join(marks)


def _axis(seconds: float) -> str:
    step = next((s for s in (1, 2, 5, 10, 30, 60) if seconds / s <= 12), 300)  # noqa: PLR2004
    ticks = range(0, int(seconds) + 1, step)
    return "".join(
        f'<span style="left:{percent(t, seconds):.3f}%">{t}{" s" if t == 0 else ""}</span>'
        for t in ticks
        if t < 0.98 * seconds
    )


def _figure(figure: Figure) -> str:
    mark, name = _class(figure), figure.name.strip().replace("->", "→")
    badge = f'<span class="badge {mark}">{mark}</span>' if mark else ""
    kind = "sub" if figure.name.startswith(" ") else ""
    return (
        f'<tr class="{kind}"><th scope="row">{escape(name)}</th>'
        f"<td>{escape(figure.value)}</td><td>{badge}</td></tr>"
    )


def _row(report: Report, moment: Moment) -> str:
    who = escape(moment.who)
    return (
        f"<tr><td>{_seek(report, moment)}</td>"
        f'<td><span class="dot {who}"></span>{who}</td><td>{escape(moment.text)}</td></tr>'
    )


def _seek(report: Report, moment: Moment) -> str:
    at = round(_at(report, moment), 2) + 0.0  # no "-0.00"
    return f'<button data-at="{max(at, 0):.3f}" aria-label="play from here">{at:.2f} s</button>'


def _line(report: Report, moment: Moment) -> str:
    """A sentence, or something that happened between two; empty for what nobody noticed."""
    word, _, rest = moment.text.partition(" ")
    match moment.who, word:
        case "caller" | "bot", "said":
            kind, text = f"bubble {moment.who}", rest
        case "bot", "heard":
            kind, text = "note right", f"understood: “{rest}”"
        case "bot", "escalated":
            kind, text = "note", f"The bot asks for a human: {rest}"
        case "screen", "shows:":
            kind, text = "note", f"On the agent's screen: “{rest}”"
        case "agent", "hears:":
            kind, text = "bubble briefing", f"To the agent alone: “{rest}”"
        case "PBX", "REFER:":
            kind, text = "note", f"The PBX asks by REFER: {rest}"
        case ("agent", _) | ("caller", "hangs"):
            kind, text = "note", f"{moment.who.capitalize()} {moment.text}"
        case "handoff", "CALLER_HELD" | "CONNECTED" | "QUEUED" as phase:
            kind, text = "note", _NOTED[phase]
        case _:
            return ""
    return f'<li class="{kind}"><p>{escape(text)}</p>{_seek(report, moment)}</li>'


_NOTED = {
    "CALLER_HELD": "The caller hears hold music",
    "CONNECTED": "Caller and agent are connected",
    "QUEUED": "The caller waits in the queue",
}
