"""Puts a worker together: sockets, tick, sessions, sinks and the ways to be seen and asked."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import redis.asyncio as redis
import structlog
from prometheus_client import Counter
from voicefork.handoff.v1 import handoff_pb2

from siprec_worker.config import Settings
from siprec_worker.errors import SetupError
from siprec_worker.net.admin import AdminPages, open_admin
from siprec_worker.net.ari_escape import PATIENCE_SECONDS, AriEscape, open_nodes
from siprec_worker.net.ari_node import QueuePlace
from siprec_worker.net.call_events import CallEventsClient, NoOrchestrator
from siprec_worker.net.control import open_control
from siprec_worker.net.decode_thread import DecodeThread
from siprec_worker.net.media_sockets import TickedSockets
from siprec_worker.net.registry import RedisRegistry, Reporters
from siprec_worker.net.rtp_ports import RtpPorts
from siprec_worker.net.rtp_tick import RtpTick
from siprec_worker.net.sip_endpoint import SipEndpoint, open_sip_endpoint
from siprec_worker.protocol.sip.events import UasEvent
from siprec_worker.protocol.sip.settings import UasSettings
from siprec_worker.session import events as ev
from siprec_worker.session.builder import CallBuilder
from siprec_worker.session.call import RecordedCall, Surroundings
from siprec_worker.session.intake import Intake
from siprec_worker.session.model import CloseReason, HandoffUpdate
from siprec_worker.session.ports import AgentConnector, Reporter
from siprec_worker.session.registry import Calls
from siprec_worker.sinks.catalogue import connector_for
from siprec_worker.sinks.options import AgentOptions
from siprec_worker.telemetry import Metrics

log = structlog.get_logger(__name__)

FLUSH_ORDER = 20  # after sessions (0) and voices (10): one write per connection and tick
SILENCE_CHECK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a started worker can be reached."""

    sip: str
    admin: str
    control: str


