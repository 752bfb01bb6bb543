"""What we ask of Asterisk, call by call: channels, bridges, playbacks.

Ids of what we create are chosen by us, so that repeating a request is harmless and its events can
be awaited before it is sent. Every method raises PbxError (errors.py); NotFound means that the
channel or bridge is gone, which for a caller is a hang-up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import aiohttp

from orchestrator.ari.events import Bridge, Channel, parse_bridge, parse_channel
from orchestrator.ari.rest import AriRest
from orchestrator.errors import Conflict, NotFound, PbxError

MIXING = "mixing,dtmf_events,proxy_media"
"""Type of every bridge people talk in. Plain `mixing` would let two SIP legs' RTP past the core
(native_rtp): music then mixes with the other party's voice, and DTMF gives no events."""

HOLDING = "holding"


class HangupReason(Enum):
    """Values of DELETE /channels/{id}?reason=."""

    NORMAL = "normal"
    BUSY = "busy"
    CONGESTION = "congestion"
    NO_ANSWER = "no_answer"
    ANSWERED_ELSEWHERE = "answered_elsewhere"


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the dialplan."""

    context: str
    extension: str
    priority: int = 1


@dataclass(frozen=True, slots=True)
class ExternalMedia:
    """An externalMedia leg: Asterisk sends to `external_host` and receives at `local`."""

    channel_id: str
    local_host: str
    local_port: int


class AriClient:
    """One node's calls, in its own nouns."""

    def __init__(self, rest: AriRest, app: str) -> None:
        self._rest = rest
        self.app = app

    # --- the node ---------------------------------------------------------------------------

    async def version(self) -> str:
        """Asterisk's version, "22.10.1+dfsg..."."""
        described = await self._rest.request("GET", "asterisk", "info", params={"only": "system"})
        system = described.get("system") if isinstance(described, dict) else None
        return str(system.get("version", "")) if isinstance(system, dict) else ""

    async def has_module(self, name: str) -> bool:
        """Whether a module is loaded and runs, e.g. "app_stasis_broadcast.so"."""
        try:
            module = await self._rest.request("GET", "asterisk", "modules", name)
        except (NotFound, Conflict):
            return False
        return isinstance(module, dict) and module.get("status") == "Running"

    async def device_state(self, name: str) -> str:
        """NOT_INUSE, INUSE, RINGING, ..., INVALID for one that is not there."""
        got = await self._rest.request("GET", "deviceStates", name)
        return str(got.get("state", "")) if isinstance(got, dict) else ""

    async def channels(self) -> list[Channel]:
        """All channels of the node, of whatever application or dialplan."""
        listed = await self._rest.request("GET", "channels")
        return [parse_channel(each) for each in listed] if isinstance(listed, list) else []

    async def bridges(self) -> list[Bridge]:
        listed = await self._rest.request("GET", "bridges")
        return [parse_bridge(each) for each in listed] if isinstance(listed, list) else []

    # --- channels ---------------------------------------------------------------------------

    async def answer(self, channel_id: str) -> None:
        """Answers. Asterisk stops a channel's music when it does: start music after."""
        await self._rest.request("POST", "channels", channel_id, "answer")

    async def ring(self, channel_id: str) -> None:
        """180 Ringing to an unanswered caller; on an answered channel nothing is heard."""
        await self._rest.request("POST", "channels", channel_id, "ring")

    async def stop_ringing(self, channel_id: str) -> None:
        await self._rest.request("DELETE", "channels", channel_id, "ring")

    async def start_music(self, channel_id: str, music_class: str = "") -> None:
        """Music on hold; an unknown class is the default one. Survives bridging and `resume`."""
        params = {"mohClass": music_class} if music_class else None
        await self._rest.request("POST", "channels", channel_id, "moh", params=params)

    async def stop_music(self, channel_id: str) -> None:
        await self._rest.request("DELETE", "channels", channel_id, "moh")

    async def send_dtmf(self, channel_id: str, digits: str, length_ms: int = 100) -> None:
        params = {"dtmf": digits, "duration": str(length_ms)}
        await self._rest.request("POST", "channels", channel_id, "dtmf", params=params)

    async def hang_up(self, channel_id: str, reason: HangupReason = HangupReason.NORMAL) -> None:
        params = {"reason": reason.value}
        await self._rest.request("DELETE", "channels", channel_id, params=params)

    async def resume(self, channel_id: str, place: Place | None = None) -> None:
        """Back to the dialplan (`continue`): at `place`, or at the priority after Stasis().

        204 comes for a place that does not exist, too, and the caller is hung up then:
        `place_exists` is for asking before.
        """
        params = (
            {
                "context": place.context,
                "extension": place.extension,
                "priority": str(place.priority),
            }
            if place
            else None
        )
        await self._rest.request("POST", "channels", channel_id, "continue", params=params)

    async def variable(self, channel_id: str, name: str) -> str:
        """A variable, or what a dialplan function reads: "CHANNEL(audioreadformat)".

        Raises NotFound both for a channel that is gone and a variable that is not set.
        """
        params = {"variable": name}
        got = await self._rest.request("GET", "channels", channel_id, "variable", params=params)
        return str(got.get("value", "")) if isinstance(got, dict) else ""

    async def set_variable(self, channel_id: str, name: str, value: str) -> None:
        params = {"variable": name, "value": value}
        await self._rest.request("POST", "channels", channel_id, "variable", params=params)

    async def place_exists(self, channel_id: str, place: Place) -> bool | None:
        """Whether the dialplan has that place; None = the node cannot say (no func_dialplan).

        Any living channel serves for the question.
        """
        asked = f"DIALPLAN_EXISTS({place.context},{place.extension},{place.priority})"
        answer = await self.variable(channel_id, asked)
        return {"1": True, "0": False}.get(answer)

    async def follow(self, channel_id: str) -> None:
        """Has events of the channel told to us although it is not in our application.

        Asterisk stops that by itself when the channel ends.
        """
        params = {"eventSource": f"channel:{channel_id}"}
        await self._rest.request("POST", "applications", self.app, "subscription", params=params)

    async def transfer_progress(self, channel_id: str, state: str) -> None:
        """What a channel that asked for a transfer is told of it, by NOTIFY."""
        params = {"states": state}
        await self._rest.request("POST", "channels", channel_id, "transfer_progress", params=params)

    async def move(self, channel_id: str, args: str = "") -> None:
        """Brings a channel of another application into ours; bridge and music stay as they are.

        Its StasisStart comes with `args`. Raises Conflict: it is not in Stasis.
        """
        params = {"app": self.app, "appArgs": args}
        given = {name: value for name, value in params.items() if value}
        await self._rest.request("POST", "channels", channel_id, "move", params=given)

    async def claim(self, channel_id: str) -> None:
        """Takes a call that StasisBroadcast() offers. Raises Conflict: another was faster."""
        params = {"channelId": channel_id, "application": self.app}
        await self._rest.request("POST", "events", "claim", params=params)

    async def create(self, channel_id: str, endpoint: str) -> None:
        """Makes a channel in our application without dialling it."""
        params = {"endpoint": endpoint, "app": self.app, "channelId": channel_id}
        await self._rest.request("POST", "channels", "create", params=params)

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

    # --- bridges ----------------------------------------------------------------------------

    async def create_bridge(self, bridge_id: str, kind: str = MIXING, name: str = "") -> None:
        """Raises Conflict: a bridge of that id exists (Asterisk 22.10)."""
        params = {"type": kind, "name": name}
        await self._rest.request("POST", "bridges", bridge_id, params=params)

    async def destroy_bridge(self, bridge_id: str) -> None:
        await self._rest.request("DELETE", "bridges", bridge_id)

    async def add_to_bridge(
        self,
        bridge_id: str,
        channel_id: str,
        *,
        inhibit_connected_line: bool = True,
        absorb_dtmf: bool = False,
        role: str = "",
    ) -> None:
        """Adds a channel, moving it out of its bridge if it is in one.

        `inhibit_connected_line` saves the other leg a re-INVITE. A holding bridge sends no RTP to
        a channel without `role=holding_participant` unless the bridge itself has music.
        """
        params = {"channel": channel_id}
        if inhibit_connected_line:
            params["inhibitConnectedLineUpdates"] = "true"
        if absorb_dtmf:
            params["absorbDTMF"] = "true"
        if role:
            params["role"] = role
        await self._rest.request("POST", "bridges", bridge_id, "addChannel", params=params)

    async def start_bridge_music(self, bridge_id: str, music_class: str = "") -> None:
        params = {"mohClass": music_class} if music_class else None
        await self._rest.request("POST", "bridges", bridge_id, "moh", params=params)

    # --- playbacks --------------------------------------------------------------------------

    async def play(self, channel_id: str, playback_id: str, media: str) -> None:
        """Plays "sound:...", "tone:..." (its parts parted by `|`, as `,` parts media) and so on.

        A playback on a channel outside a bridge delays `add_to_bridge` until it has ended.
        """
        params = {"media": media}
        await self._rest.request("POST", "channels", channel_id, "play", playback_id, params=params)

    async def stop_playback(self, playback_id: str) -> None:
        await self._rest.request("DELETE", "playbacks", playback_id)
