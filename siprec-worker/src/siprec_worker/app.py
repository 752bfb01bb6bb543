"""Puts a worker together: sockets, tick, sessions, sinks and the ways to be seen and asked."""

from __future__ import annotations

import asyncio
import secrets
import signal
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

import structlog

from siprec_worker.config import Route, Settings
from siprec_worker.net.admin import AdminPages, open_admin
from siprec_worker.net.ari_escape import PATIENCE_SECONDS, AriEscape, open_nodes
from siprec_worker.net.ari_node import QueuePlace
from siprec_worker.net.call_events import CallEventsClient, NoOrchestrator
from siprec_worker.net.control import Moves, open_control
from siprec_worker.net.decode_thread import DecodeThread
from siprec_worker.net.grpc_tls import Dial, GrpcTls, PeerNames, dial_orchestrator, dial_worker
from siprec_worker.net.lease import Situation
from siprec_worker.net.media_sockets import TickedSockets
from siprec_worker.net.membership import Around, open_membership
from siprec_worker.net.registry import RedisRegistry, Reporters
from siprec_worker.net.routes_file import RoutesFile
from siprec_worker.net.sip_endpoint import SipEndpoint, open_sip_endpoint
from siprec_worker.net.sip_tls import TlsFiles, TlsListening
from siprec_worker.pem import Identity
from siprec_worker.protocol.sip.digest import DigestRealm
from siprec_worker.protocol.sip.events import Strayed, UasEvent
from siprec_worker.protocol.sip.settings import UasSettings
from siprec_worker.protocol.sip.uri import joined_host_port
from siprec_worker.session.builder import CallBuilder
from siprec_worker.session.call import Surroundings
from siprec_worker.session.intake import Intake
from siprec_worker.session.ports import Reporter
from siprec_worker.sinks.catalogue import connector_for
from siprec_worker.sinks.options import AgentOptions
from siprec_worker.worker import Worker

log = structlog.get_logger(__name__)

