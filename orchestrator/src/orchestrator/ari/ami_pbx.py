"""Calls of a node that allows no Stasis, or is too old for it: by AMI, with its own dialplan.

The dialplan connects caller and bot (`voicefork-hosted` of the shipped include), plays music and
announcements, queues, and calls; of a handoff's steps only the caller's way from one place of it to
the next is ours, which AMI's Redirect is. Its Dial() brings both together, so that the steps of a
merge are done when it says so. What needs a bridge of ours is refused: the queue is next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType

import structlog

from orchestrator.ari.ami import AmiClient
from orchestrator.ari.queue_states import dialplan_has
from orchestrator.errors import NoSuchPlace, NotFound, PbxError, Unreachable
from orchestrator.handoff.names import PlaybackId
from orchestrator.handoff.ports import ChannelGone, Sound
from orchestrator.model import BridgeId, ChannelId, DialplanEntry, NodeName, Target

log = structlog.stdlib.get_logger(__name__)

OVER = DialplanEntry("voicefork-queue-over", "s")
"""Of the shipped include: what follows a queue where nobody knows better."""

MUSIC = DialplanEntry("voicefork-held", "music")
"""Of the shipped include: music until the next Redirect, which must come soon."""

MENU = DialplanEntry("voicefork-held", "menu")
"""Of the shipped include: the announcement once, then music; keys are told."""

_DIAL_CONTEXT = "voicefork-dial"
_SOUND = "sound:"
_HANDOFF = "VOICEFORK_HANDOFF"
_NOTHING: Mapping[str, str] = MappingProxyType({})
_PARTED = frozenset(",&")  # what parts the arguments of Dial() and Background(), and more than one


def dialled(agent: ChannelId) -> DialplanEntry:
    """Of the shipped include: the caller hears music while somebody is called, under that name."""
    return DialplanEntry(_DIAL_CONTEXT, agent)


ANYBODY = dialled(ChannelId("vf-agent-1"))
PLACES = (OVER, MUSIC, MENU, ANYBODY)
"""What a node's dialplan must have besides the places that the rules name."""


class AmiPbx:
    """Implements fleet.ports.Pbx: what the dialplan does by itself is nothing here."""

    def __init__(self, client: AmiClient, queue: DialplanEntry) -> None:
        self._client = client
        self._queue = queue

    async def answer(self, channel_id: str) -> None: ...

    async def start_music(self, channel_id: str) -> None: ...

    async def stop_music(self, channel_id: str) -> None: ...

    async def start_ringing(self, call_id: str, channel_id: str, *, answered: bool) -> None: ...

    async def stop_ringing(self, call_id: str, channel_id: str, *, answered: bool) -> None: ...

    async def open_bridge(self, call_id: str, channel_id: str) -> None: ...

    async def close_bridge(self, call_id: str) -> None: ...

    async def open_talkback(
        self, call_id: str, host: str, port: int, codec: str
    ) -> tuple[str, int]:
        raise PbxError("AMI", "talkback", 0, "a node without Stasis has hosted bots only")

    async def open_hosted(self, call_id: str, endpoint: str) -> None:
        """The dialplan has dialled it."""

    async def close_talkback(self, call_id: str) -> None: ...

    async def send_dtmf(self, channel_id: str, digits: str, length_ms: int) -> None:
        for digit in digits:
            fields = {"Channel": channel_id, "Digit": digit, "Duration": str(length_ms)}
            await self._client.action("PlayDTMF", fields)

    async def to_queue(self, channel_id: str) -> None:
        await redirect(self._client, channel_id, self._queue)

    async def hang_up(self, channel_id: str) -> None:
        with suppress(NotFound):
            await self._client.action("Hangup", {"Channel": channel_id})


