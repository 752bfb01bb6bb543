"""Puts together what reaches beyond the calls at hand: queues by AMI, calls out, and the desk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import redis.asyncio as redis

from orchestrator.api.desk import Desk, Listed, Stories
from orchestrator.app.dialplan import AMI, ARI, Dialplan
from orchestrator.ari.ami import AmiAccount, AmiClient
from orchestrator.ari.client import AriClient
from orchestrator.ari.dialler import AriDialler
from orchestrator.ari.queue_devices import QueueDevices
from orchestrator.ari.queue_states import QueueStates, dialplan_holds, open_queue_states
from orchestrator.bus.outcome_reports import RedisOutcomeReports
from orchestrator.bus.placed import RedisLedger
from orchestrator.config import Settings
from orchestrator.fleet.placing import PLACED, Dialling, Placing
from orchestrator.model import DialplanEntry, Queue
from orchestrator.routing.offers import offers
from orchestrator.routing.situation import QueueStates as KnowsQueues
from orchestrator.routing.table import RoutingTable
from orchestrator.telemetry import Metrics

REDIS_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Reach:
    """The main node's queues, and the dialplans of all nodes, as far as they are known."""

    queues: KnowsQueues
    dialplan: Dialplan


@asynccontextmanager
async def open_reach(
    settings: Settings, client: AriClient, metrics: Metrics, table: Callable[[], RoutingTable]
) -> AsyncIterator[Reach]:
    """Runs while the block runs: queues by AMI, or what ARI can tell of them.

    By AMI the dialplan is looked at, too: by ARI it can be asked only where func_dialplan is.
    """
    means = (ARI,) if settings.ami is None else (ARI, AMI)
    dialplan = Dialplan(lambda: entries_of(settings, table()), metrics, means)
    if settings.ami is None:
        devices = QueueDevices(client, lambda: _queues(settings, table()))
        async with asyncio.TaskGroup() as work:
            looking = work.create_task(devices.run())
            try:
                yield Reach(devices, dialplan)
            finally:
                looking.cancel()
        return

    async def look(ami: AmiClient) -> None:
        await dialplan.look(settings.node, AMI, partial(dialplan_holds, ami))

    queues = QueueStates()
    account = AmiAccount(
        settings.ami.host, settings.ami.port, settings.ami_user, settings.ami_secret()
    )
    async with open_queue_states(account, queues, metrics, on_connected=look):
        yield Reach(queues, dialplan)


@asynccontextmanager
async def open_desk(
    settings: Settings,
    client: AriClient,
    table: Callable[[], RoutingTable],
    queues: KnowsQueues,
    metrics: Metrics,
) -> AsyncIterator[tuple[Desk, Placing]]:
    """ListTargets, ReportOutcome and PlaceCall, while the block runs."""
    connection: redis.Redis = redis.Redis.from_url(
        settings.redis, protocol=2, socket_connect_timeout=REDIS_SECONDS
    )
    placing = Placing(
        AriDialler(client, PLACED),
        RedisLedger(connection),
        Dialling(settings.dial_out, client.app, settings.dial_out_seconds),
        lambda to, tenant: table().allows_call(to, tenant),
    )
    desk = Desk(
        targets=lambda tenant: listed(table(), tenant, datetime.now(UTC)),
        queues=queues.snapshot,
        reports=RedisOutcomeReports(connection),
        counted=metrics.reported,
        placer=placing,
        stories=Stories(),
    )
    try:
        yield desk, placing
    finally:
        await connection.aclose()


def listed(table: RoutingTable, tenant: str, now: datetime) -> Sequence[Listed]:
    """What the routes name, each once."""
    return [Listed(each.target, each.open, each.languages) for each in offers(table, tenant, now)]


def _queues(settings: Settings, table: RoutingTable) -> Sequence[str]:
    return [each.name for each in table.named(settings.tenant) if isinstance(each, Queue)]


def entries_of(settings: Settings, table: RoutingTable) -> Sequence[DialplanEntry]:
    """Every place of the dialplan that a caller may be sent to."""
    places = [DialplanEntry(settings.queue_context, settings.queue_extension)]
    places += [DialplanEntry(table.queue_context, queue) for queue in _queues(settings, table)]
    places += table.entries(settings.tenant)
    places.append(DialplanEntry("voicefork-refer", "s"))
    if settings.dial_out:
        places.append(DialplanEntry("voicefork-out", "s"))
    return places
