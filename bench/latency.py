"""Mouth to ear of the bot: a caller's clicks through worker, echoing AI and Asterisk, and back.

The way of a click: caller -> rtpengine -> fork -> worker -> gRPC -> AI -> gRPC -> worker's playout
-> Asterisk's externalMedia channel -> bridge -> rtpengine -> caller. What is measured is said in
voicefork_cli.measure.clicks. A second call to Asterisk's own Echo() shows what of it is the way
through rtpengine and Asterisk alone.

    python -m bench.latency [--clicks 60] [--out bench/out/latency.json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from voicefork_cli.lab.errors import LabError
from voicefork_cli.lab.processes import open_lab
from voicefork_cli.lab.stack import StackPlan, open_stack
from voicefork_cli.measure.clicks import Latency, mouth_to_ear
from voicefork_cli.measure.heard import hear
from voicefork_cli.sim.caller import CarrierCaller, open_caller
from voicefork_cli.sim.edge import Edge, open_edge
from voicefork_cli.sim.edge_call import EdgePlan
from voicefork_cli.sim.errors import SimError
from voicefork_cli.sim.source import Clicks, Script, Silence

ECHO = Path(__file__).parents[1] / "sdk" / "examples" / "echo.py"
OUT = Path(__file__).parent / "out" / "latency.json"
BOT, ASTERISK_ECHO = "+14155550199", "900"
SPACING_MS = 731  # no multiple of 20 ms: clicks fall on every place in a packet
LONGEST_MS = 700.0
SETTLE_SECONDS = 3.0  # until the AI has opened and the talk-back is bridged
TARGET_P50_MS, TARGET_P99_MS = 120.0, 200.0


@dataclass(frozen=True, slots=True)
class Measured:
    """One call's clicks."""

    latency: Latency
    longest_gap_ms: float

    def as_dict(self) -> dict[str, object]:
        latency = self.latency
        return {
            "clicks": len(latency.samples_ms),
            "lost": latency.lost,
            "p50_ms": round(latency.p50_ms, 2),
            "p99_ms": round(latency.p99_ms, 2),
            "max_ms": round(max(latency.samples_ms), 2),
            "min_ms": round(min(latency.samples_ms), 2),
            "longest_gap_ms": round(self.longest_gap_ms, 1),
        }


async def measure(edge: Edge, number: str, clicks: int) -> Measured:
    """Calls `number`, clicks, hangs up. Raises SimError where the call fails."""
    async with open_caller() as caller:
        uri = edge.uri.replace("sip:", f"sip:{number}@")
        seconds = (clicks + 0.5) * SPACING_MS / 1000
        clicking = Script([(Silence(), SETTLE_SECONDS), (Clicks(SPACING_MS), seconds)])
        await caller.dial(uri, clicking)
        began = time.time_ns() + round(SETTLE_SECONDS * 1e9)
        await _until(caller, SETTLE_SECONDS + seconds + LONGEST_MS / 1000)
        ended = time.time_ns()
        await caller.hang_up()
        latency = mouth_to_ear(caller.said, caller.heard, longest_ms=LONGEST_MS)
        return Measured(latency, hear(caller.heard, began, ended).longest_gap_ms)


async def _until(caller: CarrierCaller, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await caller.ended.wait()
    except TimeoutError:
        return
    raise SimError(f"the call ended early: {caller.events[-1].text}")


async def bench(clicks: int) -> dict[str, Measured]:
    """Both calls through a whole stack of their own. Raises LabError, SimError."""
    async with open_lab() as lab, open_stack(lab, StackPlan(ECHO), _starting) as stack:

        async def pick() -> list[str]:
            return list(stack.worker_uris)

        plan = EdgePlan(pbx=f"sip:{stack.asterisk.sip}", pick=pick)
        async with open_edge(plan, (stack.rtpengine.host, stack.rtpengine.port)) as edge:
            print(f"{clicks} clicks each: Asterisk's echo, then the AI's", flush=True)
            alone = await measure(edge, ASTERISK_ECHO, clicks)
            return {"asterisk_echo": alone, "ai_echo": await measure(edge, BOT, clicks)}


def _starting(what: str) -> None:
    print(f"starting {what}", flush=True)


def report(measured: dict[str, Measured], out: Path) -> bool:
    """Prints and writes the figures; whether the targets are met."""
    print(f"{'mouth to ear':16}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}{'clicks':>8}{'lost':>6}")
    for name, each in measured.items():
        latency = each.latency
        print(
            f"{name:16}{latency.p50_ms:9.1f}{latency.p99_ms:9.1f}{max(latency.samples_ms):9.1f}"
            f"{len(latency.samples_ms):8}{latency.lost:6}"
        )
    bot = measured["ai_echo"].latency
    good = bot.p50_ms <= TARGET_P50_MS and bot.p99_ms <= TARGET_P99_MS and not bot.lost
    print(
        f"target p50 <= {TARGET_P50_MS:g}, p99 <= {TARGET_P99_MS:g}: {'met' if good else 'MISSED'}"
    )
    figures: dict[str, object] = {name: each.as_dict() for name, each in measured.items()}
    figures["targets"] = {"p50_ms": TARGET_P50_MS, "p99_ms": TARGET_P99_MS, "met": good}
    figures["machine"] = {"python": platform.python_version(), "system": platform.platform()}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"written: {out}")
    return good


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.latency", description=__doc__.split("\n\n")[0])
    parser.add_argument("--clicks", type=int, default=60, help="clicks of each call (60)")
    parser.add_argument("--out", type=Path, default=OUT, help="where the figures are written")
    options = parser.parse_args()
    try:
        measured = asyncio.run(bench(options.clicks))
    except (LabError, SimError) as error:
        print(f"bench failed: {error}", *getattr(error, "__notes__", ()), sep="\n")
        return 2
    try:
        return 0 if report(measured, options.out) else 1
    except ValueError as error:
        print(f"bench failed: {error}")
        return 2


if __name__ == "__main__":
    sys.exit(main())
