"""A handoff's steps in channels and bridges of one node (implements handoff.ports.Telephony).

Every step may be repeated: what exists under its id is taken as made, what is gone as removed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress

from orchestrator.ari.bridges import HOLDING, MIXING
from orchestrator.ari.client import AriClient, Place
from orchestrator.ari.endpoints import endpoint_of
from orchestrator.ari.recent import Recent
from orchestrator.ari.transfers import AriTransfers
from orchestrator.ari.voice import AriVoice
from orchestrator.errors import (
    Conflict,
    NoSuchPlace,
    NotFound,
    PbxError,
    Unprocessable,
    Unreachable,
)
from orchestrator.handoff.names import PlaybackId
from orchestrator.handoff.ports import ChannelGone, Sound
from orchestrator.model import (
    BridgeId,
    ChannelId,
    DialplanEntry,
    NodeName,
    Target,
)

log = logging.getLogger(__name__)

AGENT_ENTRY = "agent"
"""First argument of Stasis for an agent's leg; its channel id says of which handoff."""

_NO_SUCH_CHANNEL = 400  # of addChannel; 404 there is the bridge
_NOT_MADE = 500  # the phone is unknown or not registered
_NOT_IN_STASIS = "not in Stasis"
_PAUSES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_LONELY_SECONDS = 0.1
_SUBSCRIBER_ABSENT = 20  # ITU-T Q.850

# The agent's leg must not be forked, or it would get an AI of its own.
_NOT_FORKED = {"PJSIP_HEADER(add,X-Voicefork-Fork)": "no"}


