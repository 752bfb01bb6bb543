"""The worker's figures as a table, as JSON and as a plot, and whether the aims are met."""

from __future__ import annotations

import json
import os
import platform
import sysconfig
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from bench.peers import Peer
from bench.plot import Bar, bars, curve
from bench.rig import Measured
from bench.setups import SetUps


@dataclass(frozen=True, slots=True)
class Aim:
    """What a figure should be; a figure below `at_most`, above `at_least` meets it."""

    name: str
    at_most: float | None = None
    at_least: float | None = None

    def met(self, value: float) -> bool:
        return (self.at_most is None or value <= self.at_most) and (
            self.at_least is None or value >= self.at_least
        )

    @property
    def text(self) -> str:
        return f"<= {self.at_most:g}" if self.at_most is not None else f">= {self.at_least:g}"


AIMS = (
    Aim("us_per_packet", at_most=8.0),
    Aim("times_limit", at_most=3.0),
    Aim("grpc_aio_ratio", at_least=5.0),
    Aim("lost_packets", at_most=0),
    Aim("wrong_frames", at_most=0),
    Aim("calls_per_core", at_least=1250),
    Aim("p50_ms", at_most=13.0),
    Aim("p99_ms", at_most=30.0),
    Aim("kb_per_call", at_most=150.0),
    Aim("set_up_failures", at_most=0),
)


COUNTED = ("lost", "wrong", "stolen %")
DISTURBED = 0.05  # of the time: from there on a run says more of the machine than of the worker


@dataclass(frozen=True, slots=True)
class Figures:
    """All of one run. `runs`: by the plan's name, one a round."""

    calls: int
    runs: dict[str, list[Measured]]
    limit_us: list[float]
    curve: list[Measured]
    memory_calls: int
    kb_per_call: float
    set_ups: SetUps
    peers: list[Peer]
    codec_us: dict[str, float]

    def cost(self, name: str) -> float:
        return median(run.us_per_packet for run in self.runs[name])

    def headline(self) -> dict[str, float]:
        """The figures that matter: both legs in one message, no search for speech in them.

        Latency is of an orderly network: a packet that comes late, or whose forerunner is lost, is
        waited for up to 40 ms by design.
        """
        clean, every = self.runs["clean-network"], [r for runs in self.runs.values() for r in runs]
        main = self.cost("both-legs")
        return {
            "us_per_packet": round(main, 2),
            **self._by_the_way(),
            "times_limit": round(main / median(self.limit_us), 2),
            "grpc_aio_ratio": round(self.cost("grpc-aio-100-calls") / self.cost("h2-100-calls"), 2),
            "lost_packets": sum(run.lost_packets for run in every),
            "wrong_frames": sum(run.wrong for run in every),
            "calls_per_core": round(median(r.calls_per_core for r in self.runs["both-legs"])),
            "p50_ms": round(median(run.p50_ms for run in clean), 1),
            "p99_ms": round(median(run.p99_ms for run in clean), 1),
            "kb_per_call": round(self.kb_per_call, 1),
            "set_up_failures": len(self.set_ups.failed),
        }

    def _by_the_way(self) -> dict[str, float]:
        """Of rows that a quick run leaves out."""
        names = {"us_per_packet_vad": "both-legs-vad", "us_per_packet_bot_call": "bot-call"}
        return {name: round(self.cost(row), 2) for name, row in names.items() if row in self.runs}


def interpreter() -> str:
    """Version and how it was built, as far as it knows itself."""
    flags = str(sysconfig.get_config_var("PY_CFLAGS") or "").split()
    arguments = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    return (
        f"{platform.python_implementation()} {platform.python_version()} "
        f"({platform.python_compiler()}, {' '.join(f for f in flags if f.startswith('-O'))}"
        f"{', --enable-optimizations' if '--enable-optimizations' in arguments else ''}"
        f"{', Debian' if 'Wdate-time' in arguments else ''})"
    )


