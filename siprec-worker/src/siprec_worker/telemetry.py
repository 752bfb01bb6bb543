"""Logs and metrics of the worker. Call ids come from context; phone numbers stay out of both."""

from __future__ import annotations

import logging
import sys

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


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
        one = self.registry
        self.calls = Gauge("voicefork_worker_calls", "Recorded calls now", registry=one)
        self.calls_started = Counter(
            "voicefork_worker_calls_started", "Calls recorded", registry=one
        )
        self.calls_ended = Counter(
            "voicefork_worker_calls_ended", "Calls ended", ["reason"], registry=one
        )
        self.refused = Counter(
            "voicefork_worker_refused", "INVITEs refused", ["status"], registry=one
        )
        self.not_recorded = Counter(
            "voicefork_worker_not_recorded",
            "Answered INVITEs whose SRC never started",
            registry=one,
        )
        self.metadata_errors = Counter(
            "voicefork_worker_metadata_errors",
            "Recording metadata that could not be read",
            registry=one,
        )
        self.packets = Counter("voicefork_worker_rtp_packets", "RTP packets received", registry=one)
        self.lost = Counter(
            "voicefork_worker_rtp_lost", "RTP packets that never came", registry=one
        )
        self.bad = Counter(
            "voicefork_worker_rtp_bad", "Datagrams that were not usable RTP", registry=one
        )
        self.late_ticks = Counter(
            "voicefork_worker_late_ticks", "Ticks that ran late", registry=one
        )
        self.tick_seconds = Histogram(
            "voicefork_worker_tick_seconds",
            "Time one tick took",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1),
            registry=one,
        )
        self.agent_events = Counter(
            "voicefork_worker_agent_events",
            "What happened with AIs",
            ["what", "role"],
            registry=one,
        )
        self.reports_dropped = Counter(
            "voicefork_worker_reports_dropped",
            "Events for the orchestrator that were shed",
            registry=one,
        )
        self.registry_errors = Counter(
            "voicefork_worker_registry_errors", "Registry writes that failed", registry=one
        )
