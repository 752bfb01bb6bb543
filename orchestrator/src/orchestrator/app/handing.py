"""Puts the handoffs together: their ports, their store, their registry."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import redis.asyncio as redis

from orchestrator.ari.client import AriClient
from orchestrator.ari.pbx import AriPbx, bridge_id
from orchestrator.ari.telephony import AriTelephony
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
from orchestrator.model import Escalation, HandoffId, Plan
from orchestrator.routing.policy import plan_for
from orchestrator.routing.table import RoutingTable
from orchestrator.telemetry import Metrics

REDIS_SECONDS = 1.0


def new_handoff_id() -> HandoffId:
    """Sorts by time; short enough for the names of channels and bridges."""
    return HandoffId(f"{time.time_ns() // 1_000_000:011x}{secrets.token_hex(4)}")


@asynccontextmanager
async def open_handoffs(  # noqa: PLR0913 - what a handoff touches
    settings: Settings,
    table: RoutingTable,
    *,
    client: AriClient,
    pbx: AriPbx,
    calls: Calls,
    controls: WorkerControls,
    metrics: Metrics,
) -> AsyncIterator[Registry]:
    """Runs handoffs while the block runs; those under way live on in the PBX and in Redis."""
    connection: redis.Redis = redis.Redis.from_url(
        settings.redis, protocol=2, socket_connect_timeout=REDIS_SECONDS
    )
    clock = SteadyClock()
    outbox = Outbox(RedisStream(connection), clock, metrics)
    registry = Registry(
        Ports(
            telephony=AriTelephony(client, context=settings.agent_context, trunk=settings.trunk),
            worker=HandoffWorkers(calls, controls),
            bus=outbox,
            store=RedisHandoffStore(connection, f"{settings.node}/{secrets.token_hex(8)}"),
            clock=clock,
            tally=metrics,
        ),
        CallPlaces(calls, settings.node, pbx.talkback_channel, bridge_id),
        partial(_planned, table),
        new_handoff_id,
    )
    try:
        async with asyncio.TaskGroup() as work:
            tasks = (work.create_task(registry.run()), work.create_task(outbox.run()))
            try:
                yield registry
            finally:
                for task in tasks:
                    task.cancel()
    finally:
        await connection.aclose()


def _planned(table: RoutingTable, escalation: Escalation) -> Plan:
    return plan_for(escalation, table)
