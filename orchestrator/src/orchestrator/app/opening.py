"""Puts the orchestrator together: what is opened, in which order, and who hears of what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address

import structlog

from orchestrator.api.admin import AdminSources, open_admin
from orchestrator.api.call_events import CallEvents
from orchestrator.api.handoff_service import HandoffService, in_stream
from orchestrator.api.server import GrpcServer, Tls, open_server
from orchestrator.app.callers import Callers
from orchestrator.app.handing import open_handoffs
from orchestrator.app.node import Node, Readiness
from orchestrator.app.reaching import open_desk, open_reach
from orchestrator.app.routes_file import open_routes
from orchestrator.ari.client import AriClient, Place
from orchestrator.ari.connection import AriConnection
from orchestrator.ari.pbx import AriPbx
from orchestrator.ari.rest import open_rest
from orchestrator.config import Settings
from orchestrator.fleet.calls import Calls, open_calls
from orchestrator.fleet.rendezvous import Rendezvous, open_rendezvous
from orchestrator.fleet.reports import Reports
from orchestrator.fleet.runner import Surroundings
from orchestrator.fleet.states import EntryPolicy
from orchestrator.fleet.worker_control import open_worker_controls
from orchestrator.handoff.registry import Registry
from orchestrator.telemetry import Metrics

log = structlog.stdlib.get_logger(__name__)

_DRAIN_MARGIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Orchestrator:
    """One that runs. `grpc` and `admin` are HOST:PORT as they came to be."""

    grpc: str
    admin: str
    calls: Calls
    handoffs: Registry
    server: GrpcServer
    drain_seconds: float

    async def drain(self) -> None:
        """Takes no new calls and lets go of those that are here, within a limit."""
        await self.server.serving(False)
        try:
            async with asyncio.timeout(self.drain_seconds + _DRAIN_MARGIN_SECONDS):
                await self.calls.drain(self.drain_seconds, self.handoffs.give_up)
        except TimeoutError:
            log.warning("calls were left behind", calls=len(self.calls))


@asynccontextmanager
async def open_orchestrator(settings: Settings) -> AsyncIterator[Orchestrator]:
    """Runs while the block runs; yields once events arrive from Asterisk.

    An Asterisk or Redis that is away is waited for. Raises SetupError: an address cannot be
    listened on, a file cannot be read, the dialplan lacks a place (asked by AMI).
    """
    metrics = Metrics()
    routes = open_routes(settings, metrics)
    callers = Callers()
    tls = _tls(settings)
    _warn_of_strangers(settings)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(open_server(settings.grpc, tls))
        rest = await stack.enter_async_context(
            open_rest(
                settings.ari,
                settings.ari_user,
                settings.password(),
                limit_seconds=settings.ari_limit,
                metrics=metrics,
            )
        )
        client = AriClient(rest, settings.app)
        pbx = _pbx(settings, client)
        meeting = await stack.enter_async_context(open_rendezvous(settings.redis))
        workers = await stack.enter_async_context(
            open_worker_controls(settings.node, credentials=tls.client() if tls else None)
        )
        grpc_address = f"{settings.grpc.host}:{server.port}"
        around = Surroundings(
            pbx,
            workers,
            meeting,
            _policy(settings),
            metrics,
            orchestrator=settings.advertise or grpc_address,
            node=settings.node,
            app=settings.app,
        )
        calls = await stack.enter_async_context(open_calls(around, settings.max_calls))
        reach = await stack.enter_async_context(open_reach(settings, metrics, lambda: routes.table))
        handoffs = await stack.enter_async_context(
            open_handoffs(
                settings,
                routes,
                client=client,
                pbx=pbx,
                calls=calls,
                controls=workers,
                metrics=metrics,
                callers=callers,
                queues=reach.queues,
            )
        )
        desk, placing = await stack.enter_async_context(
            open_desk(settings, client, lambda: routes.table, reach.queues, metrics)
        )
        node = Node(client, pbx, calls, handoffs, callers, placer=placing)
        connection = AriConnection(
            rest, client, on_event=node.heard, on_connected=node.compare, metrics=metrics
        )
        reports = Reports(calls, handoffs, in_stream(handoffs))
        service = HandoffService(handoffs, settings.tenant, desk)
        await server.serve(CallEvents(reports, metrics), service, reflect=settings.dev)
        readiness = Readiness(connection, node, meeting, calls)
        admin = await stack.enter_async_context(
            open_admin(
                settings.admin.host,
                settings.admin.port,
                AdminSources(
                    metrics.registry, readiness.missing, lambda: _listed(calls), routes.report
                ),
            )
        )
        await stack.enter_async_context(_running(connection, meeting))
        await connection.wait_connected()
        await reach.verify()
        await server.serving(True)
        yield Orchestrator(
            grpc_address,
            f"{settings.admin.host}:{admin}",
            calls,
            handoffs,
            server,
            settings.drain_seconds,
        )


@asynccontextmanager
async def _running(connection: AriConnection, meeting: Rendezvous) -> AsyncIterator[None]:
    """The two listeners, as long as the block runs."""
    async with asyncio.TaskGroup() as work:
        tasks = (work.create_task(connection.run()), work.create_task(meeting.run()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def _pbx(settings: Settings, client: AriClient) -> AriPbx:
    return AriPbx(
        client,
        queue=Place(settings.queue_context, settings.queue_extension),
        music_class=settings.music_class,
        ring_tone=settings.ring_tone,
        limit=settings.ari_limit,
    )


def _policy(settings: Settings) -> EntryPolicy:
    return EntryPolicy(
        answer=settings.answer,
        waiting=settings.waiting,
        rendezvous_seconds=settings.rendezvous_deadline,
        bot_speaks_seconds=settings.bot_speaks_deadline,
        adoption_seconds=settings.adoption_deadline,
    )


def _tls(settings: Settings) -> Tls | None:
    if settings.grpc_cert is None or settings.grpc_key is None:
        return None
    return Tls(settings.grpc_cert, settings.grpc_key, settings.grpc_ca)


def _warn_of_strangers(settings: Settings) -> None:
    """Whoever reaches our gRPC can move callers; the admin page tells of calls."""
    if settings.grpc_ca is None and not _is_loopback(settings.grpc.host):
        log.warning("gRPC is open to whoever reaches it: see --grpc-ca", grpc=settings.grpc)
    if not _is_loopback(settings.admin.host):
        log.warning("the admin page is open to whoever reaches it", admin=settings.admin)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listed(calls: Calls) -> list[dict[str, object]]:
    return [
        {
            "call_id": view.call_id,
            "tenant": view.tenant,
            "channel_id": view.channel_id,
            "state": view.state,
            "worker_id": view.worker_id,
            "answered": view.answered,
            "codec": view.codec,
        }
        for view in calls.views()
    ]
