"""Asterisk nodes that are driven by AMI alone: their calls, as their dialplan tells of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from functools import partial

import structlog

from orchestrator.app import ami_news
from orchestrator.app.ami_early import CALL_EVENT, EarlyEvents
from orchestrator.app.ami_fence import write_fence, written_fence
from orchestrator.app.ami_listing import Listed, QueueEnd, listed
from orchestrator.app.dialplan import AMI, Dialplan
from orchestrator.ari.ami import AmiAccount, AmiClient
from orchestrator.ari.ami_pbx import OVER, PLACES, AmiPbx, AmiTelephony, redirect
from orchestrator.ari.ami_wire import AmiMessage
from orchestrator.ari.queue_states import QueueStates, dialplan_holds
from orchestrator.errors import NotFound, PbxError, StoreError
from orchestrator.fleet import events as on
from orchestrator.fleet.call import DEFAULT_TENANT, EnteredCall, Tenant, name_or_empty
from orchestrator.fleet.calls import Calls
from orchestrator.fleet.dialplan_callers import DialplanCallers
from orchestrator.fleet.guard import SETTLE_SECONDS, Guard
from orchestrator.handoff.registry import Registry
from orchestrator.model import CallId, ChannelId, DialplanEntry, Target
from orchestrator.telemetry import Metrics

log = structlog.stdlib.get_logger(__name__)

QUEUE_ENDED_EVENT = "VoiceforkQueueEnded"
"""Its UserEvent for a caller whom a queue gave up, and who hears music now."""

KEY_EVENT = "VoiceforkKey"
"""Its UserEvent for a caller who pressed a key in the menu on hold."""

LOOK_TRIES = 3
LOOK_PAUSE_SECONDS = 0.5


class AmiSite:
    """One such node. `calls`, `handoffs` and `dialplan` are set before it is run."""

    def __init__(  # noqa: PLR0913 - a node, and what replicas share of it
        self,
        name: str,
        account: AmiAccount,
        queue: DialplanEntry,
        metrics: Metrics,
        *,
        guard: Guard,
        queued: DialplanCallers,
        endpoint: Callable[[Target], str],
    ) -> None:
        """`guard`: of this node, which one replica drives at a time. `queued`: for the next one.

        `endpoint`: of a handoff's target, as in AmiTelephony.
        """
        self.name = name
        self.queues = QueueStates(self.heard)
        self._callers: dict[str, CallId] = {}  # by channel, until they hang up
        self._early = EarlyEvents(metrics)
        self.dialplan: Dialplan | None = None
        self.calls: Calls | None = None
        self.handoffs: Registry | None = None
        self._guard = guard
        self._queued = queued
        self.client = AmiClient(
            account,
            on_event=self.queues.heard,
            on_connected=self._connected,
            metrics=metrics,
            permit=guard.permit,
        )
        self.pbx = AmiPbx(self.client, queue)
        self.telephony = AmiTelephony(
            self.client, self._in_the_dialplan, self._verified, endpoint=endpoint
        )

    async def run(self) -> None:
        """Drives the node whenever it is ours, until cancelled."""
        await self._guard.run(self._drive, self._forget, partial(written_fence, self.client))

    async def _drive(self) -> None:
        async with asyncio.TaskGroup() as work:
            work.create_task(self.client.run())
            work.create_task(self.queues.keep_up(self.client))

    def _forget(self) -> None:
        """Another replica has taken the node, and found its callers as they are."""
        log.info("left to another replica", node=self.name, calls=len(self._callers))
        if self.handoffs is not None:
            self.handoffs.leave(self.name)
        if self.calls is not None:
            for call in self._callers.values():
                self.calls.abandon(call)
        self._callers.clear()

    # --- what the node says -------------------------------------------------------------------

    def heard(self, event: AmiMessage) -> None:
        if not self._early.keeps(event, self._callers):
            self._take(event)

    def _take(self, event: AmiMessage) -> None:
        match event.event:
            case "UserEvent" if event.get("UserEvent") == CALL_EVENT:
                self._entered(
                    event.get("Call"),
                    event.get("Caller"),
                    tenant=event.get("Tenant"),
                    direction=event.get("Direction"),
                    bot=event.get("Bot"),
                )
            case "UserEvent" if event.get("UserEvent") == QUEUE_ENDED_EVENT:
                self._queue_ended(event)
            case "UserEvent" if event.get("UserEvent") == KEY_EVENT:
                self._pressed(event.get("Caller"), event.get("Key"))
            case "Hangup":
                self._hung_up(event.get("Uniqueid"))
            case "AgentCalled" | "AgentConnect" | "BridgeEnter" | "DialState":
                self._told(event)

    def _told(self, event: AmiMessage) -> None:
        """Events of app_queue and of Dial() name the caller's channel as those of bridges do."""
        call = self._callers.get(event.get("Uniqueid"))
        if call is not None and self.handoffs is not None:
            ami_news.told(self.handoffs, call, event)

    def _pressed(self, channel: str, key: str) -> None:
        call = self._callers.get(channel)
        if call is not None and self.handoffs is not None and key:
            self.handoffs.caller_key(call, key)

    def _queue_ended(self, event: AmiMessage) -> None:
        channel, status = event.get("Caller"), event.get("Status")
        end = QueueEnd(event.get("Queue"), status, event.number("Cause"))
        call, handoffs = self._callers.get(channel), self.handoffs
        if call is not None and handoffs is not None and ami_news.given_up(handoffs, call, end):
            return
        log.info("back from a queue, to the dialplan", channel=channel, status=status)
        if self.calls is not None:
            self.calls.spawn(self._let_go(channel))

    async def _let_go(self, channel: str) -> None:
        """The dialplan would wait for us for a while, and then go on by itself."""
        try:
            await redirect(self.client, channel, OVER)
        except NotFound:
            log.debug("hung up meanwhile", channel=channel)

    def _entered(self, call: str, channel: str, *, tenant: str, direction: str, bot: str) -> None:
        call_id = name_or_empty(call)
        if self.calls is None or not call_id or not channel:
            log.warning("a call without an id: it has no fork", channel=channel)
            return
        if not self.calls.has_room():
            log.warning("no room for a call of a hosted bot", calls=len(self.calls))
            return  # bot and caller talk all the same
        entered = EnteredCall(
            CallId(call_id),
            Tenant(name_or_empty(tenant) or DEFAULT_TENANT),
            channel,
            "ulaw",  # nothing of it passes through us
            direction="out" if direction == "out" else "in",
            answered=True,
            hosted=bot or "hosted",
            node=self.name,
        )
        if self.calls.enter(entered) or self.calls.knows_channel(channel):
            self._callers[channel] = CallId(call_id)

    def _hung_up(self, channel: str) -> None:
        call = self._callers.pop(channel, None)
        if call is None or self.calls is None:
            return
        if self.handoffs is not None:
            self.handoffs.caller_left(call, hung_up=True)
        self.calls.post_to_channel(channel, on.CallerHungUp())
        self.calls.spawn(self._queued.remove(channel))

    def _in_the_dialplan(self, channel: ChannelId) -> None:
        """Redirected: the call is no longer the bot's."""
        if self.calls is None:
            return
        call = self._callers.get(channel)
        view = self.calls.view(call) if call is not None else None
        if call is not None and view is not None:
            self.calls.spawn(self._queued.add(channel, view.tenant, call))
        self.calls.post_to_channel(channel, on.CallerLeft())

    def _verified(self, entry: DialplanEntry) -> bool:
        return self.dialplan is None or self.dialplan.has(self.name, entry)

    # --- what it has --------------------------------------------------------------------------

    async def _connected(self) -> None:
        """After a break, or another replica: first the callers, who wait for nothing else."""
        for left in reversed(range(LOOK_TRIES)):
            try:
                await self._compare()
                break
            except PbxError as error:
                if not left:
                    raise
                log.warning("callers could not be listed", node=self.name, error=str(error))
            await asyncio.sleep(LOOK_PAUSE_SECONDS)
        await self.queues.look(self.client)
        if self.dialplan is not None:
            exists = partial(dialplan_holds, self.client)
            await self.dialplan.look(self.name, AMI, exists, PLACES)

    async def _compare(self) -> None:
        """Who is there, who has gone, who talks to whom? Raises PbxError."""
        before = dict(self._callers)
        with self._early.keeping():
            await self._take_over()
            there = await listed(self.client)
            for gone in before.keys() - {each.channel for each in there}:
                self._hung_up(gone)
            for each in there:
                if each.channel not in self._callers:
                    await self._found(each)
                if self.handoffs is not None and each.channel in self._callers:
                    ami_news.catch_up(self.handoffs, self._callers[each.channel], each)
                for event in self._early.of(each.channel):
                    self._take(event)
            for event in self._early.rest():
                self._take(event)
        await self._end_those_not_in({each.channel for each in there})

    async def _take_over(self) -> None:
        """Whose the node is now, before anything is looked at. Raises PbxError."""
        if not self._guard.confirmed:
            return  # another one may have written it, who is asked for before each action
        if await written_fence(self.client) != self._guard.fence:
            await write_fence(self.client, self._guard.fence)
            # What was sent before it could be known has been done then. Also where no fence was: a
            # driver that Redis did not confirm when the node began anew has written none.
            await asyncio.sleep(SETTLE_SECONDS)

    async def _end_those_not_in(self, living: Collection[str]) -> None:
        """Who was in the dialplan, and hung up while nobody drove the node."""
        try:
            before = await self._queued.all()
            for channel in before.keys() - living:
                tenant, call = before[channel]
                if channel not in self._callers and self.handoffs is not None:
                    await self.handoffs.adopt(tenant, call, self._guard.permit)
                    self.handoffs.caller_left(call, hung_up=True)
                    await self._queued.remove(channel)
        except StoreError as error:
            log.warning("who has left unseen is not known", node=self.name, error=str(error))

    async def _found(self, caller: Listed) -> None:
        """A caller of whom only the node knows: another replica had them, or we before."""
        tenant = name_or_empty(caller.tenant) or DEFAULT_TENANT
        call = CallId(name_or_empty(caller.call))
        try:
            if self.handoffs is not None:
                await self.handoffs.adopt(tenant, call, self._guard.permit)
        except StoreError as error:
            log.warning("handoff is not adopted", call_id=call, error=str(error))
        if caller.is_with_bot:
            self._entered(
                caller.call,
                caller.channel,
                tenant=caller.tenant,
                direction=caller.direction,
                bot=caller.bot,
            )
        elif caller.handoff:
            self._callers[caller.channel] = call
