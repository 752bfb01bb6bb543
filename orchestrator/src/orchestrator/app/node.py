"""What Asterisk says, brought to the calls and the handoffs; and whether calls should come."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from orchestrator.app.callers import Callers
from orchestrator.app.dialplan import ARI, Dialplan
from orchestrator.app.heir import Heir
from orchestrator.app.referrals import Referrals
from orchestrator.ari import events as ari
from orchestrator.ari.client import AriClient, Place
from orchestrator.ari.connection import AriConnection
from orchestrator.ari.leftovers import clear_up, sort_out
from orchestrator.ari.pbx import OWN_LEG, AriPbx
from orchestrator.errors import Conflict, NotFound, PbxError, StoreError
from orchestrator.fleet import events as on
from orchestrator.fleet import placing
from orchestrator.fleet.calls import Calls
from orchestrator.fleet.claims import patience
from orchestrator.fleet.entrance import INBOUND, Entrance
from orchestrator.fleet.placing import Placing
from orchestrator.fleet.rendezvous import Rendezvous
from orchestrator.handoff.names import agent_of
from orchestrator.handoff.referring import SUCCESS
from orchestrator.handoff.registry import Registry
from orchestrator.model import CallId, ChannelId, DialplanEntry

log = structlog.stdlib.get_logger(__name__)

# RFC 4733 section 2.5.1.4: a key's last packet is sent three times. Until then the phone sends no
# audio, and a caller who was brought to it at once would hear none.
KEY_TAIL_SECONDS = 0.06
BYE_SECONDS = 5.0
REFERRED = "referred"
"""First argument of Stasis() for a caller whom `voicefork-refer` gives back, with its result."""
TRANSFER_STATUS = "TRANSFERSTATUS"  # of Asterisk's Transfer()


class Node:
    """Brings what Asterisk says to the calls, in their own words."""

    def __init__(  # noqa: PLR0913 - whom events concern
        self,
        client: AriClient,
        pbx: AriPbx,
        calls: Calls,
        handoffs: Registry,
        callers: Callers,
        *,
        placer: Placing | None = None,
        referrals: Referrals | None = None,
        site: str = "",
        heir: Heir | None = None,
        dialplan: Dialplan | None = None,
    ) -> None:
        """`site`: the node's name in records. `heir`: who takes over from dead replicas here."""
        self._dialplan = dialplan
        self._client = client
        self._site = site
        self._heir = heir
        self._succeeded = heir is None
        self._pbx = pbx
        self._calls = calls
        self._handoffs = handoffs
        self._callers = callers
        self._placing = placer
        self._referrals = referrals
        self.entrance = Entrance(calls, pbx, handoffs, node=site)
        self.queue_exists: bool | None = None

    def heard(self, event: ari.AriEvent) -> None:
        match event:
            case ari.StasisStart(channel) if agent_of(ChannelId(channel.id)):
                self._agent_here(channel)
            case ari.StasisStart(channel) if channel.id.startswith(OWN_LEG):
                self._pbx.leg_entered(channel.id)
            case ari.StasisStart(channel, replaces=bot) if bot and self._pbx.hosted_call(bot):
                self._bot_replaced(bot, channel.id)
            case ari.ChannelTransfer(channel, destination) if self._referrals:
                self._referrals.asked(channel.id, destination)
            case ari.StasisStart(channel, (placing.PLACED, *_)):
                self._placed(channel)
            case ari.StasisStart(channel, (first, status, sip, *_)) if first == REFERRED:
                self._referred(channel, status, sip)
            case ari.StasisStart(channel, args):
                self._client.forget_quiet(channel.id)
                if not channel.variable(ari.OWNER):
                    self._calls.spawn(self._mark(channel.id))
                self._callers.note(channel.id, channel.caller)
                self.entrance.enter(
                    channel.id,
                    args,
                    answered=channel.answered,
                    variables=dict(channel.variables),
                )
            case ari.CallBroadcast(channel):
                self._calls.spawn(self._claim(channel.id))
            case ari.Dial(peer, "RINGING"):
                self._handoffs.agent_ringing(ChannelId(peer.id))
            case ari.Dial(peer, "ANSWER") if agent_of(ChannelId(peer.id)):
                self._agent_here(peer)
            case ari.PlaybackFinished(playback, failed=failed):
                self._handoffs.playback_ended(playback, failed=failed)
            case ari.ChannelDtmfReceived(channel, digit):
                asyncio.get_running_loop().call_later(
                    KEY_TAIL_SECONDS, self._pressed, ChannelId(channel.id), digit
                )
            case ari.ChannelDestroyed(channel, cause, sip_status) if channel.id.startswith(OWN_LEG):
                self._handoffs.agent_lost(ChannelId(channel.id), sip_status, cause)
                self._leg_gone(channel.id)
            case ari.StasisEnd(channel) if channel.id.startswith(OWN_LEG):
                self._leg_gone(channel.id)
            case ari.ChannelDestroyed(channel, cause, sip_status) if (
                self._placing and self._placing.concerns(channel.id)
            ):
                self._placing.ended(channel.id, sip_status, cause)
            case ari.ChannelHangupRequest(channel) | ari.ChannelDestroyed(channel):
                self._callers.forget(channel.id)
                if channel.variable(TRANSFER_STATUS) == SUCCESS:  # and hung up at once
                    self._told_of_refer(channel, SUCCESS, "")
                self._caller_left(channel.id, on.CallerHungUp(), hung_up=True)
            case ari.StasisEnd(channel):
                if self._expected_back(channel.id):
                    self._calls.spawn(self._follow(channel.id))
                else:
                    self._caller_left(channel.id, on.CallerLeft(), hung_up=False)
            case _:
                pass  # nobody's concern

    def _agent_here(self, channel: ari.Channel) -> None:
        """A phone is dialled in our application, is brought into it, or was answered."""
        agent = ChannelId(channel.id)
        wanted = (
            self._handoffs.agent_answered(agent)
            if channel.answered
            else self._handoffs.owns(channel.id)
        )
        if not wanted:
            self._calls.spawn(self._pbx.hang_up(channel.id))

    async def _claim(self, channel_id: str) -> None:
        """A call is offered to all replicas: the least busy of them answers first."""
        if not self._calls.has_room():
            return
        await asyncio.sleep(patience(len(self._calls)))
        try:
            await self._client.claim(channel_id)
        except (NotFound, Conflict):
            log.debug("another replica has claimed the call", channel=channel_id)
        except PbxError as error:
            log.warning("call is not claimed", channel=channel_id, error=str(error))

    async def _mark(self, channel_id: str) -> None:
        """Where a queue that gives up, or an heir, looks for the owner of a claimed call.

        Not right after the claim: that is answered before the channel is in Stasis.
        """
        try:
            await self._client.set_variable(channel_id, f"__{ari.OWNER}", self._client.app)
        except (NotFound, Conflict):
            log.debug("the claimed call has left again", channel=channel_id)
        except PbxError as error:
            log.warning("claimed call is not marked as ours", channel=channel_id, error=str(error))

    def _placed(self, channel: ari.Channel) -> None:
        """A call of ours was answered: on to its bot, unless nobody wants it any more."""
        if self._placing is None or not self._placing.answered(channel.id):
            self._calls.spawn(self._pbx.hang_up(channel.id))
            return
        enter = partial(self.entrance.enter, channel.id, (INBOUND,), answered=True)
        self._calls.spawn(self._placing.begin(channel.id, enter))

    def _referred(self, channel: ari.Channel, status: str, sip: str) -> None:
        """A caller is back from a REFER that the dialplan made."""
        if not self._told_of_refer(channel, status, sip):
            log.info("back from a REFER, to the dialplan", channel=channel.id, status=status)
            self._calls.spawn(self._pbx.to_dialplan(channel.id))

    def _told_of_refer(self, channel: ari.Channel, status: str, sip: str) -> bool:
        call_id = self._calls.call_of(channel.id)
        number = int(sip) if sip.isascii() and sip.isdigit() else 0
        return call_id is not None and self._handoffs.referred(call_id, status, number)

    def _expected_back(self, channel_id: str) -> bool:
        call_id = self._calls.call_of(channel_id)
        return call_id is not None and self._handoffs.asking(call_id)

    async def _follow(self, channel_id: str) -> None:
        """In the dialplan a hang-up would not be told."""
        try:
            await self._client.follow(channel_id)
        except PbxError as error:
            if error.status:  # Asterisk itself says that there is no such channel
                self._caller_left(channel_id, on.CallerHungUp(), hung_up=True)
            log.warning("caller cannot be followed", channel=channel_id, error=str(error))

    def _pressed(self, channel: ChannelId, digit: str) -> None:
        if agent_of(channel) is not None:
            self._handoffs.agent_key(channel, digit)
        elif (call := self._call_of(channel)) is not None:
            self._handoffs.caller_key(call, digit)

    def _call_of(self, channel: str) -> CallId | None:
        return self._calls.call_of(channel) or self._handoffs.call_of(ChannelId(channel))

    def _bot_replaced(self, bot: str, by: str) -> None:
        """A hosted bot's REFER that Asterisk did itself: another leg is in its place."""
        if (call_id := self._pbx.replace_leg(bot, by)) is not None:
            log.info("hosted bot has transferred the caller", call_id=call_id)
            self._calls.spawn(self._end_bot(bot))

    async def _end_bot(self, bot: str) -> None:
        """It hangs up when it has heard that the transfer is done (RFC 5589 section 6), or is."""
        await asyncio.sleep(BYE_SECONDS)
        await self._pbx.hang_up(bot)

    def _leg_gone(self, channel_id: str) -> None:
        if (hosted := self._pbx.hosted_call(channel_id)) is not None:
            self._pbx.leg_gone(channel_id)
            self._hosted_gone(CallId(hosted))
        elif (call_id := self._pbx.leg_gone(channel_id)) is not None:
            self._calls.post(CallId(call_id), on.TalkbackLost())

    def _hosted_gone(self, call_id: CallId) -> None:
        """A bot that hangs up ends the call, unless a handoff has the caller."""
        view = self._calls.view(call_id)
        self._handoffs.bot_lost(call_id)
        lent = view is not None and view.state == "lent"
        self._calls.post(call_id, on.TalkbackLost() if lent else on.BotHangsUp(None))

    def _caller_left(
        self, channel_id: str, event: on.CallerHungUp | on.CallerLeft, *, hung_up: bool
    ) -> None:
        if (call_id := self._call_of(channel_id)) is not None:
            self._handoffs.caller_left(call_id, hung_up=hung_up)
            if hung_up and self._referrals:
                self._referrals.caller_gone(call_id)
        self._calls.post_to_channel(channel_id, event)

    async def compare(self) -> None:
        """After a connect: what has become of our calls meanwhile? Raises PbxError."""
        self._client.forget_quiet()
        if not self._succeeded and self._heir is not None:
            # Before anybody is judged to be without an owner: our predecessor's calls are ours.
            if calls := await self._heir.take_over(self._client.app):
                log.warning("calls of a predecessor go on", calls=calls)
            self._succeeded = True
        # Before the lists: who comes in while they are made is in none of them.
        callers, agents = self._calls.channels(self._site), self._handoffs.agents(self._site)
        channels, bridges = await asyncio.gather(self._client.channels(), self._client.bridges())
        found = sort_out(self._client.app, channels, bridges, self.owned)
        for caller in callers - found.living:
            self._caller_left(caller, on.CallerHungUp(), hung_up=True)
        for agent in agents - found.living:
            self._handoffs.agent_lost(agent)
        for channel in channels:  # who has answered meanwhile waits for us
            if channel.answered and self._handoffs.owns(channel.id):
                self._handoffs.agent_answered(ChannelId(channel.id))
        for left in found.waiting:
            log.warning("caller whom a handoff left waiting", channel=left.id)
        await asyncio.gather(*(self.entrance.to_queue(left.id) for left in found.waiting))
        await clear_up(self._client, found)
        for orphan in found.orphans:
            log.warning("caller without an owner", channel=orphan.id)
            self.entrance.enter(
                orphan.id, (INBOUND,), answered=orphan.answered, variables=dict(orphan.variables)
            )
        if self._dialplan is not None:
            await self._dialplan.look(self._site, ARI, self._places_exist)
        self.queue_exists = await self._pbx.queue_exists()
        if self.queue_exists is False:
            log.error("the queue does not exist: callers sent there would be cut off")
        elif self.queue_exists is None:
            log.warning("whether the queue exists cannot be asked (func_dialplan is not loaded)")

    async def _places_exist(self, entries: Sequence[DialplanEntry]) -> Sequence[bool | None]:
        places = [Place(each.context, each.extension, each.priority) for each in entries]
        return await self._pbx.places_exist(places)

    def owned(self, thing: str) -> bool:
        """A channel or bridge of a call or handoff of ours, or of one that is just coming in."""
        return (
            self._calls.knows_channel(thing)
            or self.entrance.meets(thing)
            or self._pbx.knows_leg(thing)
            or self._calls.view(CallId(thing.removeprefix(OWN_LEG))) is not None
            or self._handoffs.owns(thing)
        )


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether calls should come to us."""

    connections: Sequence[AriConnection]
    nodes: Sequence[Node]
    meeting: Rendezvous
    calls: Calls

    async def missing(self) -> Sequence[str]:
        missing = []
        if not any(connection.connected for connection in self.connections):
            missing.append("asterisk")
        if any(node.queue_exists is False for node in self.nodes):
            missing.append("queue")
        if self.calls.draining:
            missing.append("draining")
        try:
            await self.meeting.ping()
        except StoreError:
            missing.append("redis")
        return missing
