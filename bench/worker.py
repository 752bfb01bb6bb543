"""What a call costs a worker, and how many fit on a core: `make bench-worker`.

    python -m bench.worker [--quick | --long] [--calls 300] [--out bench/out/worker.json]

All is measured in one run, in turn and again (rounds), with the worker on one core and load and AI
on the other; a figure is the median of its rounds. bench/README.md says what each one is.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from voicefork_cli.lab.errors import LabError

from bench.figures import Figures, aims_met, show, write
from bench.rig import BenchError, Measured, Plan, measure, measure_limit
from bench.setups import SetUps, kb_per_call, set_ups

OUT = Path(__file__).parent / "out" / "worker.json"
AIO_CALLS = 100
MEMORY_CALLS = 1000
NO_VAD = ("--vad", "false")
MESSAGE_BYTES = 690  # what the worker writes for one call and tick: two legs and their frames
CURVE = (50, 100, 200, 300, 400, 500)


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured."""

    rounds: int
    seconds: float
    set_ups: int
    memory_calls: int
    curve: tuple[int, ...] = ()


QUICK = Extent(rounds=1, seconds=4, set_ups=600, memory_calls=250)
USUAL = Extent(rounds=3, seconds=10, set_ups=2000, memory_calls=MEMORY_CALLS)
LONG = Extent(rounds=5, seconds=20, set_ups=10_000, memory_calls=MEMORY_CALLS, curve=CURVE)


@dataclass(slots=True)
class Results:
    """Everything measured so far, by plan."""

    runs: dict[str, list[Measured]] = field(default_factory=lambda: defaultdict(list))
    limits: list[float] = field(default_factory=list)
    curve: list[Measured] = field(default_factory=list)


def plans(calls: int, seconds: float) -> list[Plan]:
    """The rows of the table, in the order of a round."""
    return [
        Plan("both-legs", calls, seconds, options=NO_VAD),
        Plan("both-legs-vad", calls, seconds),
        Plan("customer-leg", calls, seconds, both_legs=False, options=NO_VAD),
        Plan("clean-network", calls, seconds, clean=True, options=NO_VAD),
        Plan("bot-call-vad", calls, seconds, both_legs=False, voice=True),
        Plan("tick-10ms", calls, seconds, clean=True, options=(*NO_VAD, "--tick-ms", "10")),
        Plan("h2-100-calls", AIO_CALLS, seconds, options=NO_VAD),
        Plan("grpc-aio-100-calls", AIO_CALLS, seconds, scheme="grpc+aio", options=NO_VAD),
    ]


async def bench(calls: int, extent: Extent) -> Figures:
    """Raises LabError, BenchError."""
    results = Results()
    for number in range(1, extent.rounds + 1):
        _say(f"round {number} of {extent.rounds}: limit")
        results.limits.append(await measure_limit(calls, extent.seconds, MESSAGE_BYTES))
        for plan in plans(calls, extent.seconds):
            _say(f"round {number} of {extent.rounds}: {plan.name}")
            results.runs[plan.name].append(await measure(plan))
    for count in extent.curve:
        _say(f"curve: {count} calls")
        plan = Plan(f"curve-{count}", count, extent.seconds, options=NO_VAD)
        results.curve.append(await measure(plan))
    _say(f"memory of {extent.memory_calls} calls")
    memory = await kb_per_call(extent.memory_calls)
    _say(f"{extent.set_ups} set-ups")
    done: SetUps = await set_ups(extent.set_ups)
    return Figures(
        calls=calls,
        runs=dict(results.runs),
        limit_us=results.limits,
        curve=results.curve,
        memory_calls=extent.memory_calls,
        kb_per_call=memory,
        set_ups=done,
    )


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.worker", description=__doc__.split("\n\n")[0])
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--quick", action="store_true", help="one short round, for development")
    parser.add_argument("--long", action="store_true", help="longer rounds, 10,000 set-ups, curve")
    parser.add_argument("--out", type=Path, default=OUT, help="where the figures are written")
    options = parser.parse_args()
    extent = QUICK if options.quick else LONG if options.long else USUAL
    if len(os.sched_getaffinity(0)) < 2:  # noqa: PLR2004 - one for the worker, one for the rest
        print("bench failed: two cores are needed")
        return 2
    os.sched_setaffinity(0, {1})  # beside the load: the worker has its core for itself
    try:
        figures = asyncio.run(bench(options.calls, extent))
    except (LabError, BenchError) as error:
        print(f"bench failed: {error}", *getattr(error, "__notes__", ()), sep="\n")
        return 2
    show(figures)
    write(figures, options.out)
    return 0 if aims_met(figures) else 1


if __name__ == "__main__":
    sys.exit(main())
