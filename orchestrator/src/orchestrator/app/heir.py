"""Takes over what a replica that is gone has left on one node: its callers, bots and agents."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import structlog

from orchestrator.ari.client import AriClient
from orchestrator.ari.events import OWNER, Bridge, Channel
from orchestrator.ari.pbx import OWN_LEG, AriPbx, bridge_id
from orchestrator.errors import Conflict, NotFound, PbxError, StoreError
from orchestrator.fleet import events as on
from orchestrator.fleet.book import CallBook, Record
from orchestrator.fleet.calls import Calls
from orchestrator.fleet.entrance import INBOUND
from orchestrator.fleet.inheritance import Permit, always
from orchestrator.fleet.placing import Placing
from orchestrator.fleet.resumption import Found
from orchestrator.handoff.names import agent_of
from orchestrator.handoff.registry import Registry
from orchestrator.model import ChannelId

log = structlog.stdlib.get_logger(__name__)

AT_A_TIME = 16
OWNER_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Listed:
    """A node's channels and bridges at one moment."""

    living: Mapping[str, Channel]
    around: Mapping[str, Bridge]  # by channel
    bridges: Sequence[Bridge]

    def voice(self, call_id: str) -> str | None:
        """The bot's leg in the call's bridge."""
        prefix, bridge = f"{bridge_id(call_id)}-talkback-", bridge_id(call_id)
        for channel, around in self.around.items():
            if channel.startswith(prefix) and around.id == bridge and channel in self.living:
                return channel
        return None

    def together(self, one: str, other: str) -> bool:
        bridge = self.around.get(one)
        return bridge is not None and other in bridge.channels


class Heir:
    """One node's part of an adoption. `node` is its name as the records have it."""

    def __init__(  # noqa: PLR0913, PLR0917 - what an adoption touches
        self,
        client: AriClient,
        pbx: AriPbx,
        calls: Calls,
        handoffs: Registry,
        book: CallBook,
        node: str,
        placing: Placing | None = None,
    ) -> None:
        """`placing`: where this is the node that calls are made at."""
        self._client = client
        self._pbx = pbx
        self._calls = calls
        self._handoffs = handoffs
        self._book = book
        self._node = node
        self._placing = placing

    async def take_over(self, app: str, permit: Permit = always) -> int:
        """All that `app` has here; how many calls that is. Our own app: what was before us.

        `permit` is asked before anything is touched. Raises PbxError: the node does not answer.
        """
        records = await self._records(app)
        listed = await self._listed()
        turns = asyncio.Semaphore(AT_A_TIME)

        async def adopt(record: Record) -> None:
            async with turns:
                try:
                    await self._adopt(app, record, listed, permit)
                except Exception:  # our own bug costs this call, never the others
                    log.exception("call is not adopted", call_id=record.call.call_id)

        async with asyncio.TaskGroup() as work:
            for record in records:
                work.create_task(adopt(record))
        if await permit():
            await self._ring_on(app, listed)
        if app != self._client.app and await permit():
            await self._bring_strays(app, listed, permit)
        if app != self._client.app and await permit():
            with suppress(StoreError):
                await self._book.forget(app, [record.call.call_id for record in records])
        return len(records)

    async def pending(self, app: str) -> bool:
        """Whether something is still to come to `app`: a phone that rings, an empty bridge.

        Raises PbxError.
        """
        listed = await self._listed()
        return any(
            (channel.app == app and not self._is_let_be(channel, listed))
            or (channel.application != "Stasis" and self._is_our_agent(channel.id))
            or self._rings(channel.id)
            for channel in listed.living.values()
        ) or any(
            bridge.name.startswith(f"{app} ")
            and not bridge.channels
            and self._handoffs.owns(bridge.id)
            for bridge in listed.bridges
        )

    async def bring(self, channel_id: str, permit: Permit, args: Sequence[str] = ()) -> bool:
        """Into our own application; False: it is not in Stasis any more, or another's.

        Raises PbxError.
        """
        if not await permit():
            return False
        try:
            # First, as it is this that tells a restarted replica whose the channel is. A channel
            # that plays something does both after that, in this order; its news comes to us all
            # the same, by the application it is in until then.
            with suppress(TimeoutError):
                async with asyncio.timeout(OWNER_SECONDS):
                    name, app = f"__{OWNER}", self._client.app
                    await self._client.set_variable(channel_id, name, app, aside=True)
            await self._client.move(channel_id, ",".join(args))
        except (NotFound, Conflict):
            return False
        return True

    async def _records(self, app: str) -> Sequence[Record]:
        try:
            records = await self._book.of_slot(app)
        except StoreError as error:
            log.warning("no records of calls: they begin anew", app=app, error=str(error))
            return ()
        return [record for record in records if record.call.node in ("", self._node)]

    async def _listed(self) -> Listed:
        channels, bridges = await asyncio.gather(self._client.channels(), self._client.bridges())
        return Listed(
            {channel.id: channel for channel in channels},
            {channel: bridge for bridge in bridges for channel in bridge.channels},
            bridges,
        )

    # --- one call -----------------------------------------------------------------------------

    async def _adopt(self, app: str, record: Record, listed: Listed, permit: Permit) -> None:
        call = record.call
        if self._calls.knows_channel(call.channel_id) or not await permit():
            return  # adopted before, of a slot that could not be released then
        channel = listed.living.get(call.channel_id)
        if channel is not None and channel.app not in ("", app, self._client.app):
            return  # another heir has brought it into its own application
        here = channel is not None and channel.app == app
        bridged = call.channel_id in listed.around
        if here and not bridged:
            with suppress(PbxError):  # before anything else: nobody waits in silence
                await self._pbx.start_music(call.channel_id)
        try:
            await self._handoffs.adopt(call.tenant, call.call_id, permit)
        except StoreError as error:
            log.warning("handoff is not adopted", call_id=call.call_id, error=str(error))
        if not await permit():
            return
        if leg := listed.voice(call.call_id):
            self._pbx.adopt_leg(call.call_id, leg)
        found = Found(
            answered=channel is None or channel.answered,
            bridged=bridged,
            voiced=leg is not None,
            lent=self._handoffs.in_progress(call.call_id) is not None,
        )
        # Whose caller is gone needs no voice: the call only says goodbye.
        self._calls.restore(record, found if here else replace(found, bridged=True, voiced=True))
        if here and app != self._client.app:
            here = await self._bring_call(record, listed, permit)
            if not await permit() and not here:
                self._calls.abandon(call.call_id)
                return
        if not here:
            hung_up = channel is None
            self._handoffs.caller_left(call.call_id, hung_up=hung_up)
            self._calls.post(call.call_id, on.CallerHungUp() if hung_up else on.CallerLeft())
            return
        if (agent := self._handoffs.agent_of_call(call.call_id)) is not None:
            known = listed.living.get(agent)
            together = listed.together(call.channel_id, agent)
            state = known.state if known else None
            self._handoffs.found(call.call_id, state, together=together)

    async def _bring_call(self, record: Record, listed: Listed, permit: Permit) -> bool:
        call_id, agent = record.call.call_id, self._handoffs.agent_of_call(record.call.call_id)
        legs = [channel for channel in (listed.voice(call_id), agent) if channel in listed.living]
        for leg in legs:
            with suppress(PbxError):
                await self.bring(str(leg), permit)
        try:
            return await self.bring(record.call.channel_id, permit)
        except PbxError as error:
            log.warning("call is not moved", call_id=call_id, error=str(error))
            return True

    # --- the rest -----------------------------------------------------------------------------

    async def _bring_strays(self, app: str, listed: Listed, permit: Permit) -> None:
        """Callers nobody wrote down enter anew; conversations of two people are let be."""
        for channel in listed.living.values():
            known = (
                self._calls.knows_channel(channel.id)
                or self._is_our_agent(channel.id)
                or self._rings(channel.id)
            )
            if channel.app != app or known or self._is_let_be(channel, listed):
                continue
            if not channel.id.startswith(OWN_LEG):
                log.warning("caller without a record", channel=channel.id)
                with suppress(PbxError):
                    await self.bring(channel.id, permit, (INBOUND,))

    async def _ring_on(self, app: str, listed: Listed) -> None:
        if self._placing is None:
            return

        def standing(channel_id: str) -> bool | None:
            channel = listed.living.get(channel_id)
            return None if channel is None else channel.answered

        try:
            for ringing in await self._placing.take_over(app, standing):
                self._calls.spawn(ringing)
        except StoreError as error:
            log.warning("placed calls are not known", app=app, error=str(error))

    def _rings(self, channel_id: str) -> bool:
        return self._placing is not None and self._placing.concerns(channel_id)

    def _is_let_be(self, channel: Channel, listed: Listed) -> bool:
        """A leg without a call, or a caller who talks with an agent of a handoff nobody knows."""
        if channel.id.startswith(OWN_LEG):
            return not self._is_our_agent(channel.id) and not self._pbx.knows_leg(channel.id)
        bridge = listed.around.get(channel.id)
        return bridge is not None and any(agent_of(ChannelId(each)) for each in bridge.channels)

    def _is_our_agent(self, channel_id: str) -> bool:
        return agent_of(ChannelId(channel_id)) is not None and self._handoffs.owns(channel_id)
