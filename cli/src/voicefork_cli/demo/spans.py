"""Who is heard when, and how far the handoff is: stretches of time to draw under a waveform."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from voicefork_cli.demo.cast import AGENT_HZ, CALLER_HZ, MUSIC_HZ
from voicefork_cli.demo.timeline import Moment
from voicefork_cli.measure.heard import is_silent
from voicefork_cli.measure.packets import PACKET_MS, Packet
from voicefork_cli.measure.tones import is_pure

BOT, MUSIC, AGENT, CALLER, BRIEFING, QUIET = "bot", "music", "agent", "caller", "briefing", ""
PAUSE_SECONDS = 1.0  # between two words of one speech
_CALLERS_EAR = {MUSIC: MUSIC_HZ, AGENT: AGENT_HZ}
_AGENTS_EAR = {CALLER: CALLER_HZ, MUSIC: MUSIC_HZ}


@dataclass(frozen=True, slots=True)
class Span:
    """Seconds since the call's first packet."""

    begin: float
    end: float
    what: str


def heard_spans(packets: Sequence[Packet], zero_ns: int) -> list[Span]:
    """What the caller heard: the bot's speech, music, the agent's tone; nothing where quiet."""
    return _spans(_runs(packets, zero_ns, _CALLERS_EAR, BOT))


def agent_spans(packets: Sequence[Packet], zero_ns: int) -> list[Span]:
    """What the agent heard: a briefing, the caller's tone; nothing where it was quiet."""
    return _spans(_runs(packets, zero_ns, _AGENTS_EAR, BRIEFING))


def _spans(runs: Sequence[Span]) -> list[Span]:
    spans: list[Span] = []
    for run in runs:
        if run.what == QUIET:
            continue
        last = spans[-1] if spans else None
        if last and last.what == run.what and run.begin - last.end < PAUSE_SECONDS:
            spans[-1] = replace(last, end=run.end)
        else:
            spans.append(run)
    return spans


def handoff_spans(moments: Sequence[Moment], zero_ns: int, end: float) -> list[Span]:
    """Each phase of the handoff to the next one, the last to the end of the call."""
    begun = [
        Span((m.at_ns - zero_ns) / 1e9, end, m.text.partition(" ")[0])
        for m in moments
        if m.who == "handoff"
    ]
    closed = [replace(span, end=following.begin) for span, following in pairwise(begun)]
    return [span for span in (*closed, *begun[-1:]) if span.end > span.begin]


def _runs(
    packets: Sequence[Packet], zero_ns: int, tones: Mapping[str, float], speech: str
) -> list[Span]:
    """Packets of one kind in a row. A run lasts to the arrival of the next one."""
    runs: list[Span] = []
    for packet in packets:
        at = (packet.arrival_ns - zero_ns) / 1e9
        what, end = _kind(packet, tones, speech), at + PACKET_MS / 1000
        if runs and runs[-1].what == what:
            runs[-1] = replace(runs[-1], end=end)
        else:
            if runs and at - runs[-1].end < PACKET_MS / 1000:
                runs[-1] = replace(runs[-1], end=at)
            runs.append(Span(at, end, what))
    return runs


def _kind(packet: Packet, tones: Mapping[str, float], speech: str) -> str:
    if is_silent(packet):
        return QUIET
    return next((who for who, hz in tones.items() if is_pure(packet, hz)), speech)
