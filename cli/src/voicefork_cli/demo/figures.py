"""The demo's table: measured on the RTP that the caller received, and on nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from voicefork_cli.measure.heard import hear
from voicefork_cli.measure.packets import PACKET_MS, Packet
from voicefork_cli.measure.tones import tone_timeline

SURE_PACKETS = 5  # a tone is heard when it sounds for 100 ms: speech has chance tones, too
NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Figure:
    """One row. `good` is None where nothing is demanded."""

    name: str
    value: str
    good: bool | None = None


def milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"


def since(later_ns: int | None, earlier_ns: int | None) -> float | None:
    """Milliseconds between two moments, None if one did not happen."""
    if later_ns is None or earlier_ns is None:
        return None
    return (later_ns - earlier_ns) / NS_PER_MS


def steady_tone_from(
    packets: Sequence[Packet], hz: float, candidates: tuple[float, ...], after_ns: int
) -> int | None:
    """Arrival of the first packet of a stretch of `hz` alone that lasts 100 ms."""
    heard = [packet for packet in packets if packet.arrival_ns >= after_ns]
    for stretch in tone_timeline(heard, candidates):
        if stretch.hz == {hz} and stretch.packets >= SURE_PACKETS:
            return stretch.from_ns
    return None


@dataclass(frozen=True, slots=True)
class Question:
    """A call in which the bot alone answers. Times are arrivals at the caller."""

    answered_ns: int
    ended_ns: int
    expected: str
    recognised: Sequence[str]
    answer: str  # what the bot said to it, by its own diary
    asked_until_ns: int | None
    answer_heard_ns: int | None


def question_figures(packets: Sequence[Packet], call: Question) -> list[Figure]:
    """From the 200 OK to the hang-up."""
    heard = hear(packets, call.answered_ns, call.ended_ns)
    first = since(heard.first_audio_ns, call.answered_ns)
    understood = any(call.expected in phrase for phrase in call.recognised)
    answered = since(call.answer_heard_ns, call.asked_until_ns)
    return [
        Figure("first audio after 200 OK", milliseconds(first), first is not None),
        Figure("missing (no packet for more than 60 ms)", milliseconds(heard.missing_ms), None),
        Figure("longest gap between packets", milliseconds(heard.longest_gap_ms), None),
        Figure("packets received", f"{heard.packets} of {_expected_packets(call)}", None),
        Figure("words recognised by the AI", ", ".join(call.recognised) or "-", understood),
        Figure("the bot's answer", call.answer or "-", bool(call.answer)),
        Figure("question's end -> answer heard", milliseconds(answered), answered is not None),
    ]


def _expected_packets(call: Question) -> int:
    return round((call.ended_ns - call.answered_ns) / NS_PER_MS / PACKET_MS)
