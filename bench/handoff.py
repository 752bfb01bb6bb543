"""Handoffs by the dozen on a real Asterisk, beside a bare ARI script that does the same steps.

Several lanes at once, each with a caller, an AI's tone (or an echo, for the bare script) and an
agent's phone; the patterns take turns in every lane, so that all meet the same machine. Measured at
the caller's and the agent's sockets by the kernel's packet times:

    escalate_ack     Escalate sent -> its answer (Redis has it)
    hold_heard       Escalate sent -> first packet of music at the caller
    answer_heard     the agent's 200 OK -> first packet of the agent's voice at the caller
    merge            accepted -> caller merged, by the orchestrator's (the script's) own clock;
                     where the PBX's queue merges: answer_heard
    silent_frames    packets below -60 dBm0 from Escalate to half a second after the agent is heard
    missing_ms       stretches of more than 60 ms without a packet in that time, beyond what a call
                     without a handoff misses

    python -m bench.handoff [--handoffs 104] [--lanes 4] [--out bench/out/handoff.json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median

import aiohttp
import grpc
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from voicefork_cli.lab.errors import LabError
from voicefork_cli.lab.processes import open_lab
from voicefork_cli.sim.errors import SimError

from bench.handoff_calls import Handed, Lane, Pattern
from bench.handoff_lanes import open_rig

OUT = Path(__file__).parent / "out" / "handoff.json"
AIMS = {
    "escalate_ack_ms_p99": 50.0, "hold_heard_ms_p50": 40.0, "hold_heard_ms_p99": 100.0,
    "silent_frames": 0.0, "merge_ms_p99": 50.0,
}  # fmt: skip
RATIO_AIM = 1.5
RATIO_OF = ("hold_heard", "answer_heard")
FAILURES = (SimError, TimeoutError, OSError, grpc.aio.AioRpcError, aiohttp.ClientError)


@dataclass(slots=True)
class Tally:
    """What one pattern's handoffs came to."""

    handed: list[Handed] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def of(self, name: str) -> list[float]:
        return [float(value) for each in self.handed if (value := getattr(each, name)) is not None]

    @property
    def merges(self) -> list[float]:
        return self.of("merge_ms") or self.of("answer_heard_ms")

    def figures(self, pattern: Pattern) -> dict[str, object]:
        held, merged, answered = self.of("hold_heard_ms"), self.merges, self.of("answer_heard_ms")
        return {
            "pattern": pattern.value,
            "handoffs": len(self.handed) + len(self.failures),
            "failed": len(self.failures),
            "hold_heard_ms_p50": percentile(held, 50),
            "hold_heard_ms_p99": percentile(held, 99),
            "silent_frames": round(sum(self.of("silent_frames"))),
            "missing_ms_max": round(max(self.of("missing_ms"), default=0.0), 1),
            "merge_ms_p50": percentile(merged, 50),
            "merge_ms_p99": percentile(merged, 99),
            "answer_heard_ms_p50": percentile(answered, 50),
            "answer_heard_ms_p99": percentile(answered, 99),
            "escalate_ack_ms_p50": percentile(self.of("ack_ms"), 50),
            "escalate_ack_ms_p99": percentile(self.of("ack_ms"), 99),
        }


