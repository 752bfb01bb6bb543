"""What the parts of one worker share, and what happens on every tick."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterable, Iterator

import redis.asyncio as redis
import structlog
from prometheus_client import Counter
from voicefork.handoff.v1 import handoff_pb2

from siprec_worker.config import Settings
from siprec_worker.net.admission import Admission, Limits
from siprec_worker.net.call_events import CallEventsClient
from siprec_worker.net.control import Handles
from siprec_worker.net.membership import Membership
from siprec_worker.net.registry import RedisRegistry
from siprec_worker.net.rtp_ports import RtpPorts
from siprec_worker.net.rtp_tick import RtpTick
from siprec_worker.net.sip_endpoint import SipEndpoint
from siprec_worker.session import events as ev
from siprec_worker.session.call import RecordedCall
from siprec_worker.session.model import CloseReason, HandoffUpdate
from siprec_worker.session.ports import AgentConnector
from siprec_worker.session.registry import Calls
from siprec_worker.session.routes import Routes
from siprec_worker.sinks.resuming import Resuming
from siprec_worker.telemetry import Metrics

log = structlog.get_logger(__name__)

CALLS_PER_WRITE = 80  # about a connection's: their audio need not wait for all the others'


class Worker:
    """One of these per process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.calls = Calls()
        interval = settings.tick_ms / 1000
        self.tick = RtpTick(interval=interval)
        self.ports = RtpPorts(
            settings.media_host,
            settings.rtp_ports.first,
            settings.rtp_ports.last,
            behind=settings.sip.host,
        )
        limits = Limits(settings.max_calls, settings.max_lag_ms / 1000)
        self.admission = Admission(limits, interval, self.ports, lambda: len(self.calls))
        self.worker_id = settings.worker_id or f"{socket.gethostname()}-{os.getpid()}"
        self.routes = Routes(settings.routes, settings.usual_route)
        self.connectors: dict[str, AgentConnector] = {}
        self.reach: Callable[[Iterable[str]], None] = lambda urls: None  # makes those that it lacks
        self.registry: RedisRegistry | None = None
        self.events: CallEventsClient | None = None
        self.endpoint: SipEndpoint | None = None
        self.member: Membership | None = None
        self.handles = Handles()
        self._counted: dict[Counter, int] = {}  # what the metrics have of totals kept elsewhere

    def on_tick(self, now: float) -> None:
        for number, call in enumerate(self.calls.live(), 1):
            try:
                call.tick(now)
            except Exception:
                # A bug costs this call its recording, never the other calls theirs.
                log.exception("call failed", call_id=call.identity.call_id)
                self.drop(call, "failed", now)
            if not number % CALLS_PER_WRITE:
                self._write()

    def drop(self, call: RecordedCall, why: str, now: float) -> None:
        """Ends a call of ours: BYE to the SRC, goodbye to the AIs."""
        try:
            if call.confirmed:
                self.metrics.calls_ended.labels(reason=why).inc()
            if self.endpoint is not None:
                self.endpoint.bye(call.dialog_id, why)
            call.end(why, now)
        finally:
            self.calls.remove(call)

    def flush(self, _: float) -> None:
        """The last of a tick."""
        self._write()
        took = asyncio.get_running_loop().time() - self.tick.begun
        self.metrics.tick_seconds.observe(took)

    def _write(self) -> None:
        for connector in self.connectors.values():
            connector.flush()

    def keep(self, call: RecordedCall) -> None:
        """What another worker would need of the call has changed."""
        if self.member is not None:
            self.member.keep(call)

    def count(self, what: str, role: str) -> None:
        self.metrics.agent_events.labels(what=what, role=role).inc()

    def escalation_refused(self, call_id: str, request_id: str, error: str) -> None:
        if (call := self.calls.by_call_id(call_id)) is not None:
            call.feed(ev.Refused(request_id, error), asyncio.get_running_loop().time())

    def escaped(self, call_id: str, request_id: str) -> None:
        """The caller waits for a human by our own doing: the AI is told, and has no voice left."""
        if self.events is not None:
            self.events.withdraw(call_id)
        call = self.calls.by_call_id(call_id)
        if call is None:
            return
        now = asyncio.get_running_loop().time()
        phase, outcome = handoff_pb2.PHASE_QUEUED, handoff_pb2.OUTCOME_QUEUED
        update = HandoffUpdate("", phase, outcome, 0, request_id)
        call.feed(ev.HandoffChanged(update), now)
        call.detach(ev.TalkbackDetached(CloseReason.LEFT_BOT), now)

    def _resumed(self) -> Iterator[tuple[Counter, int]]:
        metrics = self.metrics
        found = [c.resumes for c in self.connectors.values() if isinstance(c, Resuming)]
        for how in ("resumed", "anew", "failed"):
            yield metrics.agent_resumes.labels(how=how), sum(getattr(r, how) for r in found)
        yield metrics.agent_replayed_ms, sum(r.replayed_ms for r in found)
        yield metrics.agent_missed_ms, sum(r.missed_ms for r in found)

    def refresh_metrics(self) -> None:
        metrics, rtp, ticks = self.metrics, self.calls.rtp(), self.tick.stats
        metrics.calls.set(len(self.calls))
        metrics.lag.set(self.admission.lag)
        refused = self.endpoint.uas.refused if self.endpoint is not None else {}
        for counter, total in (
            (metrics.packets, rtp["packets"]),
            (metrics.lost, rtp["lost"]),
            (metrics.recovered, rtp["recovered"]),
            (metrics.overloaded, rtp["overloaded"]),
            (metrics.bad, rtp["bad"]),
            (metrics.late_ticks, ticks.late_ticks),
            *((metrics.refused.labels(status=str(s)), n) for s, n in refused.items()),
            *self._resumed(),
        ):
            counted = self._counted.get(counter, 0)
            counter.inc(max(total - counted, 0))
            self._counted[counter] = max(total, counted)

    def unreported(self) -> int:
        """What the registry and the orchestrator have not been told yet."""
        waiting = self.registry.waiting if self.registry is not None else 0
        waiting += self.member.store.waiting if self.member is not None else 0
        return waiting + (self.events.waiting if self.events is not None else 0)

    async def ready(self) -> str:
        if obstacle := self.admission.obstacle:
            return obstacle
        if self.registry is not None:
            try:
                await self.registry.check()
            except (redis.RedisError, OSError, TimeoutError) as error:
                return f"redis does not answer: {error}"
        return ""
