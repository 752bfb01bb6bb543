"""Logs and metrics of the orchestrator. Call ids come from context; phone numbers stay out."""

from __future__ import annotations

import logging
import sys

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

HANDOFF_TIMES = {
    "escalate_ack": "From Escalate to its answer",
    "hold_heard": "From Escalate to the first hold audio at the caller, as the fork heard it",
    "hold_heard_after_phrase": "From the end of say_first to the first hold audio",
    "ring": "Agent's phone: dialled to answered",
    "merge": "Agent accepted to caller and agent together",
    "context_lead": "Context published before the merge by",
    "dead_air": "Silent and missing audio at the caller during the handoff, as the fork heard it",
    "longest_gap": "Longest time without a packet to the caller",
}
_HANDOFF_SECONDS = (0.0, 0.02, 0.04, 0.06, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def configure_logging(style: str, level: str) -> None:
    """Structured logs on stdout: `console` for people, `json` for collectors.

    The standard library's records (aiohttp, grpc, redis) go the same way.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stdout.isatty(), pad_event_to=0, sort_keys=False
        )
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    # No line says where it was written, nor by which thread: finding out is a third of its cost
    # (Python's logging HOWTO, "Optimization").
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # aiohttp's access log would write one line per probe.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)


class Metrics:
    """Everything /metrics shows. One instance per process; no label ever names a call."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.calls = Gauge("voicefork_calls", "Calls with the bot now", registry=registry)
        self.calls_entered = Counter(
            "voicefork_calls_entered", "Calls that came in from the PBX", registry=registry
        )
        self.calls_ended = Counter(
            "voicefork_calls_ended", "How calls left the bot", ["outcome"], registry=registry
        )
        self.to_fork = Histogram(
            "voicefork_entry_fork_seconds",
            "From the caller's entry to the worker that hears the call",
            registry=registry,
            buckets=_SECONDS,
        )
        self.to_talkback = Histogram(
            "voicefork_entry_talkback_seconds",
            "From the caller's entry to the bot's voice being attached",
            registry=registry,
            buckets=_SECONDS,
        )
        self.to_speech = Histogram(
            "voicefork_entry_speech_seconds",
            "From the caller's entry to the bot's first words",
            registry=registry,
            buckets=_SECONDS,
        )
        self.inbox_overflow = Counter(
            "voicefork_call_events_dropped", "Events of a call that overflowed", registry=registry
        )
        self.ari_requests = Histogram(
            "voicefork_ari_request_seconds",
            "Requests to Asterisk",
            ["operation", "result"],
            registry=registry,
            buckets=_SECONDS,
        )
        self.ari_connected = Gauge(
            "voicefork_ari_connected", "Websockets on which events arrive", registry=registry
        )
        self.ari_events = Counter(
            "voicefork_ari_events", "Events from Asterisk", ["type"], registry=registry
        )
        self.ari_unknown = Counter(
            "voicefork_ari_unknown_events", "Events nobody here reads", registry=registry
        )
        self._handoffs = Counter(
            "voicefork_handoff_events", "What happens in handoffs", ["what"], registry=registry
        )
        self._handoffs_ended = Counter(
            "voicefork_handoffs_ended",
            "How handoffs ended",
            ["outcome", "pattern"],
            registry=registry,
        )
        self._handoff_reports = Counter(
            "voicefork_handoff_reported", "Handoffs that a human reported of", registry=registry
        )
        self._handoff_repeated = Counter(
            "voicefork_handoff_repeated",
            "Of these, callers who had to repeat themselves",
            registry=registry,
        )
        self._handoff_times = {
            what: Histogram(
                f"voicefork_handoff_{what}_seconds",
                meaning,
                registry=registry,
                buckets=_HANDOFF_SECONDS,
            )
            for what, meaning in HANDOFF_TIMES.items()
        }
        self.routes_loaded = Counter(
            "voicefork_routes_loads", "Readings of the routes file", ["result"], registry=registry
        )
        self.routes_stale = Gauge(
            "voicefork_routes_stale",
            "1 = the routes file is wrong, and older routes are in force",
            registry=registry,
        )
        self.reports = Counter(
            "voicefork_worker_reports", "What workers report", ["event"], registry=registry
        )
        self.reports_repeated = Counter(
            "voicefork_worker_reports_repeated", "Replayed after a break", registry=registry
        )
        self.cluster_errors = Counter(
            "voicefork_cluster_errors",
            "What the pool's keeper failed at",
            ["what"],
            registry=registry,
        )
        self.workers = Gauge(
            "voicefork_workers_connected", "Workers whose reports arrive", registry=registry
        )

    def reported(self, repeated: bool) -> None:
        """What a human said of a handoff afterwards, once each."""
        self._handoff_reports.inc()
        if repeated:
            self._handoff_repeated.inc()

    def count(self, name: str) -> None:
        """One more of something in the handoffs (implements handoff.ports.Tally)."""
        self._handoffs.labels(name).inc()

    def ended(self, outcome: str, pattern: str) -> None:
        """A handoff's outcome (implements handoff.ports.Tally)."""
        self._handoffs_ended.labels(outcome, pattern).inc()

    def took(self, what: str, milliseconds: int) -> None:
        """One of HANDOFF_TIMES (implements handoff.ports.Tally)."""
        self._handoff_times[what].observe(milliseconds / 1000)