def uuid7() -> str:
    """A UUIDv7 (RFC 9562 section 5.7): sorts by time."""
    value = (time.time_ns() // 1_000_000) << 80 | 0x7 << 76 | secrets.randbits(12) << 64
    value |= 0b10 << 62 | secrets.randbits(62)
    text = f"{value:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


class Worker:
    """What the parts of one worker share, and what happens on every tick."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.calls = Calls()
        self.draining = False
        self.tick = RtpTick(interval=settings.tick_ms / 1000)
        self.worker_id = settings.worker_id or f"{socket.gethostname()}-{os.getpid()}"
        self.connectors: dict[str, AgentConnector] = {}
        self.registry: RedisRegistry | None = None
        self.events: CallEventsClient | None = None
        self.endpoint: SipEndpoint | None = None
        self._counted: dict[Counter, int] = {}  # what the metrics have of totals kept elsewhere

    def on_tick(self, now: float) -> None:
        for call in self.calls.live():
            try:
                call.tick(now)
            except Exception:
                # A bug costs this call its recording, never the other calls theirs.
                log.exception("call failed", call_id=call.identity.call_id)
                self.drop(call, "failed", now)

    def drop(self, call: RecordedCall, why: str, now: float) -> None:
        """Ends a call of ours: BYE to the SRC, goodbye to the AIs."""
        self.calls.remove(call)
        if call.confirmed:
            self.metrics.calls_ended.labels(reason=why).inc()
        if self.endpoint is not None:
            self.endpoint.bye(call.dialog_id, why)
        call.end(why, now)

    def flush(self, begun: float) -> None:
        """The last of a tick."""
        for connector in self.connectors.values():
            connector.flush()
        self.metrics.tick_seconds.observe(asyncio.get_running_loop().time() - begun)

    def count(self, what: str, role: str) -> None:
        self.metrics.agent_events.labels(what=what, role=role).inc()

    def escalation_refused(self, call_id: str, request_id: str, error: str) -> None:
        if (call := self.calls.by_call_id(call_id)) is not None and not call.ended_reason:
            call.feed(ev.Refused(request_id, error), asyncio.get_running_loop().time())

    def escaped(self, call_id: str, request_id: str) -> None:
        """The caller waits for a human by our own doing: the AI is told, and has no voice left."""
        if self.events is not None:
            self.events.withdraw(call_id)
        call = self.calls.by_call_id(call_id)
        if call is None or call.ended_reason:
            return
        now = asyncio.get_running_loop().time()
        phase, outcome = handoff_pb2.PHASE_QUEUED, handoff_pb2.OUTCOME_QUEUED
        update = HandoffUpdate("", phase, outcome, 0, request_id)
        call.feed(ev.HandoffChanged(update), now)
        call.detach(ev.TalkbackDetached(CloseReason.LEFT_BOT), now)

    def refresh_metrics(self) -> None:
        metrics, rtp, ticks = self.metrics, self.calls.rtp(), self.tick.stats
        metrics.calls.set(len(self.calls))
        for counter, total in (
            (metrics.packets, rtp["packets"]),
            (metrics.lost, rtp["lost"]),
            (metrics.bad, rtp["bad"]),
            (metrics.late_ticks, ticks.late_ticks),
        ):
            counted = self._counted.get(counter, 0)
            counter.inc(max(total - counted, 0))
            self._counted[counter] = max(total, counted)

    async def ready(self) -> str:
        if self.draining:
            return "draining"
        if self.registry is not None:
            try:
                await self.registry.check()
            except (redis.RedisError, OSError, TimeoutError) as error:
                return f"redis does not answer: {error}"
        return ""


@asynccontextmanager
async def open_worker(settings: Settings) -> AsyncIterator[tuple[Worker, Addresses]]:
    """A running worker. Raises SetupError when something it needs is not there."""
    worker = Worker(settings)
    async with AsyncExitStack() as stack:
        escape = await _escape(worker, stack)
        control_port = await stack.enter_async_context(
            open_control(settings.control, worker.calls, escape)
        )
        control = f"{settings.advertise or settings.control.host}:{control_port}"
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        reporter = _reporter(worker, control, escape, stack, tasks)
        _connectors(worker, stack)
        endpoint, intake = await _sip(worker, reporter, stack)
        pages = AdminPages(worker.calls, worker.metrics, worker.ready, worker.refresh_metrics)
        admin_port = await stack.enter_async_context(open_admin(settings.admin, pages))
        worker.tick.add_listener(worker.on_tick)
        worker.tick.add_listener(worker.flush, order=FLUSH_ORDER)
        stack.enter_context(worker.tick)
        watchdog = tasks.create_task(_end_silent_calls(worker, intake))
        stack.callback(watchdog.cancel)
        stack.callback(_end_all, worker)
        yield (
            worker,
            Addresses(
                sip=f"{endpoint.host}:{endpoint.port}",
                admin=f"{settings.admin.host}:{admin_port}",
                control=control,
            ),
        )


async def _escape(worker: Worker, stack: AsyncExitStack) -> AriEscape | None:
    """The way to the queue without an orchestrator, where an Asterisk is named."""
    settings = worker.settings
    if not settings.asterisk_nodes:
        return None
    password = settings.ari_password.get_secret_value()
    nodes = await stack.enter_async_context(
        open_nodes(settings.asterisk_nodes, settings.ari_user, password)
    )
    place = QueuePlace(settings.queue_context, settings.queue_extension)
    patience = PATIENCE_SECONDS if settings.orchestrator else 0.0
    escape = AriEscape(nodes, place, worker.metrics, worker.escaped, patience=patience)
    stack.push_async_callback(escape.aclose)
    return escape


def _reporter(
    worker: Worker,
    control: str,
    escape: AriEscape | None,
    stack: AsyncExitStack,
    tasks: asyncio.TaskGroup,
) -> Reporter:
    reporters: list[Reporter] = []
    settings = worker.settings
    if settings.redis:
        worker.registry = RedisRegistry(settings.redis, worker.worker_id, control, worker.metrics)
        stack.push_async_callback(worker.registry.aclose)
        stack.callback(tasks.create_task(worker.registry.run()).cancel)
        reporters.append(worker.registry)
    if settings.orchestrator:
        client = CallEventsClient(
            settings.orchestrator,
            worker.worker_id,
            control,
            worker.metrics,
            worker.escalation_refused,
        )
        stack.callback(tasks.create_task(client.run()).cancel)
        reporters.append(client)
        worker.events = client
    if escape is not None:
        reporters.append(escape)
        if worker.events is not None:
            worker.events.on_acknowledged = escape.acknowledged
    return Reporters(*reporters) if reporters else NoOrchestrator()


def _connectors(worker: Worker, stack: AsyncExitStack) -> None:
    settings = worker.settings
    urls = {settings.agent, *(agent.url for route in settings.routes for agent in route.agents)}
    options = AgentOptions(opening_seconds=settings.open_seconds, ca_file=settings.agent_ca)
    for url in sorted(urls):
        worker.connectors[url] = connector_for(url, options)
        stack.push_async_callback(worker.connectors[url].aclose)


async def _sip(
    worker: Worker, reporter: Reporter, stack: AsyncExitStack
) -> tuple[SipEndpoint, Intake]:
    settings = worker.settings
    ports = RtpPorts(settings.media_host, settings.rtp_ports.first, settings.rtp_ports.last)
    around = Surroundings(worker.connectors, reporter, time.time, worker.count)
    builder = CallBuilder(
        settings=settings,
        host=settings.media_host,
        sockets=TickedSockets(ports, worker.tick),
        around=around,
        metrics=worker.metrics,
        fresh_id=uuid7,
        lane=stack.enter_context(DecodeThread()),
    )
    intakes: list[Intake] = []

    def hear(endpoint: SipEndpoint, event: UasEvent) -> None:
        intakes[0].handle(event, asyncio.get_running_loop().time())
        endpoint.available = not worker.draining and len(worker.calls) < settings.max_calls

    uas = UasSettings(
        host=settings.media_host,
        port=settings.sip.port,
        min_answer_delay=settings.answer_delay_ms / 1000,
    )
    try:
        endpoint = await stack.enter_async_context(
            open_sip_endpoint(settings.sip.host, settings.sip.port, uas, hear)
        )
    except OSError as error:
        raise SetupError(f"--sip {settings.sip}: {error}") from error
    worker.endpoint = endpoint
    intakes.append(Intake(endpoint, worker.calls, builder))
    return endpoint, intakes[0]


async def _end_silent_calls(worker: Worker, intake: Intake) -> None:
    while True:
        await asyncio.sleep(SILENCE_CHECK_SECONDS)
        now = asyncio.get_running_loop().time()
        intake.end_silent_calls(worker.settings.rtp_silence_seconds, now)


def _end_all(worker: Worker) -> None:
    """On the way out every call is ended properly: BYE to the SRC, goodbye to the AIs."""
    now = asyncio.get_running_loop().time()
    for call in worker.calls.live():
        worker.drop(call, "worker ends", now)
    worker.flush(now)


async def serve(settings: Settings) -> None:
    """Runs a worker until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with open_worker(settings) as (worker, at):
        log.info("ready", line=f"ready sip={at.sip} admin={at.admin} control={at.control}")
        await stop.wait()
        worker.draining = True
        if worker.endpoint is not None:
            worker.endpoint.available = False
        log.info("stopping", calls=len(worker.calls))
