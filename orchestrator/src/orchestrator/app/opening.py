"""Puts the orchestrator together: what is opened, in which order, and who hears of what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import Any

import structlog

from orchestrator.api.admin import AdminSources, open_admin
from orchestrator.api.call_events import CallEvents
from orchestrator.api.forwarding import Forwarding
from orchestrator.api.handoff_service import HandoffService, in_stream
from orchestrator.api.server import HANDOFF_SERVICE, GrpcServer, open_server
from orchestrator.app.ami_sites import open_ami_sites
from orchestrator.app.callers import Callers
from orchestrator.app.cluster import open_demand
from orchestrator.app.handing import open_handoffs
from orchestrator.app.heir import Heir
from orchestrator.app.node import Node, Readiness
from orchestrator.app.reaching import open_desk, open_reach
from orchestrator.app.referrals import Referrals
from orchestrator.app.replica import Membership, open_membership
from orchestrator.app.routes_file import open_routes
from orchestrator.app.site import Site, open_sites
from orchestrator.app.status import Status
from orchestrator.app.succession import Succession
from orchestrator.ari.connection import AriConnection
from orchestrator.ari.transfers import ari_only_is_safe
from orchestrator.config import Refers, Settings
from orchestrator.fleet.calls import Calls, open_calls
from orchestrator.fleet.channels import Dialling
from orchestrator.fleet.peers import open_peers
from orchestrator.fleet.placing import Placing
from orchestrator.fleet.rendezvous import open_rendezvous
from orchestrator.fleet.reports import Reports
from orchestrator.fleet.runner import Surroundings
from orchestrator.fleet.states import EntryPolicy
from orchestrator.fleet.tenure import Tenure
from orchestrator.fleet.whereabouts import Whereabouts
from orchestrator.fleet.worker_control import open_worker_controls
from orchestrator.grpc_tls import GrpcTls, Identity
from orchestrator.handoff.registry import Registry
from orchestrator.speech.flite import found as speech_program
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
    tenure: Tenure
    member: Membership
    placing: Placing
    drain_seconds: float

    async def drain(self) -> None:
        """Gives the calls to another replica. Where there is none: takes no new calls, and lets go
        of those that are here within a limit."""
        await self.server.serving(False)
        busy = len(self.calls) or self.handoffs.busy or self.placing.busy
        if busy and await self.member.hand_over():
            log.info("another replica goes on", calls=len(self.calls))
            await self.drop()
            return
        try:
            async with asyncio.timeout(self.drain_seconds + _DRAIN_MARGIN_SECONDS):
                await self.calls.drain(self.drain_seconds, self.handoffs.give_up)
        except TimeoutError:
            log.warning("calls were left behind", calls=len(self.calls))  # for another replica
        else:
            await self.tenure.leave()

    async def drop(self) -> None:
        """The calls are another replica's: nothing that is told of them may end here."""
        await self.server.fall_silent()


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
        replicas = Dialling(tls, settings.grpc_orchestrator_name)
        peers = await stack.enter_async_context(open_peers(replicas))
        forwarding = Forwarding(HANDOFF_SERVICE, peers.channel)
        server = await stack.enter_async_context(open_server(settings.grpc, tls, [forwarding]))
        grpc_address = f"{settings.grpc.host}:{server.port}"
        address = settings.advertise or grpc_address
        status = Status(speech=speech_program(settings.voice) or "")
        demand = await stack.enter_async_context(open_demand(settings, metrics))
        admin = await stack.enter_async_context(
            open_admin(
                settings.admin.host,
                settings.admin.port,
                AdminSources(
                    *(metrics.registry, status.missing, status.listed, routes.report),
                    *(status.nodes, demand.told),
                ),
            )
        )
        member = await stack.enter_async_context(open_membership(settings, address, peers))
        tenure = member.tenure
        sites = await stack.enter_async_context(
            open_sites(settings, tenure.app, metrics, tenure.permit)
        )
        site = sites[settings.node]
        stasisless = await stack.enter_async_context(open_ami_sites(settings, metrics))
        meeting = await stack.enter_async_context(open_rendezvous(settings.redis))
        workers = await stack.enter_async_context(
            open_worker_controls(settings.node, dialling=Dialling(tls, settings.grpc_worker_name))
        )
        around = Surroundings(
            site.pbx,
            workers,
            meeting,
            _policy(settings),
            metrics,
            orchestrator=address,
            node=settings.node,
            app=tenure.app,
            nodes={
                **{name: each.pbx for name, each in sites.items()},
                **{name: each.pbx for name, each in stasisless.items()},
            },
            book=member.book,
        )
        calls = await stack.enter_async_context(open_calls(around, settings.max_calls))
        reach = await stack.enter_async_context(
            open_reach(settings, site.client, metrics, lambda: routes.table)
        )
        handoffs = await stack.enter_async_context(
            open_handoffs(
                settings,
                routes,
                sites=sites,
                calls=calls,
                controls=workers,
                metrics=metrics,
                callers=callers,
                queues=reach.queues,
                stasisless=stasisless,
                verified=reach.dialplan.has,
            )
        )
        desk, placing = await stack.enter_async_context(
            open_desk(settings, site.client, lambda: routes.table, reach.queues, metrics)
        )
        heirs = {
            name: Heir(
                *(each.client, each.pbx, calls, handoffs, member.book, name),
                placing if each is site else None,
            )
            for name, each in sites.items()
        }
        nodes = {
            name: Node(
                *(each.client, each.pbx, calls, handoffs, callers),
                placer=placing,
                referrals=Referrals(calls, each.pbx, handoffs),
                site=name,
                heir=heirs[name],
                dialplan=reach.dialplan,
            )
            for name, each in sites.items()
        }
        connections = [
            _connection(each, nodes[name], metrics, requests=settings.ari_socket_rest)
            for name, each in sites.items()
        ]
        successions = [
            Succession(each, nodes[name], heirs[name], calls, metrics)
            for name, each in sites.items()
        ]
        where = Whereabouts(calls, handoffs, member.book, tenure, peers, settings.tenant)
        forwarding.whereabouts = where
        reports = Reports(calls, handoffs, in_stream(handoffs, desk.stories), where)
        service = HandoffService(handoffs, settings.tenant, desk)
        await server.serve(CallEvents(reports, metrics), service, reflect=settings.dev)
        status.calls, status.tenure = calls, tenure
        status.sites = {
            name: (each, connection)
            for (name, each), connection in zip(sites.items(), connections, strict=True)
        }
        status.readiness = Readiness(connections, list(nodes.values()), meeting, calls)
        work = [each.run() for each in connections]
        work += [
            *(meeting.run(), calls.look_after_strangers()),
            member.run(successions, partial(_write_again, calls, handoffs)),
        ]
        for other in stasisless.values():
            other.calls, other.handoffs, other.dialplan = calls, handoffs, reach.dialplan
            work.append(other.run())
        await stack.enter_async_context(_running(work))
        await _any_connected(connections)
        for each, connection in zip(sites.values(), connections, strict=True):
            each.pbx.ari_refers = _refers_by_ari(settings, connection.version)
        await reach.dialplan.verify()
        await server.serving(True)
        yield Orchestrator(
            grpc_address,
            f"{settings.admin.host}:{admin}",
            calls,
            handoffs,
            server,
            tenure,
            member,
            placing,
            settings.drain_seconds,
        )


