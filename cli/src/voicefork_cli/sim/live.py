"""The figures of a load while it runs: the sender's own, and the worker's by its admin pages."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

import aiohttp

from voicefork_cli.sim.load import LoadPlan, LoadProgress
from voicefork_cli.sim.src import ForkState

PAGE_SECONDS = 1.0  # for the worker to show its figures
_SAMPLE = re.compile(r"^(\w+)(?:\{[^}]*\})? (\S+)$", re.M)


@dataclass(frozen=True, slots=True)
class WorkerFigures:
    """Totals since the worker began, but for `calls`, `lag_ms` and `memory_mb`."""

    calls: int = 0
    packets: int = 0
    lost: int = 0
    bad: int = 0
    refused: int = 0
    late_ticks: int = 0
    lag_ms: float = 0.0
    cpu_seconds: float = 0.0
    memory_mb: float = 0.0


def read_figures(text: str) -> WorkerFigures:
    """A page of /metrics; what it does not have is 0."""
    sums: dict[str, float] = {}
    for name, value in _SAMPLE.findall(text):
        sums[name] = sums.get(name, 0.0) + float(value)

    def total(name: str) -> float:
        return sums.get(name, 0.0)

    return WorkerFigures(
        calls=int(total("voicefork_worker_calls")),
        packets=int(total("voicefork_worker_rtp_packets_total")),
        lost=int(total("voicefork_worker_rtp_lost_total")),
        bad=int(total("voicefork_worker_rtp_bad_total")),
        refused=int(total("voicefork_worker_refused_total")),
        late_ticks=int(total("voicefork_worker_late_ticks_total")),
        lag_ms=1000 * total("voicefork_worker_tick_lag_seconds"),
        cpu_seconds=total("process_cpu_seconds_total"),
        memory_mb=total("process_resident_memory_bytes") / 1e6,
    )


@dataclass(frozen=True, slots=True)
class Moment:
    """What there was at `at` (seconds); `worker` None: it shows nothing."""

    at: float
    sent: int
    worker: WorkerFigures | None


@dataclass(frozen=True, slots=True)
class Rates:
    """Between two moments."""

    sent: float  # packets a second
    received: float | None  # by the worker; None = unknown
    cpu: float | None  # of one core, 0..1

    @classmethod
    def between(cls, before: Moment, now: Moment) -> Rates:
        seconds = max(now.at - before.at, 1e-6)
        sent = (now.sent - before.sent) / seconds
        if before.worker is None or now.worker is None:
            return cls(sent, None, None)
        received = (now.worker.packets - before.worker.packets) / seconds
        cpu = (now.worker.cpu_seconds - before.worker.cpu_seconds) / seconds
        return cls(sent, received, cpu)


@dataclass(slots=True)
class Peaks:
    """The most there was at any look."""

    calls: int = 0
    sent: float = 0.0  # packets a second
    received: float = 0.0
    cpu: float = 0.0  # of one core
    lag_ms: float = 0.0

    def note(self, calls: int, rates: Rates, worker: WorkerFigures | None) -> None:
        self.calls = max(self.calls, calls)
        self.sent = max(self.sent, rates.sent)
        self.received = max(self.received, rates.received or 0.0)
        self.cpu = max(self.cpu, rates.cpu or 0.0)
        self.lag_ms = max(self.lag_ms, worker.lag_ms if worker is not None else 0.0)


class LiveView:
    """Looks once a second; `before` is the first moment, from which the worker's totals count."""

    def __init__(
        self, plan: LoadPlan, progress: LoadProgress, session: aiohttp.ClientSession, admin: str
    ) -> None:
        self.plan = plan
        self.progress = progress
        self.rates = Rates(0.0, None, None)
        self.peaks = Peaks()
        self._session = session
        self._admin = admin
        self._began = asyncio.get_running_loop().time()
        self.first = self.last = Moment(0.0, 0, None)

    async def begin(self) -> None:
        self.first = self.last = await self._moment()

    async def look(self) -> None:
        now = await self._moment()
        self.rates, self.last = Rates.between(self.last, now), now
        self.peaks.note(self.progress.running, self.rates, now.worker)

    async def _moment(self) -> Moment:
        worker = await self._worker()
        at = asyncio.get_running_loop().time() - self._began
        return Moment(at, self.progress.sent, worker)

    async def _worker(self) -> WorkerFigures | None:
        if not self._admin:
            return None
        try:
            async with asyncio.timeout(PAGE_SECONDS):
                async with self._session.get(f"http://{self._admin}/metrics") as response:
                    return read_figures(await response.text()) if response.ok else None
        except (aiohttp.ClientError, TimeoutError):
            return None

    # --- words ------------------------------------------------------------------------------

    def line(self) -> str:
        """One second in one line."""
        progress, rates = self.progress, self.rates
        ours = (
            f"{self.last.at:5.1f} s  calls up {progress.running}, begun {progress.begun} of "
            f"{self.plan.calls}, failed {progress.failed}, packets/s sent {rates.sent:,.0f}"
        )
        shown = {name: value for name, value in self._of_worker().items() if name != "packets"}
        theirs = ", ".join(f"{name} {value}" for name, value in shown.items())
        return f"{ours} | worker: {theirs}" if theirs else ours

    def rows(self) -> dict[str, str]:
        """All figures by name, for a table."""
        progress = self.progress
        ours = {
            "begun": f"{progress.begun} of {self.plan.calls}",
            "calls up": f"{progress.running} (at most {self.peaks.calls})",
            "recorded": str(progress.states[ForkState.RECORDING]),
            "failed": str(progress.failed),
            "INVITE to ACK, p50 / p99": _setup(progress),
            "RTP packets sent": f"{progress.sent:,} ({progress.unsent} refused by the system)",
            "sent a second": f"{self.rates.sent:,.0f} (at most {self.peaks.sent:,.0f})",
            "sent 200 ms late": f"{progress.stalls} packets",
        }
        theirs = self._of_worker()
        if theirs:
            peaks = self.peaks
            theirs["packets/s"] += f" (at most {peaks.received:,.0f})"
            theirs["lag"] += f" (at most {peaks.lag_ms:.1f} ms)"
            theirs["CPU"] += f" of a core (at most {100 * peaks.cpu:.0f} %)"
        return {**ours, **{f"worker: {name}": value for name, value in theirs.items()}}

    def _of_worker(self) -> dict[str, str]:
        """Its totals since the load began."""
        now, before = self.last.worker, self.first.worker
        if now is None or before is None:
            return {}
        received, cpu = self.rates.received or 0.0, self.rates.cpu or 0.0
        return {
            "calls": str(now.calls),
            "packets/s": f"{received:,.0f}",
            "packets": f"{now.packets - before.packets:,}",
            "lost": str(now.lost - before.lost),
            "bad": str(now.bad - before.bad),
            "refused": str(now.refused - before.refused),
            "lag": f"{now.lag_ms:.1f} ms",
            "CPU": f"{100 * cpu:.0f} %",
            "memory": f"{now.memory_mb:.0f} MB",
        }


def _setup(progress: LoadProgress) -> str:
    if not progress.setup_ms:
        return "-"
    return f"{progress.setup_quantile_ms(0.5):.1f} / {progress.setup_quantile_ms(0.99):.1f} ms"
