"""What each program spends on a handoff: a machine that is full says so here first."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

Spending = dict[str, object]
TICKS = os.sysconf("SC_CLK_TCK")
IDLE = (3, 4)  # proc_stat(5): idle, iowait


class Spent:
    """CPU time of programs by name, of ourselves and of the whole machine, from here on."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = {**pids, "bench": os.getpid()}
        self._begun = time.monotonic()
        self._before = self._now()
        self._busy_before = _busy_seconds()

    def per(self, handoffs: int) -> Spending:
        """`each`: ms by program for one of so many handoffs; cores busy with all of them, and with
        whatever the machine did."""
        passed = time.monotonic() - self._begun
        spent = {name: now - self._before[name] for name, now in self._now().items()}
        return {
            "each": {name: round(1e3 * of / handoffs, 1) for name, of in spent.items()},
            "cores": round(sum(spent.values()) / passed, 2),
            "cores_of_machine": round((_busy_seconds() - self._busy_before) / passed, 2),
        }

    def _now(self) -> dict[str, float]:
        return {name: _process_seconds(pid) for name, pid in self._pids.items()}


def show_spending(spending: Spending, console: Console) -> None:
    each = spending["each"]
    assert isinstance(each, dict)
    shares = ", ".join(f"{name} {ms}" for name, ms in each.items())
    console.print(
        f"  CPU, ms a handoff: {shares}; {spending['cores']} cores busy with it,"
        f" {spending['cores_of_machine']} of {os.cpu_count()} with everything",
        highlight=False,
    )


def _process_seconds(pid: int) -> float:
    """User and system time, that of threads that have ended too: an Asterisk ends one a channel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _busy_seconds() -> float:
    """Of all cores; time stolen by a hypervisor counts as busy."""
    fields = [int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - sum(fields[n] for n in IDLE)) / TICKS
