"""What a call costs a worker, and how many fit on a core: `make bench-worker`.

    python -m bench.worker [--quick | --long] [--calls 300] [--out bench/out/worker.json]

All is measured in one run, in turn and again (rounds), with the worker on one core and load and AI
on the other; a figure is the median of its rounds. bench/README.md says what each one is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

from voicefork_cli.lab.errors import LabError

from bench.calls import LEGS
from bench.figures import Figures, aims_met, show, write
from bench.peers import Peer, measure_peers
from bench.rig import WORKER_CORE, BenchError, Measured, Plan, measure, measure_limit
from bench.setups import SetUps, kb_per_call, set_ups
from bench.tools import open_tool, python

OUT = Path(__file__).parent / "out" / "worker.json"
AIO_CALLS = 100
MEMORY_CALLS = 1000
NO_VAD = ("--vad", "false")
MESSAGE_BYTES = 690  # what the worker writes for one call and tick: two legs and their frames
CURVE = (50, 100, 200, 300, 500, 750, 1000, 1250, 1500)
CHECKED_OF_CURVE = 10  # one call in so many is looked into: the AI's core must not be what fills
QUICK_ROWS = ("both-legs", "clean-network", "h2-100-calls", "grpc-aio-100-calls")
CODECS_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured."""

    rounds: int
    seconds: float
    set_ups: int
    memory_calls: int
    curve: tuple[int, ...] = ()
    rows: tuple[str, ...] = ()  # these alone; () = all
    peers: bool = True


QUICK = Extent(
    rounds=1, seconds=3, set_ups=300, memory_calls=250, rows=QUICK_ROWS, peers=False
)  # fmt: skip
USUAL = Extent(rounds=2, seconds=8, set_ups=10_000, memory_calls=MEMORY_CALLS, curve=CURVE)
LONG = replace(USUAL, set_ups=30_000)


@dataclass(slots=True)
class Results:
    """Everything measured so far, by plan."""

    runs: dict[str, list[Measured]] = field(default_factory=lambda: defaultdict(list))
    limits: list[float] = field(default_factory=list)
    curve: list[Measured] = field(default_factory=list)
    peers: list[Peer] = field(default_factory=list)


def plans(calls: int, seconds: float) -> list[Plan]:
    """The rows of the table, in the order of a round."""
    return [
        Plan("both-legs", calls, seconds, options=NO_VAD),
        Plan("both-legs-vad", calls, seconds),
        Plan("customer-leg", calls, seconds, both_legs=False, options=NO_VAD),
        Plan("clean-network", calls, seconds, clean=True, options=NO_VAD),
        Plan("bot-call-vad", calls, seconds, both_legs=False, voice=True),
        Plan("bot-call", calls, seconds, both_legs=False, voice=True, options=NO_VAD),
        Plan("tls", calls, seconds, tls=True, options=NO_VAD),
        Plan("tick-10ms", calls, seconds, clean=True, options=(*NO_VAD, "--tick-ms", "10")),
        Plan("tick-5ms", calls, seconds, clean=True, options=(*NO_VAD, "--tick-ms", "5")),
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
            if not extent.rows or plan.name in extent.rows:
                _say(f"round {number} of {extent.rounds}: {plan.name}")
                results.runs[plan.name].append(await _measured(plan))
    for count in extent.curve:
        _say(f"curve: {count} calls")
        try:
            results.curve.append(await _measured(curve_plan(count, extent.seconds)))
        except (BenchError, LabError) as error:  # one point less; what is measured is kept
            _say(f"curve: {count} calls cannot be measured: {error}")
    if extent.peers:
        _say("peers")
        results.peers = await measure_peers(calls, extent.seconds)
    _say("codecs")
    codec_us = await codec_costs()
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
        peers=results.peers,
        codec_us=codec_us,
    )


async def _measured(plan: Plan) -> Measured:
    """Once more where a stall of the machine spoilt it. Raises LabError, BenchError."""
    try:
        return await measure(plan)
    except (BenchError, LabError) as error:
        _say(f"{plan.name}: {error}; once more")
        return await measure(plan)


def curve_plan(count: int, seconds: float) -> Plan:
    """So many calls are asked for under load: a worker that is full says 503 to the others."""
    return Plan(
        f"curve-{count}",
        count,
        seconds,
        options=NO_VAD,
        clean=True,
        check_every=CHECKED_OF_CURVE if count >= CHECKED_OF_CURVE * LEGS else 1,
        may_refuse=True,
    )


async def codec_costs() -> dict[str, float]:
    """Microseconds a frame of 20 ms, by codec."""
    async with open_tool("codecs", python("bench.codecs"), WORKER_CORE) as tool:
        async with asyncio.timeout(CODECS_SECONDS):
            return dict(json.loads(await tool.hear()))


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def chosen(options: argparse.Namespace) -> Extent:
    extent = QUICK if options.quick else LONG if options.long else USUAL
    if options.seconds is not None:
        extent = replace(extent, seconds=options.seconds)
    if options.curve is not None:
        points = tuple(int(count) for count in options.curve.split(",") if count)
        extent = replace(extent, curve=points)
    if options.set_ups is not None:
        extent = replace(extent, set_ups=options.set_ups)
    return replace(extent, peers=extent.peers and not options.no_peers)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.worker", description=__doc__.split("\n\n")[0])
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--quick", action="store_true", help="one short round, for development")
    parser.add_argument("--seconds", type=float, help="of load, for each row")
    parser.add_argument("--curve", help="calls of its points, by comma; '' = none")
    parser.add_argument("--set-ups", type=int, help="how many")
    parser.add_argument("--no-peers", action="store_true", help="not aiortc, aiortp and pipecat")
    parser.add_argument("--long", action="store_true", help="30,000 set-ups")
    parser.add_argument("--out", type=Path, default=OUT, help="where the figures are written")
    options = parser.parse_args()
    extent = chosen(options)
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
