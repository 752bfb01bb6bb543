"""One node's part when another replica has died: its application becomes ours for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import structlog

from orchestrator.app.heir import Heir
from orchestrator.app.node import Node
from orchestrator.app.site import Site
from orchestrator.ari import events as ari
from orchestrator.ari.client import AriClient
from orchestrator.ari.connection import AriConnection
from orchestrator.ari.leftovers import clear_up, sort_out
from orchestrator.ari.pbx import OWN_LEG
from orchestrator.errors import PbxError
from orchestrator.fleet.calls import Calls
from orchestrator.fleet.inheritance import Permit
from orchestrator.telemetry import Metrics

log = structlog.stdlib.get_logger(__name__)

CONNECT_SECONDS = 2.0
INHERITED_SECONDS = 120.0  # a phone rings no longer
LOOK_SECONDS = 0.5


class Succession:
    """Takes over what dead replicas had on one node."""

    def __init__(self, site: Site, node: Node, heir: Heir, calls: Calls, metrics: Metrics) -> None:
        self._site = site
        self._node = node
        self._heir = heir
        self._calls = calls
        self._metrics = metrics

    async def inherit(self, app: str, permit: Permit) -> None:
        """Returns when nothing comes to `app` any more, the node is away, or another is its heir.

        Its application is ours meanwhile, too: a phone that rings for it would else be hung up
        when it is answered, and new calls enter it as soon as anybody listens.
        """
        connection = AriConnection(
            self._site.rest,
            AriClient(self._site.rest, app),
            on_event=lambda event: self._heard(event, permit),
            on_connected=_nothing,
            metrics=self._metrics,
        )
        begun = time.monotonic()
        async with asyncio.TaskGroup() as work:
            listening = work.create_task(connection.run())
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await connection.wait_connected()
                calls = await self._heir.take_over(app, permit)
                spent = round((time.monotonic() - begun) * 1000)
                log.warning("calls adopted", app=app, node=self._site.name, calls=calls, ms=spent)
                await self._wait_for_the_rest(app, permit)
            except (PbxError, TimeoutError) as error:
                log.warning("node is away: its calls wait", node=self._site.name, why=str(error))
            finally:
                listening.cancel()

    async def _wait_for_the_rest(self, app: str, permit: Permit) -> None:
        until = time.monotonic() + INHERITED_SECONDS
        while True:
            # What is hung up on its way to our application is told to the old one.
            await asyncio.sleep(LOOK_SECONDS)
            if not await permit():
                return
            if time.monotonic() >= until or not await self._heir.pending(app):
                break
        client = self._site.client
        channels, bridges = await asyncio.gather(client.channels(), client.bridges())
        found = sort_out(app, channels, bridges, self._node.owned)
        if not await permit():
            return
        to_queue = self._node.entrance.to_queue
        await asyncio.gather(*(to_queue(left.id) for left in found.waiting))
        await clear_up(client, found)

    def _heard(self, event: ari.AriEvent, permit: Permit) -> None:
        """What still comes to a dead replica's application is brought into our own."""
        match event:
            case ari.StasisStart(channel) if channel.id.startswith(OWN_LEG):
                self._node.heard(event)
                self._calls.spawn(self._bring(channel.id, permit))
            case ari.StasisStart(channel, args):
                if not self._calls.knows_channel(channel.id):
                    self._calls.spawn(self._bring(channel.id, permit, args))
            case ari.StasisEnd():
                pass  # that is what bringing looks like from there
            case _:
                self._node.heard(event)

    async def _bring(self, channel_id: str, permit: Permit, args: Sequence[str] = ()) -> None:
        try:
            await self._heir.bring(channel_id, permit, args)
        except PbxError as error:
            log.warning("channel is not moved", channel=channel_id, error=str(error))


async def _nothing() -> None:
    """There is nothing to compare: the heir does."""