class AriTelephony:
    """`context` is where extensions are dialled that name none; `trunk` carries SIP URIs."""

    def __init__(
        self,
        client: AriClient,
        *,
        context: str,
        trunk: str = "",
        transfers: AriTransfers | None = None,
        verified: Callable[[DialplanEntry], bool] = lambda _: True,
    ) -> None:
        """`verified`: places of the dialplan that need not be asked for."""
        self._verified = verified
        self._client = client
        self._transfers = transfers
        self._context = context
        self._trunk = trunk
        self._voice = AriVoice(client)
        self._unused = Recent()  # holding bridges of ours in which nobody was yet

    async def make_holding(self, node: NodeName, bridge: BridgeId, music: str) -> None:
        await self._make(bridge, HOLDING)
        # Without it a holding bridge sends no RTP at all.
        await self._client.start_bridge_music(bridge, music)
        self._unused.add(bridge)

    async def hold(self, node: NodeName, caller: ChannelId, bridge: BridgeId, music: str) -> None:
        if bridge in self._unused:
            self._unused.discard(bridge)
            await self._move(caller, bridge)
        else:
            await self._hold_again(caller, bridge, music)
        # Music of the channel's own, from a bot that was lost, would follow it out of the hold.
        async with _present(caller):
            await self._client.stop_music(caller)

    async def _hold_again(self, caller: ChannelId, bridge: BridgeId, music: str) -> None:
        """The music of a bridge ends with the last who leaves it (main/bridge_channel.c,
        AST_BRIDGE_CHANNEL_FLAG_LONELY), some ms later: begun too early it is nobody's.
        """
        if caller in (await self._client.bridge(bridge)).channels:
            return  # our predecessor has moved it
        await self._move(caller, bridge)
        await self._client.start_bridge_music(bridge, music)
        await asyncio.sleep(_LONELY_SECONDS)
        await self._client.start_bridge_music(bridge, music)

    async def make_mix(self, node: NodeName, bridge: BridgeId) -> None:
        await self._make(bridge, MIXING)

    async def dial(  # noqa: PLR0913 - one phone
        self,
        node: NodeName,
        channel: ChannelId,
        target: Target,
        *,
        caller: ChannelId,
        ring_seconds: float,
        variables: Mapping[str, str],
    ) -> None:
        """In our application before it is dialled: who answers while no replica listens is not
        hung up by Asterisk, and waits for the heir.
        """
        try:
            with suppress(Conflict):
                await self._client.create(
                    channel,
                    endpoint_of(target, context=self._context, trunk=self._trunk),
                    args=AGENT_ENTRY,
                    originator=caller,
                    variables={**_NOT_FORKED, **variables},
                )
        except PbxError as error:
            if error.status != _NOT_MADE:
                raise
            if not await self._lives(channel):
                raise ChannelGone(channel, _SUBSCRIBER_ABSENT) from error
        async with _present(channel):
            await self._ring(channel, max(1, round(ring_seconds)))

    async def _ring(self, channel: ChannelId, ring_seconds: int) -> None:
        """Asterisk brings a created channel into Stasis by a thread of its own, mostly but not
        always before it answers the request: until then it refuses to dial.
        """
        for pause in (*_PAUSES, None):
            try:
                await self._client.dial(channel, ring_seconds)
            except Conflict as error:
                if _NOT_IN_STASIS not in error.text:
                    return  # dialled before
                if pause is None:
                    raise
                await asyncio.sleep(pause)
            else:
                return

    async def play(
        self, node: NodeName, channel: ChannelId, playback: PlaybackId, media: str
    ) -> None:
        async with _present(channel):
            await self._client.play(channel, playback, media)

    async def stop_playing(self, node: NodeName, playback: PlaybackId) -> None:
        with suppress(NotFound):
            await self._client.stop_playback(playback)

    async def brief(
        self,
        node: NodeName,
        agent: ChannelId,
        bridge: BridgeId,
        sound: Sound,
        began: Callable[[], None],
    ) -> None:
        async with _present(agent):
            await self._voice.brief(agent, bridge, sound, began)

    async def whisper(self, node: NodeName, agent: ChannelId, sound: Sound) -> None:
        async with _present(agent):
            await self._voice.whisper(agent, agent, sound)

    async def tell(self, node: NodeName, caller: ChannelId, legs: ChannelId, sound: Sound) -> None:
        async with _present(caller):
            await self._voice.whisper(caller, legs, sound)

    async def add_agent(self, node: NodeName, channel: ChannelId, bridge: BridgeId) -> None:
        await self._move(channel, bridge, absorb_dtmf=True)

    async def move_caller(self, node: NodeName, caller: ChannelId, bridge: BridgeId) -> None:
        await self._move(caller, bridge)

    async def return_to_bot(self, node: NodeName, caller: ChannelId, bridge: BridgeId) -> None:
        await self._move(caller, bridge)

    async def continue_in_dialplan(
        self,
        node: NodeName,
        caller: ChannelId,
        entry: DialplanEntry | None,
        *,
        variables: Mapping[str, str],
        music: str,
    ) -> None:
        place = Place(entry.context, entry.extension, entry.priority) if entry else None
        async with _present(caller):
            with suppress(Conflict):  # it is in the dialplan: an answer of ours was lost on the way
                if entry and place and not self._verified(entry):
                    await self._ask_for(caller, place)
                await self._adorn(caller, variables, music)
                await self._client.resume(caller, place)

    async def _ask_for(self, caller: ChannelId, place: Place) -> None:
        """`continue` into nowhere hangs the caller up. Raises NoSuchPlace."""
        if await self._client.place_exists(caller, place) is False:
            where = f"{place.context}/{place.extension}"
            raise NoSuchPlace("POST", where, 0, "the dialplan lacks it")

    async def start_music(self, node: NodeName, caller: ChannelId, music: str) -> None:
        async with _present(caller):
            with suppress(Conflict):  # it is in the dialplan
                await self._client.start_music(caller, music)

    async def _adorn(self, caller: ChannelId, variables: Mapping[str, str], music: str) -> None:
        """Music and variables for the way to the queue, which none of them may bar."""
        try:
            await self._client.start_music(caller, music)
            for name, value in variables.items():
                await self._client.set_variable(caller, name, value)
        except (NotFound, Conflict, Unprocessable, Unreachable):
            raise
        except PbxError as error:
            log.warning("the caller goes to the queue unadorned: %s", error)

    async def hang_up(self, node: NodeName, channel: ChannelId) -> None:
        if self._transfers is not None:  # a bot that asked for this hears that it was done
            await self._transfers.close(channel)
        with suppress(NotFound):
            await self._client.hang_up(channel)

    async def destroy_bridge(self, node: NodeName, bridge: BridgeId) -> None:
        self._unused.discard(bridge)
        with suppress(NotFound):
            await self._client.destroy_bridge(bridge)

    async def _make(self, bridge: BridgeId, kind: str) -> None:
        with suppress(Conflict):
            # Named so that a successor knows whose it was (ari.leftovers).
            await self._client.create_bridge(bridge, kind, name=f"{self._client.app} {bridge}")

    async def _move(
        self, channel: ChannelId, bridge: BridgeId, *, absorb_dtmf: bool = False
    ) -> None:
        """In one step, out of the bridge it may be in."""
        try:
            await self._client.add_to_bridge(bridge, channel, absorb_dtmf=absorb_dtmf)
        except Unprocessable as error:  # it has left our application
            raise ChannelGone(channel) from error
        except PbxError as error:
            if error.status == _NO_SUCH_CHANNEL:
                raise ChannelGone(channel) from error
            raise

    async def _lives(self, channel: ChannelId) -> bool:
        return any(known.id == channel for known in await self._client.channels())


@asynccontextmanager
async def _present(channel: ChannelId) -> AsyncIterator[None]:
    """A 404 for the channel is news of whoever was on it."""
    try:
        yield
    except (NotFound, Unprocessable) as error:
        raise ChannelGone(channel) from error