class AmiTelephony:
    """Implements handoff.ports.Telephony. `left` is told of callers whom the dialplan has now."""

    def __init__(
        self,
        client: AmiClient,
        left: Callable[[ChannelId], None],
        verified: Callable[[DialplanEntry], bool] = lambda _: True,
        *,
        endpoint: Callable[[Target], str],
    ) -> None:
        """`verified`: places of the dialplan that need not be asked for.

        `endpoint`: a target in the words of Dial(); raises PbxError.
        """
        self._verified = verified
        self._endpoint = endpoint
        self._client = client
        self._left = left

    async def make_holding(self, node: NodeName, bridge: BridgeId, music: str) -> None:
        raise _bridgeless("bridge")

    async def hold(self, node: NodeName, caller: ChannelId, bridge: BridgeId, music: str) -> None:
        """Away from whoever the dialplan has called: their call ends with that."""
        await self._send(caller, MUSIC)

    async def make_mix(self, node: NodeName, bridge: BridgeId) -> None:
        """Dial() has its own."""

    async def dial(  # noqa: PLR0913 - one originate request
        self,
        node: NodeName,
        channel: ChannelId,
        target: Target,
        *,
        caller: ChannelId,
        ring_seconds: float,
        variables: Mapping[str, str],
    ) -> None:
        """By the caller's own Dial(), in an extension of this channel's name: there is no other.

        Twice is once, as long as the caller is there.
        """
        endpoint, place = self._endpoint(target), dialled(channel)
        if _PARTED & set(endpoint):
            raise PbxError("AMI", "dial", 0, f"{endpoint} is not one endpoint")
        if await self._is_at(caller, place):
            return
        seconds = str(max(1, round(ring_seconds)))
        dialling = {"VOICEFORK_DIAL": endpoint, "VOICEFORK_DIAL_SECONDS": seconds}
        await self._send(caller, place, variables, dialling)

    async def play(
        self, node: NodeName, channel: ChannelId, playback: PlaybackId, media: str
    ) -> None:
        """The menu of a caller on hold; the music goes on after it."""
        sound = media.removeprefix(_SOUND)
        if sound == media or _PARTED & set(sound):
            raise PbxError("AMI", "play", 0, f"{media}: a dialplan's menu is one sound:")
        await self._send(channel, MENU, needed={"VOICEFORK_ANNOUNCEMENT": sound})

    async def stop_playing(self, node: NodeName, playback: PlaybackId) -> None: ...

    async def brief(
        self,
        node: NodeName,
        agent: ChannelId,
        bridge: BridgeId,
        sound: Sound,
        began: Callable[[], None],
    ) -> None:
        raise _bridgeless("briefing")

    async def whisper(self, node: NodeName, agent: ChannelId, sound: Sound) -> None:
        raise _bridgeless("whisper")

    async def tell(self, node: NodeName, caller: ChannelId, legs: ChannelId, sound: Sound) -> None:
        raise _bridgeless("phrase")

    async def start_music(self, node: NodeName, caller: ChannelId, music: str) -> None:
        """The dialplan plays it, to whomever it has."""

    async def add_agent(self, node: NodeName, channel: ChannelId, bridge: BridgeId) -> None:
        """Dial() has connected them: that is what was told as their answer."""

    async def move_caller(self, node: NodeName, caller: ChannelId, bridge: BridgeId) -> None:
        """As with add_agent."""

    async def return_to_bot(self, node: NodeName, caller: ChannelId, bridge: BridgeId) -> None:
        raise _bridgeless("bridge")

    async def continue_in_dialplan(
        self,
        node: NodeName,
        caller: ChannelId,
        entry: DialplanEntry | None,
        *,
        variables: Mapping[str, str],
        music: str,
    ) -> None:
        """Variables, then Redirect: the caller leaves the bot in the same step, Queue() has music.

        The bot's leg ends with its Dial(). No entry: the caller comes from the queue, and nothing
        else is left to be done than what the dialplan does then. Twice is once: an heir repeats
        this, as does who has not heard the answer, and an agent may have answered meanwhile.
        """
        place = entry or OVER
        if await self._is_there(caller, place, variables):
            self._left(caller)
        else:
            await self._send(caller, place, {**variables, "CHANNEL(musicclass)": music})

    async def _send(
        self,
        caller: ChannelId,
        place: DialplanEntry,
        variables: Mapping[str, str] = _NOTHING,
        needed: Mapping[str, str] = _NOTHING,
    ) -> None:
        """`needed`: what `place` cannot do without. Raises NoSuchPlace, ChannelGone, PbxError."""
        await self._look_for(ANYBODY if place.context == ANYBODY.context else place)
        try:
            for name, value in variables.items():
                await self._adorn(caller, name, value)
            for name, value in needed.items():
                await self._set(caller, name, value)
            await redirect(self._client, caller, place)
        except NotFound as error:
            raise ChannelGone(caller) from error
        self._left(caller)

    async def _look_for(self, place: DialplanEntry) -> None:
        """A Redirect into nowhere hangs the caller up. Raises NoSuchPlace."""
        known = place == OVER or self._verified(place)
        if not known and await dialplan_has(self._client, place) is False:
            where = f"{place.context}/{place.extension}"
            raise NoSuchPlace("Redirect", where, 0, "the dialplan lacks it")

    async def _is_at(self, caller: ChannelId, place: DialplanEntry) -> bool:
        """By the context, too: what follows a Dial() that has ended has its extension."""
        return (
            await self._get(caller, "EXTEN") == place.extension
            and await self._get(caller, "CONTEXT") == place.context
        )

    async def _is_there(
        self, caller: ChannelId, place: DialplanEntry, variables: Mapping[str, str]
    ) -> bool:
        """Whether this handoff has sent them there. From its start, "s", a place goes on itself."""
        mine = variables.get(_HANDOFF, "")
        return (
            bool(mine)
            and await self._get(caller, "CONTEXT") == place.context
            and place.extension in {"s", await self._get(caller, "EXTEN")}
            and await self._get(caller, _HANDOFF) == mine
        )

    async def _get(self, caller: ChannelId, name: str) -> str:
        try:
            answer = await self._client.action("Getvar", {"Channel": caller, "Variable": name})
        except NotFound as error:
            raise ChannelGone(caller) from error
        return answer.get("Value")

    async def _set(self, caller: ChannelId, name: str, value: str) -> None:
        fields = {"Channel": caller, "Variable": name, "Value": _one_line(value)}
        await self._client.action("Setvar", fields)

    async def _adorn(self, caller: ChannelId, name: str, value: str) -> None:
        """Of the variables none may bar the way to the queue."""
        try:
            await self._set(caller, name, value)
        except (NotFound, Unreachable):
            raise
        except PbxError as error:
            log.warning("the caller goes on without a variable", variable=name, error=str(error))

    async def hang_up(self, node: NodeName, channel: ChannelId) -> None:
        with suppress(NotFound):
            await self._client.action("Hangup", {"Channel": channel})

    async def destroy_bridge(self, node: NodeName, bridge: BridgeId) -> None:
        """There are none."""


async def redirect(client: AmiClient, channel: str, place: DialplanEntry) -> None:
    """Raises NotFound: the caller is gone; PbxError."""
    await client.action(
        "Redirect",
        {
            "Channel": channel,
            "Context": place.context,
            "Exten": place.extension,
            "Priority": str(place.priority),
        },
    )


def _bridgeless(what: str) -> PbxError:
    return PbxError("AMI", what, 0, "a node without Stasis has its dialplan only")


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())
