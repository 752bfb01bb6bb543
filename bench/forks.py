"""Forks that move: kill -9, drain, and the choice of a worker, with real processes and real Redis.

    kill    50 live forks on one worker, which gets kill -9: for every fork the time until its audio
            is back at the AI (the maximum over all runs counts)
    drain   the same worker gets SIGTERM: samples of any fork that the AI never got, and places
            where the audio jumps
    pick    vf_pick at 1,000 a second with 10 workers that beat: time of a query, of a PING by the
            same client (what the machine costs), inside Redis, and by redis-benchmark

The AI (made with the SDK) and the senders of RTP share this process. Its stalls count in the times;
the senders make up for one of up to a second, as a phone's clock goes on, and a longer one is a
reason why a run is no success. The figures are written even when an aim is missed.

    python -m bench.forks [--forks 50] [--runs 20] [--out bench/out/forks.json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import platform
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from voicefork_cli.lab.errors import LabError
from voicefork_cli.lab.processes import open_lab
from voicefork_cli.lab.redis import open_redis

from bench.picks import measure_picks
from tests.builders.moving_forks import Heard, Pooled, open_pooled, until

OUT = Path(__file__).parent / "out" / "forks.json"
BREAK_SECONDS = 0.4  # without audio: the fork was away
SETTLE_SECONDS = 1.6
RUNS_OF_A_LAB = 2  # each takes two workers, and each of those a range of ports
AIMS = {"kill_back_s_max": 3.0, "drain_samples_lost": 0, "drain_slips": 0, "pick_ms_p99": 0.5}


@dataclass(slots=True)
class Figures:
    back_s: list[float] = field(default_factory=list)  # of each fork in each run
    not_back: int = 0
    begun_anew: int = 0  # conversations that were not resumed
    drain_s: list[float] = field(default_factory=list)  # SIGTERM to exit, of each run
    exit_codes: list[int] = field(default_factory=list)
    lost: int = 0
    slips: int = 0
    gaps: int = 0
    left_out: int = 0  # times that a sender's clock stood still: what is lost then says nothing
    causes: Counter[str] = field(default_factory=Counter)  # of those
    picks: dict[str, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def summary(self) -> dict[str, float]:
        back = np.array(self.back_s or [0.0])
        return {
            "kill_forks": len(self.back_s),
            "kill_back_s_p50": round(float(np.median(back)), 3),
            "kill_back_s_max": round(float(back.max()), 3),
            "kill_not_back": self.not_back,
            "begun_anew": self.begun_anew,
            "drain_runs": len(self.drain_s),
            "drain_s_max": round(max(self.drain_s, default=0.0), 3),
            "drain_exit_not_0": sum(code != 0 for code in self.exit_codes),
            "drain_samples_lost": self.lost,
            "drain_slips": self.slips,
            "drain_gaps_told": self.gaps,
            "sender_left_out": self.left_out,
            **self.picks,
        }

    def reasons(self) -> list[str]:
        """Why this is no success."""
        summary = self.summary()
        missed = [
            f"{name} is {summary[name]:g}, not {aim:g} or less"
            for name, aim in AIMS.items()
            if summary.get(name, 0.0) > aim
        ]
        never = ("kill_not_back", "begun_anew", "drain_exit_not_0", "sender_left_out")
        missed += [f"{name} is {summary[name]:g}" for name in never if summary[name]]
        return missed + self.failures


def back_after(heard: Heard, killed: float) -> float | None:
    """When the audio came back: the first after a break that lasted beyond the kill."""
    before = killed
    for at, _, _ in heard.pieces:
        if at > killed and at - before > BREAK_SECONDS:
            return at
        before = max(before, at)
    return None


class Moves:
    """The same forks, moved again and again from one worker to a fresh one."""

    def __init__(self, pooled: Pooled, figures: Figures) -> None:
        self._pooled = pooled
        self._figures = figures
        self._number = 1
        self._owner = "w1"

    async def begin(self, forks: int) -> None:
        for _ in range(forks):
            await self._pooled.begin([self._pooled.uri(self._owner)])
        await self._pooled.listening()
        await self._pooled.stored(forks)

    async def _heir(self) -> str:
        self._number += 1
        name = f"w{self._number}"
        await self._pooled.add_worker(name)
        await asyncio.sleep(SETTLE_SECONDS)
        for heard in self._pooled.agent.heard.values():
            heard.pieces.clear()
            heard.gaps.clear()
        await asyncio.sleep(SETTLE_SECONDS / 4)
        return name

    async def kill(self) -> None:
        heir, all_heard = await self._heir(), self._pooled.agent.heard.values()
        killed = self._pooled.kill(self._owner)
        try:
            await until(lambda: all(back_after(h, killed) for h in all_heard), 8)
        except TimeoutError:
            self._figures.not_back += sum(back_after(h, killed) is None for h in all_heard)
        backs = [back_after(h, killed) for h in all_heard]
        self._figures.back_s += [at - killed for at in backs if at]
        self._owner = heir

    async def drain(self) -> None:
        heir, all_heard = await self._heir(), self._pooled.agent.heard.values()
        begun = time.monotonic()
        program = self._pooled.workers.pop(self._owner).program
        program.signal(signal.SIGTERM)
        self._figures.exit_codes.append(await program.wait())
        self._figures.drain_s.append(time.monotonic() - begun)
        await asyncio.sleep(1.0)
        for heard in all_heard:
            self._figures.lost += heard.missing()
            self._figures.slips += heard.slips()
            self._figures.gaps += len(heard.gaps)
            self._figures.causes.update(gap.cause.name for gap in heard.gaps)
        self._owner = heir


async def measure_moves(forks: int, runs: int, figures: Figures, console: Console) -> None:
    """A lab that fails is told of in the figures; the others go on."""
    for first in range(0, runs, RUNS_OF_A_LAB):
        some = range(first, min(first + RUNS_OF_A_LAB, runs))
        try:
            await _in_a_lab(forks, some, figures, console)
        except (AssertionError, LabError, OSError, TimeoutError) as error:
            failed = f"run {first + 1} and on: {type(error).__name__} {error}"
            figures.failures.append(failed)
            console.print(failed)


async def _in_a_lab(forks: int, runs: range, figures: Figures, console: Console) -> None:
    async with open_lab() as lab, open_pooled(lab, "w1") as pooled:
        moves = Moves(pooled, figures)
        await moves.begin(forks)
        for run in runs:
            await moves.kill()
            await moves.drain()
            back = max(figures.back_s[-forks:], default=0.0)
            console.print(f"run {run + 1}: back {back:.2f} s max, lost {figures.lost}")
        figures.begun_anew += pooled.agent.begun - forks
        figures.left_out += pooled.pacer.left_out


async def run(forks: int, runs: int, out: Path) -> int:
    console, figures = Console(), Figures()
    try:
        async with open_lab() as lab, open_redis(lab) as server:
            figures.picks = await asyncio.to_thread(measure_picks, server.port)
        await measure_moves(forks, runs, figures, console)
    finally:
        summary, reasons = figures.summary(), figures.reasons()
        told: dict[str, object] = {"forks": forks, "runs": runs, **summary, "missed": reasons}
        told["drain_gap_causes"] = dict(figures.causes)
        write(out, {**told, "back_s": figures.back_s})
    table = Table("figure", "value", "aim")
    for name, value in summary.items():
        table.add_row(name, f"{value:g}", f"<= {AIMS[name]:g}" if name in AIMS else "")
    console.print(table)
    for reason in reasons:
        console.print(f"missed: {reason}")
    return 1 if reasons else 0


def write(out: Path, figures: dict[str, object]) -> None:
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    about = {
        "at": datetime.now(UTC).isoformat(),
        "machine": machine,
        "load_1_minute": round(os.getloadavg()[0], 1),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({**about, **figures}, indent=1) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--forks", type=int, default=50)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args(argv)
    logging.getLogger("voicefork_sdk").setLevel(logging.ERROR)  # streams break here on purpose
    return asyncio.run(run(given.forks, given.runs, given.out))


if __name__ == "__main__":
    sys.exit(main())
