"""The plot of bench/scaling.py: pods over the day, and what was refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from xml.sax.saxutils import escape

WIDTH, PANEL, LEFT, RIGHT, TOP, GAP = 900, 230, 60, 30, 100, 100
COLOURS = ("#0a58ca", "#6f42c1", "#d9730d", "#198754")
HOUR = 3600.0


class Shown(Protocol):
    policy: str
    day: str
    refused: int
    pod_hours: float
    curve: list[tuple[float, int, int]]


def plot(results: Sequence[Shown], per_pod: float) -> str:
    """One panel a day: a line of pods for each policy, over the pods that the calls would fill."""
    days = list(dict.fromkeys(result.day for result in results))
    height = TOP + len(days) * (PANEL + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        _text(LEFT, 24, "Workers over the day, and calls that found none", size=16),
    ]
    for number, day in enumerate(days):
        shown = [result for result in results if result.day == day]
        parts += _panel(day, shown, TOP + number * (PANEL + GAP), per_pod)
    return "\n".join([*parts, "</svg>\n"])


def _panel(day: str, shown: Sequence[Shown], top: float, per_pod: float) -> list[str]:
    begin, end = (9.5, 12.5) if "flash" in day else (0.0, 24.0)
    most = max(pods for result in shown for _, _, pods in result.curve)
    wide = WIDTH - LEFT - RIGHT

    def place(seconds: float, pods: float) -> str:
        x = LEFT + wide * (seconds / HOUR - begin) / (end - begin)
        return f"{x:.1f},{top + PANEL * (1 - pods / (most * 1.05)):.1f}"

    def inside(result: Shown) -> list[tuple[float, int, int]]:
        return [point for point in result.curve if begin <= point[0] / HOUR <= end]

    needed = [place(at, calls / per_pod) for at, calls, _ in inside(shown[0])]
    floor = [place(end * HOUR, 0), place(begin * HOUR, 0)]
    parts = [
        _text(LEFT, top - 46, f"{day} (pods; shaded: calls divided by {per_pod:.0f})", size=13),
        f'<polygon points="{" ".join([*needed, *floor])}" fill="#ddd"/>',
    ]
    step = 3.0 if end - begin > 6 else 0.5  # noqa: PLR2004 - hours that fit beside each other
    ticks = int((end - begin) / step)
    for each in range(ticks + 1):
        hour = begin + each * step
        x = LEFT + wide * (hour - begin) / (end - begin)
        label = f"{int(hour):02d}:{int(hour % 1 * 60):02d}"
        parts.append(_text(x, top + PANEL + 16, label, anchor="middle"))
    for pods in range(0, int(most * 1.05) + 1, max(int(most / 5), 1)):
        y = float(place(0.0, pods).split(",")[1])
        parts += [
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#eee"/>',
            _text(LEFT - 6, y + 4, str(pods), anchor="end"),
        ]
    for number, (result, colour) in enumerate(zip(shown, COLOURS, strict=False)):
        line = " ".join(place(at, pods) for at, _, pods in inside(result))
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        )
        said = f"{result.policy}: {result.refused:,} refused, {result.pod_hours:.0f} pod-hours"
        x, y = LEFT + 400 * (number % 2), top - 28 + 16 * (number // 2)
        parts += [
            f'<rect x="{x}" y="{y - 9}" width="10" height="10" fill="{colour}"/>',
            _text(x + 16, y, said),
        ]
    return parts


def _text(x: float, y: float, text: str, *, size: int = 12, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )
