"""Puts together what reaches beyond the calls at hand: queues by AMI, calls out, and the desk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase

import redis.asyncio as redis
import structlog

from orchestrator.api.desk import Desk, Listed, Stories
from orchestrator.ari.ami import AmiAccount, AmiClient
from orchestrator.ari.client import AriClient
from orchestrator.ari.dialler import AriDialler
from orchestrator.ari.queue_devices import QueueDevices
from orchestrator.ari.queue_states import QueueStates, dialplan_has, open_queue_states
from orchestrator.bus.outcome_reports import RedisOutcomeReports
from orchestrator.bus.placed import RedisLedger
from orchestrator.config import Settings
from orchestrator.errors import SetupError
from orchestrator.fleet.placing import PLACED, Dialling, Placing
from orchestrator.model import DialplanEntry, Queue
from orchestrator.routing.offers import offers
from orchestrator.routing.situation import QueueStates as KnowsQueues
from orchestrator.routing.table import RoutingTable
from orchestrator.telemetry import Metrics

log = structlog.stdlib.get_logger(__name__)

REDIS_SECONDS = 1.0
VERIFY_SECONDS = 5.0


class Places:
    """The places of the dialplan that callers may be sent to: whether they are there."""

    def __init__(self, entries: Callable[[], Sequence[DialplanEntry]], metrics: Metrics) -> None:
        self._entries = entries
        self._metrics = metrics
        self._looked = asyncio.Event()
        self.missing: tuple[DialplanEntry, ...] = ()

    async def look(self, client: AmiClient) -> None:
        """Raises PbxError."""
        found = [
            entry
            for entry in dict.fromkeys(self._entries())
            if await dialplan_has(client, entry) is False
        ]
        self.missing = tuple(found)
        self._looked.set()
        for entry in found:
            self._metrics.count("dialplan_places_missing")
            log.error("the dialplan lacks a place", **_told(entry))

    async def verify(self) -> None:
        """At the start: waits until the node was asked. Raises SetupError: a place is missing."""
        try:
            async with asyncio.timeout(VERIFY_SECONDS):
                await self._looked.wait()
        except TimeoutError:
            log.warning("whether the dialplan holds its places is not known: AMI does not answer")
        if self.missing:
            named = ", ".join(f"{entry.extension}@{entry.context}" for entry in self.missing)
            raise SetupError(f"the dialplan lacks {named}: callers sent there would be cut off")


@dataclass(frozen=True, slots=True)
class Reach:
    """What is known of a node: by AMI, or what ARI can tell of it."""

    queues: KnowsQueues
    places: Places | None = None

    async def verify(self) -> None:
        """Raises SetupError: the dialplan lacks a place."""
        if self.places is not None:
            await self.places.verify()


@asynccontextmanager
async def open_reach(
    settings: Settings, client: AriClient, metrics: Metrics, table: Callable[[], RoutingTable]
) -> AsyncIterator[Reach]:
    """Runs while the block runs."""
    if settings.ami is None:
        devices = QueueDevices(client, lambda: _queues(settings, table()))
        async with asyncio.TaskGroup() as work:
            looking = work.create_task(devices.run())
            try:
                yield Reach(devices)
            finally:
                looking.cancel()
        return
    queues = QueueStates()
    places = Places(lambda: entries_of(settings, table()), metrics)
    account = AmiAccount(
        settings.ami.host, settings.ami.port, settings.ami_user, settings.ami_secret()
    )
    async with open_queue_states(account, queues, metrics, on_connected=places.look):
        yield Reach(queues, places)


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
        allowed_by(settings.dial_out_allow),
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


def allowed_by(patterns: str) -> Callable[[str, str], bool]:
    """Whether somebody may be called: `+1* sip:*@desk.example`; without a pattern, nobody."""
    known = patterns.split()
    return lambda to, _tenant: any(fnmatchcase(to, pattern) for pattern in known)


def entries_of(settings: Settings, table: RoutingTable) -> Sequence[DialplanEntry]:
    """Every place of the dialplan that a caller may be sent to."""
    queues = [settings.queue_extension, *_queues(settings, table)]
    places = [DialplanEntry(settings.queue_context, queue) for queue in queues]
    places += table.entries(settings.tenant)
    places.append(DialplanEntry("voicefork-refer", "s"))
    if settings.dial_out:
        places.append(DialplanEntry("voicefork-out", "s"))
    return places


def _told(entry: DialplanEntry) -> dict[str, str]:
    return {"context": entry.context, "extension": entry.extension}
