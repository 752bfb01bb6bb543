"""Puts the orchestrator together: what is opened, in which order, and who hears of what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog

from orchestrator.api.admin import AdminSources, open_admin
from orchestrator.api.call_events import CallEvents
from orchestrator.api.handoff_service import NoHandoffs
from orchestrator.api.server import GrpcServer, Tls, open_server
from orchestrator.ari import events as ari
from orchestrator.ari.client import AriClient, Place
from orchestrator.ari.connection import AriConnection
from orchestrator.ari.leftovers import clear_up, sort_out
from orchestrator.ari.pbx import OWN_LEG, AriPbx
from orchestrator.ari.rest import open_rest
from orchestrator.config import Settings
from orchestrator.errors import StoreError
from orchestrator.fleet import events as on
from orchestrator.fleet.call import CallId
from orchestrator.fleet.calls import Calls, open_calls
from orchestrator.fleet.entrance import INBOUND, Entrance
from orchestrator.fleet.rendezvous import Rendezvous, open_rendezvous
from orchestrator.fleet.reports import Reports, escalate_to_queue
from orchestrator.fleet.runner import Surroundings
from orchestrator.fleet.states import EntryPolicy
from orchestrator.fleet.worker_control import open_worker_controls
from orchestrator.telemetry import Metrics

log = structlog.stdlib.get_logger(__name__)

_DRAIN_MARGIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Orchestrator:
    """One that runs. `grpc` and `admin` are HOST:PORT as they came to be."""

    grpc: str
    admin: str
    calls: Calls
    server: GrpcServer
    drain_seconds: float

    async def drain(self) -> None:
        """Takes no new calls and lets go of those that are here, within a limit."""
        await self.server.serving(False)
        try:
            async with asyncio.timeout(self.drain_seconds + _DRAIN_MARGIN_SECONDS):
                await self.calls.drain(self.drain_seconds)
        except TimeoutError:
            log.warning("calls were left behind", calls=len(self.calls))


@asynccontextmanager
async def open_orchestrator(settings: Settings) -> AsyncIterator[Orchestrator]:
    """Runs while the block runs; yields once events arrive from Asterisk.

    An Asterisk or Redis that is away is waited for. Raises SetupError: an address cannot be
    listened on, a file cannot be read.
    """
    metrics = Metrics()
    tls = _tls(settings)
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
        node = Node(client, pbx, calls)
        connection = AriConnection(
            rest, client, on_event=node.heard, on_connected=node.compare, metrics=metrics
        )
        reports = Reports(calls, escalate_to_queue(calls))
        await server.serve(CallEvents(reports, metrics), NoHandoffs(), reflect=settings.dev)
        readiness = Readiness(connection, node, meeting, calls)
        admin = await stack.enter_async_context(
            open_admin(
                settings.admin.host,
                settings.admin.port,
                AdminSources(metrics.registry, readiness.missing, lambda: _listed(calls)),
            )
        )
        await stack.enter_async_context(_running(connection, meeting))
        await connection.wait_connected()
        await server.serving(True)
        yield Orchestrator(
            grpc_address, f"{settings.admin.host}:{admin}", calls, server, settings.drain_seconds
        )


class Node:
    """Brings what Asterisk says to the calls, in their own words."""

    def __init__(self, client: AriClient, pbx: AriPbx, calls: Calls) -> None:
        self._client = client
        self._pbx = pbx
        self._calls = calls
        self._entrance = Entrance(calls, pbx)
        self.queue_exists: bool | None = None

    def heard(self, event: ari.AriEvent) -> None:
        match event:
            case ari.StasisStart(channel) if channel.id.startswith(OWN_LEG):
                self._pbx.leg_entered(channel.id)
            case ari.StasisStart(channel, args):
                self._entrance.enter(
                    channel.id,
                    args,
                    answered=channel.answered,
                    variables=dict(channel.variables),
                )
            case ari.StasisEnd(channel) | ari.ChannelDestroyed(channel) if channel.id.startswith(
                OWN_LEG
            ):
                call_id = self._pbx.leg_gone(channel.id)
                if call_id is not None:
                    self._calls.post(CallId(call_id), on.TalkbackLost())
            case ari.ChannelHangupRequest(channel) | ari.ChannelDestroyed(channel):
                self._calls.post_to_channel(channel.id, on.CallerHungUp())
            case ari.StasisEnd(channel):
                self._calls.post_to_channel(channel.id, on.CallerLeft())
            case _:
                pass  # of a handoff's concern

    async def compare(self) -> None:
        """After a connect: what has become of our calls meanwhile? Raises PbxError."""
        channels, bridges = await asyncio.gather(self._client.channels(), self._client.bridges())
        found = sort_out(self._client.app, channels, bridges, self._owned)
        self._calls.reconcile(found.living)
        await clear_up(self._client, found)
        for orphan in found.orphans:
            log.warning("caller without an owner", channel=orphan.id)
            self._entrance.enter(
                orphan.id, (INBOUND,), answered=orphan.answered, variables=dict(orphan.variables)
            )
        self.queue_exists = await self._pbx.queue_exists()
        if self.queue_exists is False:
            log.error("the queue does not exist: callers sent there would be cut off")
        elif self.queue_exists is None:
            log.warning("whether the queue exists cannot be asked (func_dialplan is not loaded)")

    def _owned(self, channel_id: str) -> bool:
        return self._calls.knows_channel(channel_id) or self._pbx.knows_leg(channel_id)


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether calls should come to us."""

    connection: AriConnection
    node: Node
    meeting: Rendezvous
    calls: Calls

    async def missing(self) -> Sequence[str]:
        missing = []
        if not self.connection.connected:
            missing.append("asterisk")
        if self.node.queue_exists is False:
            missing.append("queue")
        if self.calls.draining:
            missing.append("draining")
        try:
            await self.meeting.ping()
        except StoreError:
            missing.append("redis")
        return missing


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
