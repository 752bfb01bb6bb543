"""Puts the handoffs together: their ports, their store, their registry."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

import redis.asyncio as redis

from orchestrator.app.ami_site import AmiSite
from orchestrator.app.callers import Callers
from orchestrator.app.planning import NoQueueStates, Planner, Whose
from orchestrator.app.routes_file import Routes
from orchestrator.app.site import Site
from orchestrator.ari.ami_pbx import AmiTelephony
from orchestrator.ari.pbx import bridge_id
from orchestrator.ari.telephony import AriTelephony
from orchestrator.bus.audit import AuditTrail
from orchestrator.bus.handoff_store import RedisHandoffStore
from orchestrator.bus.outbox import Outbox
from orchestrator.bus.redis_stream import RedisStream
from orchestrator.config import Settings
from orchestrator.fleet.calls import Calls
from orchestrator.fleet.handoffs import CallPlaces, HandoffWorkers
from orchestrator.fleet.worker_control import WorkerControls
from orchestrator.handoff.clock import SteadyClock
from orchestrator.handoff.ports import Ports
from orchestrator.handoff.registry import Registry
from orchestrator.model import CallId, DialplanEntry, HandoffId, NodeName
from orchestrator.routing.situation import QueueStates
from orchestrator.speech.flite import open_speech
from orchestrator.telemetry import Metrics

REDIS_SECONDS = 1.0


def new_handoff_id() -> HandoffId:
    """Sorts by time; short enough for the names of channels and bridges."""
    return HandoffId(f"{time.time_ns() // 1_000_000:011x}{secrets.token_hex(4)}")


@asynccontextmanager
async def open_handoffs(  # noqa: PLR0913 - what a handoff touches
    settings: Settings,
    routes: Routes,
    *,
    sites: Mapping[str, Site],
    calls: Calls,
    controls: WorkerControls,
    metrics: Metrics,
    callers: Callers,
    queues: QueueStates | None = None,
    stasisless: Mapping[str, AmiSite] | None = None,
    verified: Callable[[str, DialplanEntry], bool] = lambda _node, _entry: True,
) -> AsyncIterator[Registry]:
    """Runs handoffs while the block runs; those under way live on in the PBX and in Redis.

    `verified`: whether a node is known to have a place of the dialplan.
    """
    connection: redis.Redis = redis.Redis.from_url(
        settings.redis, protocol=2, socket_connect_timeout=REDIS_SECONDS
    )
    clock = SteadyClock()
    outbox = Outbox(RedisStream(connection), clock, metrics)
    audit = AuditTrail(connection, metrics)
    planner = Planner(
        table=lambda: routes.table,
        whose=lambda call: _whose(calls, callers, call),
        queues=queues or NoQueueStates(),
        audit=audit.put,
        tally=metrics,
        now=clock.now,
    )
    nodes = {
        NodeName(name): AriTelephony(
            site.client,
            context=settings.agent_context,
            trunk=settings.trunk,
            transfers=site.pbx.transfers,
            verified=partial(verified, name),
        )
        for name, site in sites.items()
    }
    others = {NodeName(name): site.telephony for name, site in (stasisless or {}).items()}
    registry = Registry(
        Ports(
            telephony=nodes[NodeName(settings.node)],
            worker=HandoffWorkers(calls, controls),
            bus=outbox,
            store=RedisHandoffStore(connection, f"{settings.node}/{secrets.token_hex(8)}"),
            clock=clock,
            tally=metrics,
            speech=open_speech(settings.voice),
            nodes={**nodes, **others},
        ),
        CallPlaces(
            calls, settings.node, partial(_talkback, sites), partial(_bridge, calls, others)
        ),
        planner,
        new_handoff_id,
    )
    try:
        async with asyncio.TaskGroup() as work:
            tasks = [
                work.create_task(forever)
                for forever in (registry.run(), outbox.run(), audit.run(), routes.watch())
            ]
            try:
                yield registry
            finally:
                for task in tasks:
                    task.cancel()
    finally:
        await connection.aclose()


def _bridge(calls: Calls, stasisless: Mapping[NodeName, AmiTelephony], call_id: str) -> str:
    """Empty on a node where nothing is in a bridge of ours."""
    view = calls.view(CallId(call_id))
    return "" if view is not None and view.node in stasisless else bridge_id(call_id)


def _talkback(sites: Mapping[str, Site], call_id: str) -> str | None:
    """The bot's channel of a call, on whichever node."""
    legs = (site.pbx.talkback_channel(call_id) for site in sites.values())
    return next((leg for leg in legs if leg is not None), None)


def _whose(calls: Calls, callers: Callers, call: CallId) -> Whose:
    view = calls.view(call)
    return Whose() if view is None else Whose(view.tenant, callers.number(view.channel_id))
