"""Forks that move: kill -9, drain, and the choice of a worker, with real processes and real Redis.

    kill    50 live forks on one worker, which gets kill -9: for every fork the time until its audio
            is back at the AI (the maximum over all runs counts)
    drain   the same worker gets SIGTERM: samples of any fork that the AI never got, and places
            where the audio jumps
    pick    vf_pick at 1,000 a second with 10 workers that beat: time of a query

The AI (made with the SDK) and the senders of RTP share this process: its own stalls count, too.

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
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import redis
from rich.console import Console
from rich.table import Table
from siprec_worker.net.pool import SOURCE
from voicefork_cli.lab.processes import open_lab
from voicefork_cli.lab.redis import open_redis

from tests.builders.moving_forks import Heard, Pooled, open_pooled, until

OUT = Path(__file__).parent / "out" / "forks.json"
WORKERS, PICKS, PICK_INTERVAL = 10, 5000, 0.001
BREAK_SECONDS = 0.4  # without audio: the fork was away
SETTLE_SECONDS = 2.0
RUNS_OF_A_LAB = 3  # each takes two workers, and each of those a range of ports
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
    pick_ms: list[float] = field(default_factory=list)
    pick_redis_ms_p99: float = 0.0  # of that, inside Redis (beats included)

    def summary(self) -> dict[str, float]:
        back, pick = np.array(self.back_s or [0.0]), np.array(self.pick_ms or [0.0])
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
            "pick_ms_p50": round(float(np.quantile(pick, 0.5)), 3),
            "pick_ms_p99": round(float(np.quantile(pick, 0.99)), 3),
            "pick_redis_ms_p99": self.pick_redis_ms_p99,
        }


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
        self._owner = heir


async def measure_moves(forks: int, runs: int, figures: Figures, console: Console) -> None:
    for first in range(0, runs, RUNS_OF_A_LAB):
        async with open_lab() as lab, open_pooled(lab, "w1") as pooled:
            moves = Moves(pooled, figures)
            await moves.begin(forks)
            for run in range(first, min(first + RUNS_OF_A_LAB, runs)):
                await moves.kill()
                await moves.drain()
                back = max(figures.back_s[-forks:], default=0.0)
                console.print(f"run {run + 1}: back {back:.2f} s max, lost {figures.lost}")
            figures.begun_anew += pooled.agent.begun - forks


def measure_picks(port: int) -> tuple[list[float], float]:
    """Milliseconds of each query, one after the other at 1,000 a second; workers beat between.

    And Redis' own p99 of the time a call of the library takes.
    """
    client = redis.Redis("127.0.0.1", port, protocol=2)
    client.function_load(SOURCE, replace=True)
    took, begun, beat = [], time.perf_counter(), 0.0
    for number in range(PICKS):
        due = begun + number * PICK_INTERVAL
        if time.perf_counter() > beat + 0.3:
            beat = time.perf_counter()
            for worker in range(WORKERS):
                name = f"w{worker}"
                client.fcall("vf_beat", 0, name, f"sip:{name};transport=tcp", "-", "0", "5000", "0")
        time.sleep(max(0.0, due - time.perf_counter()))
        asked = time.perf_counter()
        client.fcall("vf_pick", 0, "3", "-", f"call-{number}")
        took.append((time.perf_counter() - asked) * 1000)
    inside = client.info("latencystats")["latency_percentiles_usec_fcall"]["p99"]
    client.close()
    return took, round(float(inside) / 1000, 3)


async def run(forks: int, runs: int, out: Path) -> int:
    console, figures = Console(), Figures()
    async with open_lab() as lab, open_redis(lab) as server:
        measured = await asyncio.to_thread(measure_picks, server.port)
        figures.pick_ms, figures.pick_redis_ms_p99 = measured
    if runs:
        await measure_moves(forks, runs, figures, console)
    summary = figures.summary()
    table = Table("figure", "value", "aim")
    for name, value in summary.items():
        table.add_row(name, f"{value:g}", f"<= {AIMS[name]:g}" if name in AIMS else "")
    console.print(table)
    write(out, {"forks": forks, "runs": runs, **summary, "back_s": figures.back_s})
    missed = [name for name, aim in AIMS.items() if summary[name] > aim]
    return 1 if missed or figures.not_back or figures.begun_anew else 0


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