FLUSH_ORDER = 20  # after sessions (0) and voices (10): one write per connection and tick
SILENCE_CHECK_SECONDS = 1.0
REPORTING_SECONDS = 1.0
POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a started worker can be reached."""

    sip: str
    admin: str
    control: str
    sips: str = ""  # SIP over TLS, where it is spoken


def uuid7() -> str:
    """A UUIDv7 (RFC 9562 section 5.7): sorts by time."""
    value = (time.time_ns() // 1_000_000) << 80 | 0x7 << 76 | secrets.randbits(12) << 64
    value |= 0b10 << 62 | secrets.randbits(62)
    text = f"{value:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


@asynccontextmanager
async def open_worker(settings: Settings) -> AsyncIterator[tuple[Worker, Addresses]]:
    """A running worker. Raises SetupError when something it needs is not there."""
    worker = Worker(settings)
    grpc_tls = _grpc_tls(settings)
    async with AsyncExitStack() as stack:
        escape = await _escape(worker, stack)
        control_port = await stack.enter_async_context(
            open_control(settings.control, worker.calls, escape, worker.handles, grpc_tls)
        )
        control = f"{settings.advertise or settings.control.host}:{control_port}"
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        told = dial_orchestrator(grpc_tls)
        reporter = _reporter(worker, control, escape, stack, tasks, told)
        stack.push_async_callback(_report_the_rest, worker)
        routes = _connectors(worker, stack)
        endpoint, intake = await _sip(worker, reporter, stack)
        await _join(worker, endpoint, intake, control, stack, dial_worker(grpc_tls))
        pages = AdminPages(
            worker.calls,
            worker.metrics,
            worker.ready,
            worker.refresh_metrics,
            lambda call: endpoint.request_metadata(call.dialog_id, "asked by an operator"),
        )
        admin_port = await stack.enter_async_context(open_admin(settings.admin, pages))
        worker.tick.add_listener(worker.admission.on_tick, order=-1)
        worker.tick.add_listener(worker.on_tick)
        worker.tick.add_listener(worker.flush, order=FLUSH_ORDER)
        stack.enter_context(worker.tick)
        watches = [_end_silent_calls(worker, intake), endpoint.watch_tls_files()]
        if routes is not None:
            watches.append(routes.watch())
        for watch in watches:
            stack.callback(tasks.create_task(watch).cancel)
        stack.callback(_end_all, worker)
        tls_port = endpoint.tls_port
        yield (
            worker,
            Addresses(
                sip=joined_host_port(endpoint.host, endpoint.port),
                admin=f"{settings.admin.host}:{admin_port}",
                control=control,
                sips=joined_host_port(settings.media_host, tls_port) if tls_port else "",
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


def _reporter(  # noqa: PLR0913, PLR0917 - the parts it brings together
    worker: Worker,
    control: str,
    escape: AriEscape | None,
    stack: AsyncExitStack,
    tasks: asyncio.TaskGroup,
    dial: Dial,
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
            dial,
        )
        stack.callback(tasks.create_task(client.run()).cancel)
        reporters.append(client)
        worker.events = client
    if escape is not None:
        reporters.append(escape)
        if worker.events is not None:
            worker.events.on_acknowledged = escape.acknowledged
    return Reporters(*reporters) if reporters else NoOrchestrator()


def _connectors(worker: Worker, stack: AsyncExitStack) -> RoutesFile | None:
    """A connector for every AI of the routes, also of those that come with another file.

    What a new file no longer names stays: calls may be on it, and idle it holds no connection.
    """
    settings = worker.settings
    options = AgentOptions(
        opening_seconds=settings.open_seconds,
        ca_file=settings.agent_ca,
        certificate_file=settings.agent_cert,
        key_file=settings.agent_key,
    )

    def connect(urls: Iterable[str]) -> None:
        new = {url: connector_for(url, options) for url in urls if url not in worker.connectors}
        worker.connectors.update(new)
        for connector in new.values():
            stack.push_async_callback(connector.aclose)

    def take(listed: tuple[Route, ...]) -> None:
        connect(sorted({agent.url for route in listed for agent in route.agents}))
        worker.routes.listed = listed

    connect(sorted(worker.routes.urls()))
    worker.reach = connect
    if settings.routes_file is None:
        return None
    return RoutesFile(settings.routes_file, take, worker.metrics)


async def _sip(
    worker: Worker, reporter: Reporter, stack: AsyncExitStack
) -> tuple[SipEndpoint, Intake]:
    settings = worker.settings
    around = Surroundings(
        worker.connectors,
        reporter,
        time.time,
        worker.count,
        worker.metrics.leg_mos.observe,
        worker.keep,
        worker.reach,
    )
    builder = CallBuilder(
        settings=settings,
        host=settings.media_host,
        sockets=TickedSockets(worker.ports, worker.tick),
        around=around,
        routes=worker.routes,
        metrics=worker.metrics,
        fresh_id=uuid7,
        lane=stack.enter_context(DecodeThread()),
    )
    intakes: list[Intake] = []

    def hear(_: SipEndpoint, event: UasEvent) -> None:
        if isinstance(event, Strayed):
            if worker.member is not None:
                worker.member.strays.came(event)
            return
        intakes[0].handle(event, asyncio.get_running_loop().time())

    passwords = settings.passwords()
    uas = UasSettings(
        host=settings.media_host,
        port=settings.sip.port,
        min_answer_delay=settings.answer_delay_ms / 1000,
        max_dialogs=2 * settings.max_calls,  # a bound against leaks: max_calls is the limit
        networks=settings.sip_allow,
        realm=DigestRealm(settings.sip_realm, passwords) if passwords else None,
    )
    endpoint = await stack.enter_async_context(
        open_sip_endpoint(
            settings.sip.host,
            settings.sip.port,
            uas,
            hear,
            tls=_tls(settings),
            admits=worker.admission.admits,
        )
    )
    worker.endpoint = endpoint
    intakes.append(Intake(endpoint, worker.calls, builder))
    return endpoint, intakes[0]


async def _join(  # noqa: PLR0913, PLR0917 - the parts it brings together
    worker: Worker,
    endpoint: SipEndpoint,
    intake: Intake,
    control: str,
    stack: AsyncExitStack,
    dial: Dial,
) -> None:
    """Membership in the pool, where there is a Redis for one."""
    settings = worker.settings
    if not settings.redis:
        return
    at = joined_host_port(settings.media_host, endpoint.port)
    situation = Situation(
        worker.worker_id, f"sip:{at};transport=tcp", settings.zone, control, settings.max_calls
    )
    around = Around(
        worker.calls,
        worker.metrics,
        worker.admission,
        endpoint,
        intake.adoption,
        worker.drop,
        worker.flush,
        dial,
    )
    member = await stack.enter_async_context(open_membership(settings.redis, situation, around))
    worker.member = member
    worker.handles.moves = Moves(member.moving, member.receiving)


def _grpc_tls(settings: Settings) -> GrpcTls | None:
    """Raises SetupError: its files cannot be used."""
    if settings.grpc_cert is None or settings.grpc_key is None:
        return None
    identity = Identity(settings.grpc_cert, settings.grpc_key, settings.grpc_ca)
    names = PeerNames(settings.grpc_orchestrator_name, settings.grpc_worker_name)
    return GrpcTls(identity, names)


def _tls(settings: Settings) -> TlsListening | None:
    at, certificate, key = settings.sip_tls, settings.sip_tls_certificate, settings.sip_tls_key
    if at is None or certificate is None or key is None:
        return None
    files = TlsFiles(certificate, key, settings.sip_tls_ca, settings.sip_tls_clients)
    return TlsListening(at.host, at.port, files)


async def _end_silent_calls(worker: Worker, intake: Intake) -> None:
    while True:
        await asyncio.sleep(SILENCE_CHECK_SECONDS)
        now = asyncio.get_running_loop().time()
        try:
            intake.end_silent_calls(worker.settings.rtp_silence_seconds, now)
        except Exception:
            # A bug at one call's end; the others are looked at again in a moment.
            log.exception("silent calls not ended")


def _end_all(worker: Worker) -> None:
    """On the way out every call is ended properly: BYE to the SRC, goodbye to the AIs."""
    now = asyncio.get_running_loop().time()
    for call in worker.calls.live():
        try:
            worker.drop(call, "worker ends", now)
        except Exception:
            # The other calls' clients and AIs are to be told all the same.
            log.exception("call failed at its end", call_id=call.identity.call_id)
    worker.flush(now)


async def _report_the_rest(worker: Worker) -> None:
    """What the calls' ends had to tell goes out before the ways are closed; 1 s at most."""
    with suppress(TimeoutError):
        async with asyncio.timeout(REPORTING_SECONDS):
            while worker.unreported():  # noqa: ASYNC110 - two queues, neither with an event for it
                await asyncio.sleep(POLL_SECONDS)


