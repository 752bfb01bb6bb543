"""Speaks to one party: a leg that takes audio by a websocket, bridged with that party alone.

We dial the leg's websocket at the port of ARI itself, so that nothing but this one direction must
be reachable, whatever host Asterisk is on; and no file of what is said stays anywhere. Asterisk
paces what is sent in bulk (chan_websocket, since 20.16, 21.11 and 22.6).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import aiohttp

from orchestrator.ari.bridges import MIXING
from orchestrator.ari.client import AriClient
from orchestrator.errors import Conflict, NotFound, PbxError, Unprocessable
from orchestrator.handoff import names
from orchestrator.handoff.ports import Sound
from orchestrator.model import BridgeId, ChannelId

_FORMATS = {8000: "slin", 16000: "slin16"}
_PIECE_SECONDS = 0.5
_AHEAD_SECONDS = 3.0  # Asterisk queues 20 s of frames at most
_TAIL_SECONDS = 2.0  # beyond its length until it must have been played
_ENTER_TRIES, _ENTER_PAUSE = 50, 0.01
_DRAINED = "QUEUE_DRAINED"


class AriVoice:
    """Of one node."""

    def __init__(self, client: AriClient) -> None:
        self._client = client

    async def brief(
        self, agent: ChannelId, bridge: BridgeId, sound: Sound, began: Callable[[], None]
    ) -> None:
        """See handoff.ports.Telephony. Raises PbxError; NotFound: the agent is gone."""
        async with self._leg(names.voice_channel(agent), sound.rate) as media:
            try:
                await self._bring_together(bridge, agent, names.voice_channel(agent))
                began()
                await _say(media, sound)
            finally:
                with suppress(NotFound):
                    await self._client.destroy_bridge(bridge)

    async def whisper(self, listener: ChannelId, legs: ChannelId, sound: Sound) -> None:
        """Over what the listener hears anyway, through a snoop; `legs` names what is made."""
        snoop, voice = names.whisper_channel(legs), names.voice_channel(legs)
        bridge = BridgeId(f"{snoop}-bridge")
        async with self._leg(voice, sound.rate) as media:
            try:
                with suppress(Conflict):
                    await self._client.snoop(listener, snoop)
                await self._bring_together(bridge, snoop, voice)
                await _say(media, sound)
            finally:
                try:
                    with suppress(NotFound):
                        await self._client.hang_up(snoop)
                finally:
                    with suppress(NotFound):
                        await self._client.destroy_bridge(bridge)

    async def _bring_together(self, bridge: BridgeId, *channels: ChannelId) -> None:
        with suppress(Conflict):
            await self._client.create_bridge(bridge, MIXING, name=f"{self._client.app} {bridge}")
        for channel in channels:
            await self._enter(bridge, channel)

    async def _enter(self, bridge: BridgeId, channel: ChannelId) -> None:
        """A leg that has just been made is refused until it is in Stasis, a few milliseconds."""
        for _ in range(_ENTER_TRIES):
            try:
                await self._client.add_to_bridge(bridge, channel)
            except Unprocessable:
                await asyncio.sleep(_ENTER_PAUSE)
            else:
                return
        raise PbxError("POST", f"/bridges/{bridge}/addChannel", 422, f"{channel} never came in")

    @asynccontextmanager
    async def _leg(
        self, channel: ChannelId, rate: int
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Lives as long as its websocket does."""
        try:
            media = await self._client.media(channel, _FORMATS[rate])
            try:
                yield media
            finally:
                await media.close()
        finally:
            with suppress(NotFound):
                await self._client.hang_up(channel)


async def _say(media: aiohttp.ClientWebSocketResponse, sound: Sound) -> None:
    """Returns when it has been played. Raises PbxError: Asterisk closed the leg."""
    loop = asyncio.get_running_loop()
    began, size = loop.time(), 2 * round(sound.rate * _PIECE_SECONDS)
    try:
        async with asyncio.timeout_at(began + sound.seconds + _TAIL_SECONDS):
            for number, start in enumerate(range(0, len(sound.pcm), size)):
                ahead = began + number * _PIECE_SECONDS - loop.time()
                await asyncio.sleep(max(0.0, ahead - _AHEAD_SECONDS))
                await media.send_bytes(sound.pcm[start : start + size])
            await media.send_str("REPORT_QUEUE_DRAINED")
            async for message in media:
                if message.type is aiohttp.WSMsgType.TEXT and message.data.startswith(_DRAINED):
                    return
    except (aiohttp.ClientError, OSError) as error:
        raise PbxError("GET", "/media", 0, type(error).__name__) from error
    raise PbxError("GET", "/media", 0, "closed before it was played")
