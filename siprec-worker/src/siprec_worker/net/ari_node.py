"""One Asterisk node's REST interface, as far as a caller must be brought to the queue by it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp

from siprec_worker.errors import PbxError

REQUEST_SECONDS = 1.0
EXTERNAL_MEDIA = "UnicastRTP/"  # what chan_rtp calls the legs that externalMedia makes
_GONE = (404, 409)
_LOWEST_ERROR = 400


class ChannelGone(PbxError):  # noqa: N818 - named after what happened
    """No such channel (404: the caller hung up), or it has left Stasis (409): no longer ours."""


@dataclass(frozen=True, slots=True)
class QueuePlace:
    """Where in the dialplan a caller waits for a human."""

    context: str
    extension: str

    def __str__(self) -> str:
        return f"{self.extension}@{self.context}"


@dataclass(frozen=True, slots=True)
class BotBridge:
    """The bridge in which a caller meets the bot, and the bot's legs in it."""

    bridge_id: str
    legs: tuple[str, ...]


class AriNode:
    """Requests to one node; all raise PbxError, ChannelGone where the channel is not there.

    No websocket: a channel in Stasis takes commands from any connection, also when the
    application that had it is gone.
    """

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._ari = url.rstrip("/") + "/ari"

    async def start_music(self, channel_id: str) -> None:
        """Music on hold; it goes on through `leave_for`, to the queue's own."""
        await self._request("POST", "channels", channel_id, "moh")

    async def leave_for(self, channel_id: str, place: QueuePlace) -> None:
        """`continue` in the dialplan. 204 comes for a place that does not exist, too: ask first."""
        params = {"context": place.context, "extension": place.extension, "priority": "1"}
        await self._request("POST", "channels", channel_id, "continue", params=params)

    async def place_exists(self, channel_id: str, place: QueuePlace) -> bool:
        """Whether the dialplan has it; True where the node cannot say (no func_dialplan)."""
        params = {"variable": f"DIALPLAN_EXISTS({place.context},{place.extension},1)"}
        try:
            found = await self._request("GET", "channels", channel_id, "variable", params=params)
        except ChannelGone:  # 404 also means that there is no such function
            return True
        return not (isinstance(found, dict) and found.get("value") == "0")

    async def bot_bridge(self, channel_id: str) -> BotBridge | None:
        """None when the channel is in no bridge."""
        bridges: Any = await self._request("GET", "bridges")
        for bridge in bridges or ():
            if channel_id in bridge["channels"]:
                others = [other for other in bridge["channels"] if other != channel_id]
                legs = [other for other in others if await self._is_external_media(other)]
                return BotBridge(str(bridge["id"]), tuple(legs))
        return None

    async def take_down(self, bridge: BotBridge) -> None:
        """Hangs up the bot's legs and destroys their bridge; what is gone already is fine."""
        for leg in bridge.legs:
            await self._remove("channels", leg)
        await self._remove("bridges", bridge.bridge_id)

    async def _is_external_media(self, channel_id: str) -> bool:
        try:
            channel: Any = await self._request("GET", "channels", channel_id)
        except ChannelGone:
            return False
        return str(channel["name"]).startswith(EXTERNAL_MEDIA)

    async def _remove(self, *path: str) -> None:
        try:
            await self._request("DELETE", *path)
        except ChannelGone:
            return

    async def _request(
        self, method: str, *path: str, params: dict[str, str] | None = None
    ) -> object:
        """Decoded JSON, None where there is no body."""
        where = "/" + "/".join(quote(part, safe="") for part in path)
        try:
            async with (
                asyncio.timeout(REQUEST_SECONDS),
                self._session.request(method, self._ari + where, params=params) as response,
            ):
                text = await response.text(errors="replace")
                if response.status in _GONE:
                    raise ChannelGone(f"{method} {where}: {response.status} {text[:200]}")
                if response.status >= _LOWEST_ERROR:
                    raise PbxError(f"{method} {where}: {response.status} {text[:200]}")
                found: object = json.loads(text) if text else None
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise PbxError(f"{method} {where}: {error or type(error).__name__}") from error
        return found
