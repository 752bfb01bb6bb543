"""Pieces of a drawing on a common time axis: bars of a waveform, and named stretches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from voicefork_cli.demo.spans import Span

BINS = 480  # bars of a waveform
FULL_SCALE = 32768
LEAST_SHARE = 0.085  # of the width: a narrower phase has no room for its name
NAMES = {
    "bot": "Bot", "music": "Hold music", "agent": "Agent", "caller": "Caller",
    "briefing": "Briefing",
}  # fmt: skip


def peaks(pcm: NDArray[np.int16], bins: int) -> list[float]:
    """The loudest sample (0..1) of each of `bins` equal parts."""
    edges = np.linspace(0, len(pcm), bins + 1).astype(int)
    loud = np.abs(pcm.astype(np.int32))
    parts = [loud[a:b] for a, b in pairwise(edges)]
    return [float(part.max()) / FULL_SCALE if len(part) else 0.0 for part in parts]


def bars(loud: Sequence[float], spans: Sequence[Span], seconds: float, otherwise: str) -> str:
    """Paths of one waveform, 0..BINS wide and -1..1 high, coloured by what sounds."""
    paths: dict[str, list[str]] = {}
    highest = max([*loud, 0.05])
    for number, value in enumerate(loud):
        middle = (number + 0.5) / len(loud) * seconds
        kind = next((s.what for s in spans if s.begin <= middle < s.end), otherwise)
        height = max(value / highest * 0.94, 0.012)
        bar = f"M{number + 0.5} {-height:.3f}V{height:.3f}"
        paths.setdefault(kind, []).append(bar)
    return "".join(f'<path class="{k}" d="{"".join(bars)}"/>' for k, bars in paths.items())


def lane(spans: Iterable[Span], seconds: float) -> str:
    return "".join(block(span, NAMES[span.what], span.what, seconds) for span in spans)


def block(span: Span, name: str, kind: str, seconds: float) -> str:
    left, width = percent(span.begin, seconds), percent(span.end, seconds)
    width -= left
    told = f"{name}, {span.begin:.2f} to {span.end:.2f} s"
    text = escape(name) if width >= 100 * LEAST_SHARE else ""
    style = f"left:{left:.3f}%;width:{width:.3f}%"
    return f'<span class="{kind}" style="{style}" title="{escape(told)}">{text}</span>'


def percent(at: float, seconds: float) -> float:
    return 100 * min(max(at / seconds, 0.0), 1.0)
