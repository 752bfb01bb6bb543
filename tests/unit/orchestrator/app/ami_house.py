"""A node without Stasis as its driver sees it, with calls and handoffs around it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import cast

import pytest
from orchestrator.app import ami_site
from orchestrator.app.ami_listing import Listed
from orchestrator.app.ami_site import AmiSite
from orchestrator.ari.ami import AmiAccount, AmiClient
from orchestrator.ari.ami_wire import AmiMessage
from orchestrator.fleet.dialplan_callers import DialplanCallers
from orchestrator.fleet.guard import Guard
from orchestrator.model import (
    BridgeId,
    CallId,
    ChannelId,
    DialplanEntry,
    Handoff,
    Phase,
)
from orchestrator.telemetry import Metrics
from redis.asyncio import Redis

from tests.builders.running import CALL, Lab, running
from tests.fakes.handoff_ports import FakeStore
from tests.unit.orchestrator.fleet.surroundings import FORK, Stage, open_stage

CALLER = ChannelId("1.1")
QUEUED = Listed(CALLER, CALL, "acme", "in", "PJSIP/bot", "h1", "voicefork-queue", bridged=False)
WITH_BOT = replace(QUEUED, handoff="", context="voicefork-hosted", bridged=True)


def event(kind: str, **fields: str) -> AmiMessage:
    return AmiMessage((("Event", kind), *fields.items()))


def gave_up(
    caller: str = CALLER, queue: str = "support", status: str = "TIMEOUT", cause: str = "0"
) -> AmiMessage:
    told = {"Caller": caller, "Queue": queue, "Status": status, "Cause": cause}
    return event("UserEvent", UserEvent="VoiceforkQueueEnded", **told)


class Memory:
    """What replicas share of the callers in the dialplan. As fleet.dialplan_callers."""

    def __init__(self) -> None:
        self.callers: dict[str, tuple[str, CallId]] = {}

    async def add(self, channel: str, tenant: str, call: CallId) -> None:
        self.callers[channel] = tenant, call

    async def remove(self, channel: str) -> None:
        self.callers.pop(channel, None)

    async def all(self) -> Mapping[str, tuple[str, CallId]]:
        return dict(self.callers)


@dataclass
class House:
    """A driver of the node. `lists` is what the node answers, one after the other."""

    site: AmiSite
    lab: Lab
    stage: Stage
    lists: list[Callable[[], list[Listed]]]

    async def connect(self) -> None:
        await self.site.client._on_connected()

    async def in_queue(self) -> Handoff:
        handoff = await self.lab.escalate()
        return await self.lab.until(handoff, lambda change: change.phase is Phase.DIALLING)


@asynccontextmanager
async def driving(
    monkeypatch: pytest.MonkeyPatch, store: FakeStore, memory: Memory | None = None
) -> AsyncIterator[House]:
    redis: Redis = Redis.from_url("redis://127.0.0.1:1")  # nobody listens there
    guard = Guard(redis, "asterisk", "me")
    guard.held = True
    account = AmiAccount("127.0.0.1", 1, "user", "secret")
    queued = cast(DialplanCallers, memory or Memory())
    queue = DialplanEntry("queues", "s")
    site = AmiSite("asterisk", account, queue, Metrics(), guard=guard, queued=queued, endpoint=str)
    lists: list[Callable[[], list[Listed]]] = []

    async def listed(_: AmiClient) -> list[Listed]:
        return lists.pop(0)()

    async def look(_: AmiClient) -> None: ...

    monkeypatch.setattr(ami_site, "listed", listed)
    monkeypatch.setattr(ami_site, "LOOK_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(site.queues, "look", look)
    async with running(store) as lab, open_stage(fork=FORK) as stage:
        lab.place = replace(lab.place, caller=CALLER, dialplan_only=True, bridge=BridgeId(""))
        lab.calls[CALL] = lab.place
        lab.pbx.up.add(CALLER)
        site.calls, site.handoffs = stage.calls, lab.registry
        yield House(site, lab, stage, lists)
    await redis.aclose()
