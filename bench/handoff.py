"""Handoffs by the dozen on a real Asterisk, beside a bare ARI script that does the same steps.

Several lanes at once, each with a caller, an AI's tone (or an echo, for the bare script) and an
agent's phone; the patterns take turns in every lane, so that all meet the same machine. Measured at
the caller's and the agent's sockets by the kernel's packet times:

    ack              Escalate sent -> its answer (Redis has it)
    hold_heard       Escalate sent -> first packet of music at the caller
    answer_heard     the agent's 200 OK -> first packet of the agent's voice at the caller
    key_heard        the agent's key let go -> the same (WARM_WHISPER)
    merge            accepted -> caller merged, by the orchestrator's (the script's) own clock
    referred         Escalate sent -> REFER at the caller's carrier
    silent_frames    packets below -60 dBm0 from Escalate to half a second after the agent is heard
                     (REFER: to the BYE)
    missing          stretches of more than 60 ms without a packet in that time, beyond what a call
                     without a handoff misses, and what the agent's phone (here) did not say in time
    witness_off      dead air as the worker counted it and as the caller did, apart

Then `--main` handoffs of ATTENDED, for what their number says about failures, and `--count` at
`--rate` a second (bench.handoff_load).

    python -m bench.handoff [--handoffs 104] [--main 1000] [--rate 40 --count 1000] [--quick]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import aiohttp
import grpc
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from voicefork_cli.lab.errors import LabError
from voicefork_cli.lab.processes import open_lab
from voicefork_cli.sim.errors import SimError

from bench.handoff_calls import Lane
from bench.handoff_fields import field_targets, show_fields
from bench.handoff_figures import (
    AIMS,
    BOUND_AIM,
    RATIO_AIM,
    Figures,
    Tally,
    compared,
    mains,
    misses,
    show,
)
from bench.handoff_lanes import Rig, open_rig
from bench.handoff_load import bench_load
from bench.handoff_plot import plot
from bench.handoff_rush import load_misses, show_load
from bench.handoff_ways import Pattern

OUT = Path(__file__).parent / "out" / "handoff.json"
WIDTH = 180
QUICK = {"handoffs": 6, "lanes": 1, "main": 0, "count": 0}
FAILURES = (SimError, TimeoutError, OSError, grpc.aio.AioRpcError, aiohttp.ClientError)


async def run_lane(
    lane: Lane,
    patterns: Sequence[Pattern],
    tallies: Mapping[Pattern, Tally],
    done: Callable[[], None],
) -> None:
    for pattern in patterns:
        try:
            tallies[pattern].handed.append(await lane.measure(pattern))
        except FAILURES as error:
            tallies[pattern].failed(error)
        done()


async def run_lanes(
    name: str, work: Sequence[tuple[Lane, Sequence[Pattern]]], console: Console
) -> dict[Pattern, Tally]:
    """Every lane through its patterns, with a bar."""
    tallies = {pattern: Tally() for pattern in Pattern}
    columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    failed = TextColumn("{task.fields[failed]} failed")
    with Progress(*columns, failed, console=console) as progress:
        total = sum(len(patterns) for _, patterns in work)
        bar = progress.add_task("", total=total, failed=0)

        def done() -> None:
            failures = sum(len(tally.failures) for tally in tallies.values())
            progress.update(bar, advance=1, failed=failures)

        async with asyncio.TaskGroup() as running:
            for lane, patterns in work:
                running.create_task(run_lane(lane, patterns, tallies, done))
    return tallies


async def bench_lanes(options: argparse.Namespace, console: Console) -> Figures:
    """All patterns in turn, then the main one."""

    def starting(what: str) -> None:
        console.print(f"starting {what}", highlight=False)

    async with open_lab() as lab:
        count = max(options.lanes, options.main_lanes if options.main else 0)
        async with open_rig(lab, count, starting) as rig:
            work = _in_turn(rig, options.lanes, options.handoffs)
            tallies = await run_lanes("every pattern", work, console)
            figures = compared(tallies)
            if options.main:
                share = -(-options.main // options.main_lanes)
                alone = [
                    (lane, [Pattern.ATTENDED] * share) for lane in rig.lanes[: options.main_lanes]
                ]
                main = await run_lanes("ATTENDED", alone, console)
                figures["main"] = mains(main[Pattern.ATTENDED])
                tallies[Pattern.ATTENDED].handed += main[Pattern.ATTENDED].handed
                tallies[Pattern.ATTENDED].failures += main[Pattern.ATTENDED].failures
            figures["field_targets"] = await field_targets(tallies, rig)
            return {**figures, "asterisk": rig.asterisk_version}


def _in_turn(rig: Rig, lanes: int, handoffs: int) -> list[tuple[Lane, Sequence[Pattern]]]:
    """At least so many handoffs of each pattern; each lane begins with another one."""
    turns = -(-handoffs // lanes)
    work: list[tuple[Lane, Sequence[Pattern]]] = []
    for lane in rig.lanes[:lanes]:
        shift = lane.number % len(Pattern)
        work.append((lane, ([*Pattern][shift:] + [*Pattern][:shift]) * turns))
    return work


async def bench(options: argparse.Namespace, console: Console) -> Figures:
    """The file's content."""
    load = os.getloadavg()[0]
    figures = await bench_lanes(options, console)
    if options.count:
        figures["load"] = await bench_load(options.rate, options.count, console)
    return {
        **figures,
        "aims": {**AIMS, "bare_ari_ratio": RATIO_AIM, "failure_rate_below_95": BOUND_AIM},
        "lanes": {"every pattern": options.lanes, "main": options.main_lanes},
        "machine": {
            "system": platform.platform(),
            "cpus": os.cpu_count(),
            "load_1m": round(load, 1),  # before it began
        },
        "versions": {
            "asterisk": figures.pop("asterisk"),
            "python": platform.python_version(),
            **{name: version(name) for name in ("aiohttp", "grpcio", "redis")},
        },
    }


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.handoff", description=__doc__.split("\n\n")[0])
    parser.add_argument("--handoffs", type=int, default=104, help="of each pattern (104)")
    parser.add_argument("--lanes", type=int, default=4, help="handoffs at once (4)")
    parser.add_argument("--main", type=int, default=1000, help="more of ATTENDED; 0: none (1000)")
    parser.add_argument("--main-lanes", type=int, default=8, help="of these at once (8)")
    parser.add_argument("--rate", type=float, default=40.0, help="handoffs a second (40)")
    parser.add_argument("--count", type=int, default=1000, help="at that rate; 0: none (1000)")
    parser.add_argument("--quick", action="store_true", help="6 of each pattern in one lane")
    parser.add_argument("--out", type=Path, default=OUT, help="where the figures are written")
    options = parser.parse_args()
    if options.quick:
        vars(options).update(QUICK)
    return options


def main() -> int:
    options, console = parsed(), Console()
    console.width = max(console.width, WIDTH)  # of a log, too
    try:
        figures = asyncio.run(bench(options, console))
    except (LabError, SimError) as error:
        print(f"bench failed: {error}", *getattr(error, "__notes__", ()), sep="\n")
        return 2
    show(figures, console)
    show_load(figures, console)
    show_fields(figures, console)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures, indent=1) + "\n")
    options.out.with_suffix(".svg").write_text(plot(figures))
    missed = [*misses(figures), *load_misses(figures)]
    console.print("\n".join(missed) if missed else "every aim is met", highlight=False)
    console.print(f"written: {options.out}", highlight=False)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
