"""What we ask of Asterisk about channels that we make: phones, media, whispers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from orchestrator.ari.events import parse_channel
from orchestrator.ari.rest import AriRest
from orchestrator.errors import PbxError


@dataclass(frozen=True, slots=True)
class ExternalMedia:
    """An externalMedia leg: Asterisk sends to `external_host` and receives at `local`."""

    channel_id: str
    local_host: str
    local_port: int


class Legs:
    """Part of ari.client.AriClient."""

    _rest: AriRest
    app: str

    async def variable(self, channel_id: str, name: str) -> str:
        """A variable, or what a dialplan function reads: "CHANNEL(audioreadformat)".

        Raises NotFound both for a channel that is gone and a variable that is not set.
        """
        params = {"variable": name}
        got = await self._rest.request("GET", "channels", channel_id, "variable", params=params)
        return str(got.get("value", "")) if isinstance(got, dict) else ""

    async def create(
        self,
        channel_id: str,
        endpoint: str,
        *,
        args: str = "",
        originator: str = "",
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Makes a channel in our application without dialling it; its StasisStart has `args`.

        `originator`: as of `originate`. Raises Conflict: its id is in use; a PbxError of 500: the
        phone is unknown or not registered.
        """
        params = {
            "endpoint": endpoint,
            "app": self.app,
            "appArgs": args,
            "channelId": channel_id,
            "originator": originator,
        }
        await self._rest.request(
            "POST",
            "channels",
            "create",
            params={name: value for name, value in params.items() if value},
            body={"variables": dict(variables or {})},
        )

    async def dial(self, channel_id: str, ring_seconds: int) -> None:
        """Dials a channel that was created. Unlike one that `originate` makes it is in our
        application already, and stays when it is answered while nobody listens there.

        Raises Conflict: it has been dialled before, or is not in Stasis yet (a thread of Asterisk's
        brings it there).
        """
        params = {"timeout": str(ring_seconds)}
        await self._rest.request("POST", "channels", channel_id, "dial", params=params)

    async def originate(  # noqa: PLR0913 - Asterisk's own parameters
        self,
        channel_id: str,
        endpoint: str,
        *,
        args: str = "",
        caller_id: str = "",
        ring_seconds: int = 30,
        formats: str = "",
        originator: str = "",
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Dials `endpoint`; once answered, the leg enters our application with `args`.

        `originator`: the channel whose codecs and call record the leg shares. Its Dial events
        arrive meanwhile: it is ours from the request on. Raises Conflict or a PbxError of 500
        when the id is in use.
        """
        params = {
            "endpoint": endpoint,
            "app": self.app,
            "appArgs": args,
            "callerId": caller_id,
            "timeout": str(ring_seconds),
            "formats": formats,
            "originator": originator,
        }
        await self._rest.request(
            "POST",
            "channels",
            channel_id,
            params={name: value for name, value in params.items() if value},
            body={"variables": dict(variables or {})},
        )

    async def external_media(
        self, channel_id: str, external_host: str, codec: str
    ) -> ExternalMedia:
        """A leg that is plain RTP to and from `external_host` ("host:port"), in `codec`.

        It enters our application by itself; adding it to a bridge before its StasisStart is
        refused (Unprocessable). Only codecs of static payload type work both ways.
        """
        made = await self._rest.request(
            "POST",
            "channels",
            "externalMedia",
            params={
                "channelId": channel_id,
                "app": self.app,
                "external_host": external_host,
                "format": codec,
            },
        )
        channel = parse_channel(made)
        found = []
        for name in ("UNICASTRTP_LOCAL_ADDRESS", "UNICASTRTP_LOCAL_PORT"):
            # Usually in the answer already; some versions leave them out.
            found.append(channel.variable(name) or await self.variable(channel_id, name))
        host, port = found
        if not port.isdigit():
            path = f"/channels/{channel_id}"
            raise PbxError("POST", path, 200, f"no RTP port of externalMedia: {port!r}")
        return ExternalMedia(channel_id, host, int(port))

    async def media(self, channel_id: str, codec: str) -> aiohttp.ClientWebSocketResponse:
        """A leg whose audio comes and goes by the websocket that is returned (chan_websocket).

        It enters our application by itself once that is open, and ends with it. Raises PbxError
        where Asterisk has no such channels (before 20.16, 21.11, 22.6).
        """
        made = await self._rest.request(
            "POST",
            "channels",
            "externalMedia",
            params={
                **{"channelId": channel_id, "app": self.app, "external_host": "INCOMING"},
                **{"transport": "websocket", "encapsulation": "none"},
                **{"connection_type": "server", "format": codec},
            },
        )
        connection = parse_channel(made).variable("MEDIA_WEBSOCKET_CONNECTION_ID")
        return await self._rest.media(connection)

    async def snoop(self, channel_id: str, snoop_id: str) -> None:
        """A channel whose audio only `channel_id`'s party hears, beside what they hear anyway."""
        params = {"whisper": "out", "spy": "none", "app": self.app}
        await self._rest.request("POST", "channels", channel_id, "snoop", snoop_id, params=params)