@asynccontextmanager
async def _running(forever: Sequence[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """What runs as long as the block does."""
    async with asyncio.TaskGroup() as work:
        tasks = [work.create_task(each) for each in forever]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def _write_again(calls: Calls, handoffs: Registry) -> None:
    calls.write_again()
    handoffs.write_again()


def _connection(site: Site, node: Node, metrics: Metrics, *, requests: bool) -> AriConnection:
    return AriConnection(
        site.rest,
        site.client,
        on_event=node.heard,
        on_connected=node.compare,
        metrics=metrics,
        requests=requests,
    )


def _refers_by_ari(settings: Settings, version: str) -> bool:
    """Whether hosted bots' REFERs are told to us; by itself only where that is safe."""
    safe = ari_only_is_safe(version)
    if settings.refers is Refers.ARI and not safe:
        log.warning("a REFER with Refer-Sub: false ends this Asterisk", asterisk=version)
    return settings.refers is Refers.ARI or (settings.refers is Refers.AUTO and safe)


async def _any_connected(connections: Sequence[AriConnection]) -> None:
    """One node is enough to begin; the others come when they come."""
    async with asyncio.TaskGroup() as work:
        waiting = [work.create_task(each.wait_connected()) for each in connections]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()


def _policy(settings: Settings) -> EntryPolicy:
    return EntryPolicy(
        answer=settings.answer,
        waiting=settings.waiting,
        rendezvous_seconds=settings.rendezvous_deadline,
        bot_speaks_seconds=settings.bot_speaks_deadline,
        adoption_seconds=settings.adoption_deadline,
    )


def _tls(settings: Settings) -> GrpcTls | None:
    """Raises SetupError: its files cannot be used."""
    if settings.grpc_cert is None or settings.grpc_key is None:
        return None
    return GrpcTls(Identity(settings.grpc_cert, settings.grpc_key, settings.grpc_ca))


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