def machine() -> dict[str, str]:
    model = platform.processor()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "cpu": f"{model}, {os.cpu_count()} cores",
        "kernel": platform.release(),
        "python": interpreter(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "load": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def aims_met(figures: Figures) -> bool:
    headline = figures.headline()
    return all(aim.met(headline[aim.name]) for aim in AIMS)


def show(figures: Figures) -> None:
    """Prints the tables."""
    console = Console()
    table = Table(title=f"worker, {figures.calls} calls")
    for column in (*("", "us/packet", "best", "calls/core", "p50 ms", "p99 ms"), *COUNTED):
        table.add_column(column, justify="left" if not column else "right")
    limit = median(figures.limit_us)
    table.add_row("limit (C)", f"{limit:.2f}", f"{min(figures.limit_us):.2f}")
    for name, runs in figures.runs.items():
        table.add_row(
            name,
            f"{figures.cost(name):.2f}",
            f"{min(run.best_us for run in runs):.2f}",
            f"{median(run.calls_per_core for run in runs):.0f}",
            f"{median(run.p50_ms for run in runs):.1f}",
            f"{median(run.p99_ms for run in runs):.1f}",
            str(sum(run.lost_packets for run in runs)),
            str(sum(run.wrong for run in runs)),
            f"{100 * max(run.waited_share for run in runs):.0f}",
        )
    console.print(table)
    aims = Table(title="aims")
    for column in ("figure", "measured", "aim", ""):
        aims.add_column(column)
    headline = figures.headline()
    for aim in AIMS:
        value = headline[aim.name]
        aims.add_row(aim.name, f"{value:g}", aim.text, "met" if aim.met(value) else "MISSED")
    console.print(aims)
    done = figures.set_ups
    console.print(
        f"set-ups: {done.done} at {done.rate:.0f}/s, {done.cpu_ms:.2f} ms of CPU each, "
        f"memory grows by {done.growth_kb_per_call:.2f} kB a call, "
        f"{100 * done.waited_share:.0f} % of the time others had its core"
    )
    if any(run.waited_share > DISTURBED for runs in figures.runs.values() for run in runs):
        console.print(
            "others had the worker's core ('stolen %'): cost, latency and refusals are theirs too"
        )


def write(figures: Figures, out: Path) -> None:
    """The JSON at `out`, and a plot beside it."""
    done = figures.set_ups
    content = {
        **figures.headline(),
        "machine": machine(),
        "calls": figures.calls,
        "limit_us": round(median(figures.limit_us), 2),
        "memory_calls": figures.memory_calls,
        "set_ups": {
            "done": done.done,
            "per_second": round(done.rate, 1),
            "cpu_ms": round(done.cpu_ms, 2),
            "waited_share": round(done.waited_share, 3),
            "growth_kb_per_call": round(done.growth_kb_per_call, 3),
            "failures": done.failed[:10],
            "resident_kb": done.resident_kb,
        },
        "runs": {name: [asdict(run) for run in runs] for name, runs in figures.runs.items()},
        "peers": [asdict(peer) for peer in figures.peers],
        "codec_us": figures.codec_us,
        "curve": [asdict(run) for run in figures.curve],
        "aims_met": aims_met(figures),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(content, indent=1) + "\n")
    rows = [Bar("limit (C)", median(figures.limit_us))]
    rows += [Bar(name, figures.cost(name)) for name in figures.runs]
    plot = out.with_suffix(".svg")
    plot.write_text(bars("CPU microseconds a received RTP packet", rows))
    written = [out, plot]
    if figures.curve:
        points = [(float(run.calls), 100 * run.core_share) for run in figures.curve]
        written.append(out.with_name(f"{out.stem}-curve.svg"))
        written[-1].write_text(curve("% of a core, by calls", points))
    written.append(out.with_suffix(".md"))
    written[-1].write_text(report(figures))
    print("written:", *written)


def report(figures: Figures) -> str:
    """All of it in Markdown, as docs/capacity.md quotes it."""
    about = machine()
    done = figures.set_ups
    lines = [f"{about['cpu']}, Linux {about['kernel']}, {about['python']}, {about['date']}.", ""]
    lines += ["| figure | measured | aim |", "|---|---|---|"]
    headline = figures.headline()
    lines += [f"| {a.name} | {headline[a.name]:g} | {a.text} |" for a in AIMS]
    lines += ["", f"{figures.calls} calls:", ""]
    lines += ["| | us/packet | calls/core | p50 ms | p99 ms | lost |", "|---|---|---|---|---|---|"]
    lines.append(f"| limit (C) | {median(figures.limit_us):.2f} | | | | |")
    for name, runs in figures.runs.items():
        lines.append(
            f"| {name} | {figures.cost(name):.2f} | {median(r.calls_per_core for r in runs):.0f} "
            f"| {median(r.p50_ms for r in runs):.1f} | {median(r.p99_ms for r in runs):.1f} "
            f"| {sum(r.lost_packets for r in runs)} |"
        )
    if figures.curve:
        lines += ["", "| calls asked for | recorded | refused | % of a core | p99 ms | lost |"]
        lines.append("|---|---|---|---|---|---|")
        lines += [
            f"| {r.calls + r.refused} | {r.calls} | {r.refused} | {100 * r.core_share:.0f} "
            f"| {r.p99_ms:.1f} | {r.lost_packets} |"
            for r in figures.curve
        ]
    lines += ["", "| per 20 ms | us |", "|---|---|"]
    lines += [f"| {name} | {cost:g} |" for name, cost in figures.codec_us.items()]
    if figures.peers:
        lines += ["", "| peer | us/packet | |", "|---|---|---|"]
        lines += [
            f"| {p.name} | {'-' if p.us_per_packet is None else f'{p.us_per_packet:.2f}'} "
            f"| {p.note} |"
            for p in figures.peers
        ]
    lines += ["", f"{figures.memory_calls} calls: {figures.kb_per_call:.0f} kB each. "]
    lines[-1] += f"{done.done} set-ups at {done.rate:.0f}/s: {done.cpu_ms:.2f} ms each, "
    lines[-1] += f"{len(done.failed)} failed, growth {done.growth_kb_per_call:.2f} kB each."
    return "\n".join(lines) + "\n"
