"""Logs and metrics of the worker. Call ids come from context; phone numbers stay out of both."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector


def configure_logging(style: str, level: str) -> None:
    """Structured logs on stderr: `console` for people, `json` for collectors."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=level, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")


class Metrics:
    """Everything /metrics shows. One instance per worker; sums, no labels of calls."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # CPU, memory, open files
        self.calls = Gauge("voicefork_worker_calls", "Recorded calls now", registry=self.registry)
        self.calls_started = self._counter("calls_started", "Calls recorded")
        self.calls_ended = self._counter("calls_ended", "Calls ended", ["reason"])
        self.refused = self._counter("refused", "INVITEs refused", ["status"])
        self.not_recorded = self._counter("not_recorded", "Answered, but the SRC never began")
        self.metadata_errors = self._counter("metadata_errors", "Unreadable recording metadata")
        self.packets = self._counter("rtp_packets", "RTP packets received")
        self.lost = self._counter("rtp_lost", "RTP packets that never came")
        self.recovered = self._counter("rtp_recovered", "Of those, made up for by the codec")
        self.overloaded = self._counter("rtp_overloaded", "RTP packets left undecoded for overload")
        self.bad = self._counter("rtp_bad", "Datagrams that were not usable RTP")
        self.late_ticks = self._counter("late_ticks", "Ticks that ran late")
        self.lag = Gauge(
            "voicefork_worker_tick_lag_seconds",
            "How late ticks are, smoothed: over --max-lag-ms calls are refused",
            registry=self.registry,
        )
        self.tick_seconds = Histogram(
            "voicefork_worker_tick_seconds",
            "Time one tick took",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1),
            registry=self.registry,
        )
        self.leg_mos = Histogram(
            "voicefork_worker_leg_mos",
            "Estimated MOS of a leg at its end (E-model)",
            buckets=(2.0, 2.5, 3.0, 3.5, 3.8, 4.0, 4.2, 4.4),
            registry=self.registry,
        )
        self.agent_events = self._counter("agent_events", "News of AIs", ["what", "role"])
        self.agent_resumes = self._counter("agent_resumes", "Streams to AIs gone on with", ["how"])
        self.agent_replayed_ms = self._counter("agent_replayed_ms", "Audio that AIs got again")
        self.agent_missed_ms = self._counter("agent_missed_ms", "Audio AIs were only told of")
        self.reports_dropped = self._counter("reports_dropped", "Events for the orchestrator shed")
        self.escapes = self._counter(
            "escapes", "Escalations the orchestrator did not acknowledge in time", ["result"]
        )
        self.escape_errors = self._counter("escape_errors", "Attempts to reach the queue in vain")
        self.adopted = self._counter("adopted", "Forks of other workers", ["result"])
        self.moved = self._counter("moved", "Forks given to other workers", ["result"])
        self.left = self._counter("left_bytes", "Of AI streams, handed on un-acknowledged")
        self.forks_lost = self._counter("forks_lost", "Forks that others took while we slept")
        self.strays = self._counter("strays", "Requests for other workers' dialogs", ["result"])
        self.routes_stale = Gauge(
            "voicefork_worker_routes_stale",
            "1 = the routes' file is wrong, and the routes before it are in force",
            registry=self.registry,
        )
        self.registry_errors = self._counter("registry_errors", "Registry writes that failed")

    def _counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(f"voicefork_worker_{name}", text, labels, registry=self.registry)
