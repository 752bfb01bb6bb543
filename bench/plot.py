"""Two plain plots as SVG: bars and a curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, TOP, ROW = 720, 180, 70, 50, 28
PLOT_HEIGHT = 320
LABEL = 36  # a number's width


class Bar(NamedTuple):
    name: str
    value: float


def bars(title: str, rows: Sequence[Bar]) -> str:
    """One bar a row, each with its number."""
    longest = max((row.value for row in rows), default=0.0) or 1.0
    parts = []
    for number, (name, value) in enumerate(rows):
        y = TOP + number * ROW
        width = (WIDTH - LEFT - RIGHT) * value / longest
        parts += [
            _text(LEFT - 8, y + 15, name, "end"),
            f'<rect x="{LEFT}" y="{y + 3}" width="{width:.1f}" height="{ROW - 10}" fill="#36c"/>',
            _text(LEFT + width + 6, y + 15, f"{value:.2f}", "start"),
        ]
    return _svg(title, TOP + ROW * len(rows) + 10, parts)


def curve(title: str, points: Sequence[tuple[float, float]]) -> str:
    """A line through the points, each with its numbers; both axes begin at 0."""
    right = max((x for x, _ in points), default=0.0) or 1.0
    top = max((y for _, y in points), default=0.0) or 1.0
    width, height = WIDTH - 2 * RIGHT, PLOT_HEIGHT - TOP - 40
    placed = [(RIGHT + width * x / right, TOP + height * (1 - y / top)) for x, y in points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
    parts = [
        f'<polyline points="{RIGHT},{TOP} {RIGHT},{TOP + height} {RIGHT + width},{TOP + height}" '
        'fill="none" stroke="#888"/>',
        f'<polyline points="{line}" fill="none" stroke="#36c" stroke-width="2"/>',
    ]
    free_from = 0.0  # left of it a label would lie on another
    for (x, y), (px, py) in zip(points, placed, strict=True):
        parts.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="#36c"/>')
        if px >= free_from:
            free_from = px + LABEL
            parts.append(_text(px, py - 8, f"{y:.1f}", "middle"))
            parts.append(_text(px, TOP + height + 18, f"{x:g}", "middle"))
    return _svg(title, PLOT_HEIGHT, parts)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(title: str, height: int, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="13">'
    )
    background = '<rect width="100%" height="100%" fill="white"/>'
    return "\n".join((head, background, _text(20, 26, title, "start"), *parts, "</svg>", ""))
