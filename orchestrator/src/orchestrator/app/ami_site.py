"""Asterisk nodes that are driven by AMI alone: their calls, as their dialplan tells of them."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from orchestrator.ari.ami import AmiAccount, AmiClient
from orchestrator.ari.ami_pbx import AmiPbx, AmiTelephony
from orchestrator.ari.ami_wire import AmiMessage
from orchestrator.ari.queue_states import QueueStates
from orchestrator.config import HostPort, Settings
from orchestrator.errors import SetupError
from orchestrator.fleet import events as on
from orchestrator.fleet.call import DEFAULT_TENANT, EnteredCall, Tenant, name_or_empty
from orchestrator.fleet.calls import Calls
from orchestrator.handoff.registry import Registry
from orchestrator.model import CallId, ChannelId, DialplanEntry
from orchestrator.telemetry import Metrics

log = structlog.stdlib.get_logger(__name__)

CALL_EVENT = "VoiceforkCall"
"""UserEvent of the shipped include, once the hosted bot has answered."""


class AmiSite:
    """One such node. `calls` and `handoffs` are set before its client is run."""

    def __init__(
        self, name: str, account: AmiAccount, queue: DialplanEntry, metrics: Metrics
    ) -> None:
        self.name = name
        self.queues = QueueStates(self.heard)
        self._callers: set[str] = set()  # channels
        self.calls: Calls | None = None
        self.handoffs: Registry | None = None
        self.client = AmiClient(
            account, on_event=self.queues.heard, on_connected=self._connected, metrics=metrics
        )
        self.pbx = AmiPbx(self.client, queue)
        self.telephony = AmiTelephony(self.client, queue, self._in_the_dialplan)

    def heard(self, event: AmiMessage) -> None:
        match event.event:
            case "UserEvent" if event.get("UserEvent") == CALL_EVENT:
                self._entered(event)
            case "Hangup":
                self._hung_up(event.get("Uniqueid"))

    async def _connected(self) -> None:
        """After a break: whose channel is not there has hung up."""
        await self.queues.look(self.client)
        before = set(self._callers)
        rows = await self.client.listed("CoreShowChannels")
        for gone in before - {row.get("Uniqueid") for row in rows}:
            self._hung_up(gone)

    def _entered(self, event: AmiMessage) -> None:
        call_id, channel = name_or_empty(event.get("Call")), event.get("Caller")
        if self.calls is None or not call_id or not channel:
            log.warning("a call without an id: it has no fork", channel=channel)
            return
        if not self.calls.has_room():
            log.warning("no room for a call of a hosted bot", calls=len(self.calls))
            return  # bot and caller talk all the same
        call = EnteredCall(
            CallId(call_id),
            Tenant(name_or_empty(event.get("Tenant")) or DEFAULT_TENANT),
            channel,
            "ulaw",  # nothing of it passes through us
            direction="out" if event.get("Direction") == "out" else "in",
            answered=True,
            hosted=event.get("Bot") or "hosted",
            node=self.name,
        )
        if self.calls.enter(call):
            self._callers.add(channel)

    def _hung_up(self, channel: str) -> None:
        if channel not in self._callers or self.calls is None:
            return
        self._callers.discard(channel)
        if (call := self.calls.call_of(channel)) is not None and self.handoffs is not None:
            self.handoffs.caller_left(call, hung_up=True)
        self.calls.post_to_channel(channel, on.CallerHungUp())

    def _in_the_dialplan(self, channel: ChannelId) -> None:
        """Redirected: the call is no longer the bot's."""
        self._callers.discard(channel)
        if self.calls is not None:
            self.calls.post_to_channel(channel, on.CallerLeft())


def ami_sites(settings: Settings, metrics: Metrics) -> Mapping[str, AmiSite]:
    """By name. Nothing is sent before their clients are run. Raises SetupError."""
    queue = DialplanEntry(settings.queue_context, settings.queue_extension)
    try:
        return {
            name: AmiSite(name, _account(settings, HostPort(where)), queue, metrics)
            for name, where in settings.ami_nodes.items()
        }
    except ValueError as error:
        raise SetupError(f"--ami-nodes: {error}") from error


def _account(settings: Settings, where: HostPort) -> AmiAccount:
    return AmiAccount(where.host, where.port, settings.ami_user, settings.ami_secret())