async def _drain(worker: Worker, at_once: asyncio.Event) -> None:
    """Takes no call any more; those there are move to other workers, or end by themselves, until
    `at_once` or the time is up.
    """
    worker.admission.draining = True
    async with asyncio.TaskGroup() as tasks:
        moving: asyncio.Task[None] | None = None
        if worker.member is not None:
            worker.member.lease.beat_now()
            moving = tasks.create_task(worker.member.moving.move_all(at_once))
        await _until_empty(worker, at_once)
        if moving is not None:
            moving.cancel()


async def _until_empty(worker: Worker, at_once: asyncio.Event) -> None:
    deadline = asyncio.get_running_loop().time() + worker.settings.drain_seconds
    while worker.calls and not at_once.is_set():
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(min(left, POLL_SECONDS)):
                await at_once.wait()


async def serve(settings: Settings) -> None:
    """Runs a worker until SIGTERM or SIGINT, and then until its calls end or it is told again.

    SIGHUP makes it look at its TLS files now.
    """
    loop = asyncio.get_running_loop()
    stop, at_once = asyncio.Event(), asyncio.Event()

    def asked_to_stop() -> None:
        (at_once if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_stop)
    async with open_worker(settings) as (worker, at):
        if worker.endpoint is not None:
            loop.add_signal_handler(signal.SIGHUP, worker.endpoint.look_at_tls_files)
        worker.handles.drain = stop.set
        ready = f"ready sip={at.sip} admin={at.admin} control={at.control}"
        log.info("ready", line=ready + (f" sips={at.sips}" if at.sips else ""))
        await stop.wait()
        log.info("draining", calls=len(worker.calls), seconds=settings.drain_seconds)
        await _drain(worker, at_once)
        log.info("stopping", calls=len(worker.calls))