def percentile(values: Sequence[float], percent: int) -> float | None:
    """The nearest rank; None of nothing."""
    if not values:
        return None
    ranked = sorted(values)
    return round(ranked[max(0, -(-len(ranked) * percent // 100) - 1)], 1)


async def run_lane(
    lane: Lane, patterns: Sequence[Pattern], tallies: dict[Pattern, Tally], done: Callable[[], None]
) -> None:
    for pattern in patterns:
        try:
            tallies[pattern].handed.append(await lane.measure(pattern))
        except FAILURES as error:
            tallies[pattern].failures.append(f"{type(error).__name__} {error}")
        done()


async def bench(handoffs: int, lanes: int, console: Console) -> tuple[dict[Pattern, Tally], str]:
    """At least `handoffs` of each pattern: what they came to, and Asterisk's version."""
    turns = -(-handoffs // lanes)
    tallies = {pattern: Tally() for pattern in Pattern}
    columns = (TextColumn("handoffs"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())

    def starting(what: str) -> None:
        console.print(f"starting {what}", highlight=False)

    async with open_lab() as lab, open_rig(lab, lanes, starting) as rig:
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task("", total=turns * lanes * len(Pattern))
            async with asyncio.TaskGroup() as running:
                for lane in rig.lanes:
                    shift = lane.number % len(Pattern)
                    order = [*Pattern][shift:] + [*Pattern][:shift]
                    running.create_task(
                        run_lane(lane, order * turns, tallies, lambda: progress.advance(bar))
                    )
        return tallies, rig.asterisk_version


def ratios(tallies: dict[Pattern, Tally]) -> dict[str, float | None]:
    """Our medians by the bare script's."""
    ours, bare = tallies[Pattern.ATTENDED], tallies[Pattern.BARE]
    names = ("hold_heard_ms", "merge_ms", "answer_heard_ms")
    return {
        name.removesuffix("_ms"): round(median(ours.of(name)) / median(bare.of(name)), 2)
        if ours.of(name) and bare.of(name)
        else None
        for name in names
    }


def figures_of(tallies: dict[Pattern, Tally], lanes: int, asterisk: str) -> dict[str, object]:
    """The file's content."""
    found = ratios(tallies)
    heard = [ratio for name in RATIO_OF if (ratio := found[name]) is not None]
    ours = [tallies[pattern].figures(pattern) for pattern in (Pattern.ATTENDED, Pattern.DIALPLAN)]
    return {
        "patterns": ours,
        "bare_ari": tallies[Pattern.BARE].figures(Pattern.BARE),
        "bare_ari_ratio": max(heard, default=None),
        "bare_ari_ratio_is": "our median by the script's, the larger of " + " and ".join(RATIO_OF),
        "bare_ari_ratios": found,
        "aims": {**AIMS, "bare_ari_ratio": RATIO_AIM},
        "lanes": lanes,
        "machine": {
            "system": platform.platform(),
            "cpus": os.cpu_count(),
            "load_1m": round(os.getloadavg()[0], 1),
        },
        "versions": {
            "asterisk": asterisk,
            "python": platform.python_version(),
            **{name: version(name) for name in ("aiohttp", "grpcio", "redis")},
        },
    }


def misses(figures: dict[str, object]) -> list[str]:
    """The aims that our patterns miss."""
    patterns = figures["patterns"]
    assert isinstance(patterns, list)
    missed = []
    for pattern in patterns:
        if pattern["failed"]:
            missed.append(f"{pattern['pattern']}: {pattern['failed']} failed")
        for name, aim in AIMS.items():
            value = pattern[name]
            if value is None or value > aim:
                missed.append(f"{pattern['pattern']}: {name} {value}, aim {aim:g}")
    ratio = figures["bare_ari_ratio"]
    if not isinstance(ratio, float) or ratio > RATIO_AIM:
        missed.append(f"bare_ari_ratio {ratio}, aim {RATIO_AIM:g}")
    return missed


def show(figures: dict[str, object], console: Console) -> None:
    rows = [figures["patterns"], [figures["bare_ari"]]]
    columns = [figure for group in rows if isinstance(group, list) for figure in group]
    table = Table(title="Handoffs on a real Asterisk", title_justify="left")
    table.add_column("")
    for column in columns:
        table.add_column(column["pattern"], justify="right")
    table.add_column("aim", justify="right")
    for name in (name for name in columns[0] if name != "pattern"):
        aim = f"{AIMS[name]:g}" if name in AIMS else ""
        table.add_row(name, *("-" if c[name] is None else str(c[name]) for c in columns), aim)
    console.print(table)
    console.print(f"against the bare script (medians): {figures['bare_ari_ratios']}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.handoff", description=__doc__.split("\n\n")[0])
    parser.add_argument("--handoffs", type=int, default=104, help="of each pattern (104)")
    parser.add_argument("--lanes", type=int, default=4, help="handoffs at once (4)")
    parser.add_argument("--out", type=Path, default=OUT, help="where the figures are written")
    options = parser.parse_args()
    console = Console()
    try:
        tallies, asterisk = asyncio.run(bench(options.handoffs, options.lanes, console))
    except (LabError, SimError) as error:
        print(f"bench failed: {error}", *getattr(error, "__notes__", ()), sep="\n")
        return 2
    for tally in tallies.values():
        for failure in tally.failures:
            console.print(f"failed: {failure}")
    figures = figures_of(tallies, options.lanes, asterisk)
    show(figures, console)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures, indent=1) + "\n")
    missed = misses(figures)
    console.print("\n".join(missed) if missed else "every aim is met", highlight=False)
    console.print(f"written: {options.out}", highlight=False)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
