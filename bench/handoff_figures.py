"""What a bench's handoffs came to: percentiles, failures with their reasons, aims, a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from rich.console import Console
from rich.table import Table

from bench.handoff_calls import Handed
from bench.handoff_ways import OURS, Pattern

PERCENTS = (50, 95, 99)
RANKED = ("ack", "hold_heard", "answer_heard", "key_heard", "merge", "referred")
AIMS = {
    "failed": 0.0, "ack_ms_p99": 50.0, "hold_heard_ms_p50": 40.0, "hold_heard_ms_p99": 100.0,
    "silent_frames": 0.0, "missing_ms_max": 0.0, "merge_ms_p99": 50.0, "witness_off_ms_max": 20.0,
}  # fmt: skip
RATIO_AIM = 1.5
RATIO_OF = ("hold_heard_ms", "answer_heard_ms")
BOUND_AIM = 0.003  # of the main pattern's handoffs fail, at 95 %
WHOLE_FROM = 100  # milliseconds that are shown without tenths
Figures = dict[str, object]


@dataclass(slots=True)
class Tally:
    """What one pattern's handoffs came to."""

    handed: list[Handed] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.handed) + len(self.failures)

    def of(self, name: str) -> list[float]:
        return [float(value) for each in self.handed if (value := getattr(each, name)) is not None]

    def failed(self, error: BaseException) -> None:
        notes = "; ".join(getattr(error, "__notes__", ()))
        told = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
        self.failures.append(f"{told} [{notes}]" if notes else told)

    def figures(self, name: str) -> Figures:
        """None where a pattern has no such thing, or nothing was measured."""
        figures: Figures = {"pattern": name, "handoffs": self.count, "failed": len(self.failures)}
        for what in RANKED:
            values = self.of(f"{what}_ms")
            figures |= {f"{what}_ms_p{n}": percentile(values, n) for n in PERCENTS}
        figures["silent_frames"] = round(sum(self.of("silent_frames")))
        for what in ("missing_ms", "longest_gap_ms", "witness_off_ms"):
            values = self.of(what)
            figures[f"{what}_max"] = round(max(values), 1) if values else None
        figures["failures"] = dict(Counter(self.failures))
        return figures


def percentile(values: Sequence[float], percent: int) -> float | None:
    """The nearest rank; None of nothing."""
    if not values:
        return None
    ranked = sorted(values)
    return round(ranked[max(0, -(-len(ranked) * percent // 100) - 1)], 1)


def failure_bound(count: int, failed: int) -> float | None:
    """Below this is the failure rate, at 95 %, after `count` handoffs (Clopper-Pearson).

    Without a failure 3/n, near enough; found by halving: the binomial's tail falls with the rate.
    """
    if not count:
        return None
    low, high = failed / count, 1.0
    for _ in range(50):
        rate = (low + high) / 2
        low, high = (rate, high) if _at_most(failed, count, rate) > 1 - 0.95 else (low, rate)
    return high


def _at_most(failed: int, count: int, rate: float) -> float:
    """The probability of so few failures."""
    if rate >= 1.0:
        return float(failed >= count)
    term = total = (1 - rate) ** count
    for n in range(1, failed + 1):
        term *= (count - n + 1) / n * rate / (1 - rate)
        total += term
    return total


def ratios(ours: Tally, bare: Tally) -> dict[str, float | None]:
    """Our medians by the bare script's."""
    names = ("hold_heard_ms", "answer_heard_ms", "merge_ms")
    return {
        name: round(median(ours.of(name)) / median(bare.of(name)), 2)
        if ours.of(name) and bare.of(name)
        else None
        for name in names
    }


def compared(tallies: Mapping[Pattern, Tally]) -> Figures:
    """All patterns, the bare script, and ATTENDED by it."""
    found = ratios(tallies[Pattern.ATTENDED], tallies[Pattern.BARE])
    heard = [ratio for name in RATIO_OF if (ratio := found[name]) is not None]
    return {
        "patterns": [tallies[pattern].figures(pattern.value) for pattern in OURS],
        "bare_ari": tallies[Pattern.BARE].figures(Pattern.BARE.value),
        "bare_ari_ratio": max(heard) if len(heard) == len(RATIO_OF) else None,
        "bare_ari_ratio_is": "our median by the script's, the larger of " + " and ".join(RATIO_OF),
        "bare_ari_ratios": found,
    }


def mains(tally: Tally) -> Figures:
    """Many handoffs of the main pattern, and what their number says."""
    bound = failure_bound(tally.count, len(tally.failures))
    return {**tally.figures(Pattern.ATTENDED.value), "failure_rate_below_95": bound}


def misses(figures: Figures) -> list[str]:
    """The aims that are missed."""
    missed = []
    patterns = figures["patterns"]
    assert isinstance(patterns, list)
    main = figures.get("main")
    for each in [*patterns, *([main] if main else [])]:
        if each["handoffs"]:
            missed += [f"{each['pattern']}: {text}" for text in _missed(each)]
    ratio = figures["bare_ari_ratio"]
    if not isinstance(ratio, float) or ratio > RATIO_AIM:
        missed.append(f"bare_ari_ratio {ratio}, aim {RATIO_AIM:g}")
    return missed


def _missed(each: Mapping[str, object]) -> list[str]:
    found = []
    for name, aim in AIMS.items():
        value = each[name]
        if isinstance(value, int | float) and value > aim:
            found.append(f"{name} {value:g}, aim {aim:g}")
    return found


def show(figures: Figures, console: Console) -> None:
    """The table, a column for each pattern."""
    patterns, bare, main = figures["patterns"], figures["bare_ari"], figures.get("main")
    assert isinstance(patterns, list)
    assert isinstance(bare, dict)
    columns = [*patterns, bare]
    if isinstance(main, dict):
        columns.append({**main, "pattern": f"{main['pattern']} x {main['handoffs']}"})
    table = Table(title="Handoffs on a real Asterisk", title_justify="left")
    table.add_column("ms: p50 / p95 / p99")
    for column in columns:
        table.add_column(column["pattern"], justify="right")
    table.add_column("aim", justify="right")
    for name in _rows(bare):
        values = [_cell(column, name) for column in columns]
        if any(value != "-" for value in values):
            table.add_row(name, *values, _aim(name))
    console.print(table)
    console.print(f"ATTENDED by the bare script (medians): {figures['bare_ari_ratios']}")
    for column in columns:
        for reason, times in column["failures"].items():
            console.print(f"failed: {column['pattern']}: {times} x {reason}", markup=False)


def _rows(figures: Mapping[str, object]) -> list[str]:
    """Three percentiles share a row."""
    names = [name.removesuffix("_p50") for name in figures if not name.endswith(("_p95", "_p99"))]
    return [name for name in names if name not in ("pattern", "failures")]


def _cell(figures: Mapping[str, object], name: str) -> str:
    if name in figures:
        return "-" if figures[name] is None else str(figures[name])
    ranked = [figures[f"{name}_p{percent}"] for percent in PERCENTS]
    shown = [f"{v:.0f}" if v >= WHOLE_FROM else f"{v:g}" for v in ranked if isinstance(v, float)]
    return " / ".join(shown) or "-"


def _aim(name: str) -> str:
    if name in AIMS:
        return f"{AIMS[name]:g}"
    ranked = [AIMS.get(f"{name}_p{percent}") for percent in PERCENTS]
    if not any(ranked):
        return ""
    return " / ".join("-" if aim is None else f"{aim:g}" for aim in ranked)
