"""The handoff bench's figures as bars, one group a figure."""

from __future__ import annotations

from bench.handoff_figures import Figures
from bench.plot import Bar, bars

SHOWN = (
    ("hold_heard_ms", "music heard"),
    ("answer_heard_ms", "agent heard"),
    ("merge_ms", "merge"),
)


def plot(figures: Figures) -> str:
    """SVG: p50 and p99 of what there is, in milliseconds."""
    patterns, bare = figures["patterns"], figures["bare_ari"]
    assert isinstance(patterns, list)
    rows = [
        Bar(f"{what}, {each['pattern']} p{percent}", value)
        for name, what in SHOWN
        for each in (*patterns, bare)
        for percent in (50, 99)
        if isinstance(value := each[f"{name}_p{percent}"], float)
    ]
    return bars("Handoffs: milliseconds at the caller's socket", rows)
