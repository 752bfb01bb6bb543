"""What we ask of Asterisk, call by call: of the node and its channels; the rest by its parents.

Ids of what we create are chosen by us, so that repeating a request is harmless and its events can
be awaited before it is sent. Every method raises PbxError (errors.py); NotFound means that the
channel or bridge is gone, which for a caller is a hang-up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

from orchestrator.ari.bridges import Bridges
from orchestrator.ari.events import Bridge, Channel, parse_bridge, parse_channel
from orchestrator.ari.legs import Legs
from orchestrator.ari.recent import Recent
from orchestrator.ari.rest import AriRest
from orchestrator.errors import Conflict, NotFound, PbxError, Unprocessable, Unreachable

_BETWEEN_FRAMES_SECONDS = 0.03  # one is made every 20 ms


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


class AriClient(Legs, Bridges):
    """One node's calls, in its own nouns."""

    def __init__(self, rest: AriRest, app: str) -> None:
        self._rest = rest
        self.app = app
        self._stopping: set[str] = set()  # channels whose music is being stopped
        self._quiet = Recent()  # those of which we know that it is

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

    async def hear_only(self, types: Sequence[str]) -> None:
        """Has only events of these types sent to our application (Asterisk 16.3)."""
        body = {"allowed": [{"type": each} for each in types]}
        await self._rest.request("PUT", "applications", self.app, "eventFilter", body=body)

    async def channels(self) -> list[Channel]:
        """All channels of the node, of whatever application or dialplan."""
        listed = await self._rest.request("GET", "channels")
        return [parse_channel(each) for each in listed] if isinstance(listed, list) else []

    async def bridges(self) -> list[Bridge]:
        listed = await self._rest.request("GET", "bridges")
        return [parse_bridge(each) for each in listed] if isinstance(listed, list) else []

    async def bridge(self, bridge_id: str) -> Bridge:
        return parse_bridge(await self._rest.request("GET", "bridges", bridge_id))

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
        self._stopping.discard(channel_id)
        self._quiet.discard(channel_id)
        params = {"mohClass": music_class} if music_class else None
        await self._rest.request("POST", "channels", channel_id, "moh", params=params)

    async def stop_music(self, channel_id: str) -> None:
        """Nothing is asked where it was stopped before; else twice, as once does not always do.

        Of a channel in a bridge another thread makes the music's frames. A stop that comes while
        it makes one finds no music to stop, and the music goes on (main/channel.c,
        `generator_force`): one stop in a few thousand. No event tells either.
        """
        if channel_id in self._quiet:
            return
        self._stopping.add(channel_id)
        try:
            await self._rest.request("DELETE", "channels", channel_id, "moh")
            await asyncio.sleep(_BETWEEN_FRAMES_SECONDS)
            if channel_id in self._stopping:  # nobody has started it anew meanwhile
                with suppress(NotFound, Conflict):  # it has hung up, or left Stasis
                    await self._rest.request("DELETE", "channels", channel_id, "moh")
                    if channel_id in self._stopping:  # as above, while this was answered
                        self._quiet.add(channel_id)
        finally:
            self._stopping.discard(channel_id)

    def forget_quiet(self, channel_id: str = "") -> None:
        """Others may have begun music since: on this channel, or anywhere."""
        if channel_id:
            self._quiet.discard(channel_id)
        else:
            self._quiet.clear()

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

    async def set_variable(
        self, channel_id: str, name: str, value: str, *, aside: bool = False
    ) -> None:
        """Answered only after what the channel plays has ended: `aside` as in AriRest.request."""
        params = {"variable": name, "value": value}
        path = ("channels", channel_id, "variable")
        await self._rest.request("POST", *path, params=params, aside=aside)

    async def place_exists(self, channel_id: str, place: Place) -> bool | None:
        """Whether the dialplan has that place; None = the node cannot say (no func_dialplan).

        Any living channel serves for the question.
        """
        asked = f"DIALPLAN_EXISTS({place.context},{place.extension},{place.priority})"
        try:
            answer = await self.variable(channel_id, asked)
        except (NotFound, Unprocessable, Unreachable):
            raise
        except PbxError:  # func_dialplan is not loaded
            return None
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
