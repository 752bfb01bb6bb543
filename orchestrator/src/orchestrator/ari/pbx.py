"""The entry's wishes in channels and bridges of one Asterisk node (implements fleet's Pbx port).

Names of a call's things: bridge `vf-<call>`, talk-back leg `vf-<call>-talkback-<n>`, ringing
`vf-<call>-ringing`. A channel id that begins with `vf-` is a leg of ours, never a new call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from orchestrator.ari.client import AriClient, Place
from orchestrator.ari.transfers import AriTransfers
from orchestrator.errors import Conflict, NotFound, PbxError, Unreachable

OWN_LEG = "vf-"
PROBE = f"{OWN_LEG}probe-"
HOSTED_SECONDS = 8
"""How long a hosted bot may take to answer."""
CODECS = ("ulaw", "alaw", "g722")
"""What externalMedia carries both ways (static payload types); the first is the fallback."""


def bridge_id(call_id: str) -> str:
    return f"{OWN_LEG}{call_id}"


@dataclass(slots=True)
class _Talkback:
    """The bot's leg in a call's bridge; `entered` once Asterisk says that it is in Stasis."""

    call_id: str
    channel_id: str
    hosted: bool = False  # a phone of the PBX
    entered: asyncio.Event = field(default_factory=asyncio.Event)


class AriPbx:
    """Calls of one node. `leg_entered` and `leg_gone` are to be told of StasisStart and the end
    of channels that begin with `vf-`."""

    def __init__(
        self, client: AriClient, *, queue: Place, music_class: str, ring_tone: str, limit: float
    ) -> None:
        self._client = client
        self._queue = queue
        self._music_class = music_class
        self._ring_tone = ring_tone
        self._limit = limit
        self._legs: dict[str, _Talkback] = {}  # by call
        self._by_channel: dict[str, _Talkback] = {}
        self._made = 0
        self.transfers = AriTransfers(client)
        self.ari_refers = False  # whether a hosted bot's REFER is told to us, and not done

    # --- told by the node -------------------------------------------------------------------

    def leg_entered(self, channel_id: str) -> None:
        leg = self._by_channel.get(channel_id)
        if leg is not None:
            leg.entered.set()

    def leg_gone(self, channel_id: str) -> str | None:
        """The call whose talk-back leg has ended without our doing, None = no such call."""
        leg = self._by_channel.get(channel_id)
        if leg is None:
            return None
        self._forget(leg)
        return leg.call_id

    def knows_leg(self, channel_id: str) -> bool:
        return channel_id in self._by_channel

    def adopt_leg(self, call_id: str, channel_id: str) -> None:
        """A talk-back leg that another replica has made."""
        leg = _Talkback(call_id, channel_id)
        leg.entered.set()
        self._legs[call_id] = self._by_channel[channel_id] = leg
        number = channel_id.rpartition("-")[2]
        self._made = max(self._made, int(number) if number.isdigit() else 0)

    def talkback_channel(self, call_id: str) -> str | None:
        """The channel through which the bot speaks into a call."""
        leg = self._legs.get(call_id)
        return leg.channel_id if leg else None

    # --- the caller's channel ---------------------------------------------------------------

    async def identity(self, channel_id: str, names: tuple[str, ...]) -> tuple[str, ...]:
        """Variables of a channel, empty where not set. Raises Unreachable."""
        return tuple(await asyncio.gather(*(self._value(channel_id, name) for name in names)))

    async def codec(self, channel_id: str) -> str:
        """The channel's own codec if the talk-back can have it, else ulaw."""
        own = await self._value(channel_id, "CHANNEL(audioreadformat)")
        return own if own in CODECS else CODECS[0]

    async def _value(self, channel_id: str, name: str) -> str:
        """A variable; empty where it is not set, or where a function finds nothing (500)."""
        try:
            return await self._client.variable(channel_id, name)
        except Unreachable:
            raise
        except PbxError:
            return ""

    async def answer(self, channel_id: str) -> None:
        await self._client.answer(channel_id)

    async def start_music(self, channel_id: str) -> None:
        await self._client.start_music(channel_id, self._music_class)

    async def stop_music(self, channel_id: str) -> None:
        await self._client.stop_music(channel_id)

    async def start_ringing(self, call_id: str, channel_id: str, *, answered: bool) -> None:
        """180 before the answer; after it a tone, as an answered channel rings inaudibly.

        The tone needs the channel in its bridge already: a playback outside delays bridging.
        """
        if answered:
            media = f"tone:{self._ring_tone}"
            await self._client.play(channel_id, self._ringing(call_id), media)
        else:
            await self._client.ring(channel_id)

    async def stop_ringing(self, call_id: str, channel_id: str, *, answered: bool) -> None:
        if answered:
            with suppress(NotFound):
                await self._client.stop_playback(self._ringing(call_id))
        else:
            await self._client.stop_ringing(channel_id)

    async def send_dtmf(self, channel_id: str, digits: str, length_ms: int) -> None:
        await self._client.send_dtmf(channel_id, digits, length_ms)

    async def to_queue(self, channel_id: str) -> None:
        await self._client.resume(channel_id, self._queue)

    async def to_dialplan(self, channel_id: str) -> None:
        """To the priority after Stasis(): this entry is none of ours."""
        await self._client.resume(channel_id)

    async def hang_up(self, channel_id: str) -> None:
        with suppress(NotFound):
            await self._client.hang_up(channel_id)

    # --- the call's bridge and the bot's leg ------------------------------------------------

    async def open_bridge(self, call_id: str, channel_id: str) -> None:
        """The call's bridge with the caller in it. One left by a predecessor is taken over.

        Raises PbxError; never NotFound, which would say that the caller is gone.
        """
        with suppress(Conflict):
            name = f"{self._client.app} {call_id}"
            await self._client.create_bridge(bridge_id(call_id), name=name)
        try:
            await self._client.add_to_bridge(bridge_id(call_id), channel_id)
        except NotFound as error:  # the bridge: a channel that is gone is a 400
            raise PbxError(error.method, error.path, error.status, error.text) from error

    async def close_bridge(self, call_id: str) -> None:
        with suppress(NotFound):
            await self._client.destroy_bridge(bridge_id(call_id))

    async def open_talkback(
        self, call_id: str, host: str, port: int, codec: str
    ) -> tuple[str, int]:
        """Replaces the call's talk-back leg by one to `host:port`, in its bridge.

        Returns where Asterisk takes the bot's RTP. Raises PbxError.
        """
        await self.close_talkback(call_id)
        self._made += 1
        # A number, as Asterisk answers 500 to an id in use: an earlier leg may still be ending.
        leg = _Talkback(call_id, f"{OWN_LEG}{call_id}-talkback-{self._made}")
        self._legs[call_id] = leg
        self._by_channel[leg.channel_id] = leg
        remote = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            made = await self._client.external_media(leg.channel_id, remote, codec)
            try:
                async with asyncio.timeout(self._limit):
                    await leg.entered.wait()
            except TimeoutError as error:
                path = f"/channels/{leg.channel_id}"
                raise Unreachable("AWAIT", path, 0, "the leg did not enter Stasis") from error
            await self._client.add_to_bridge(bridge_id(call_id), leg.channel_id)
        except BaseException:
            await self._drop(leg)
            raise
        return made.local_host, made.local_port

    async def open_hosted(self, call_id: str, endpoint: str) -> None:
        """Dials the bot's own phone into the call's bridge, once. Raises PbxError.

        What a REFER of the bot does follows from `transfers`; without us it leads to the queues.
        """
        if call_id in self._legs:
            return  # another worker hears the call now; the bot is the same
        self._made += 1
        leg = _Talkback(call_id, f"{OWN_LEG}{call_id}-talkback-{self._made}", hosted=True)
        self._legs[call_id] = leg
        self._by_channel[leg.channel_id] = leg
        variables = {
            "PJSIP_HEADER(add,X-Voicefork-Fork)": "no",
            "PJSIP_HEADER(add,X-Voicefork-Call)": call_id,
            "__TRANSFER_CONTEXT": self._queue.context,
        }
        if self.ari_refers:
            variables["PJSIP_TRANSFER_HANDLING()"] = "ari-only"
        try:
            await self._client.originate(
                leg.channel_id, endpoint, ring_seconds=HOSTED_SECONDS, variables=variables
            )
            try:
                async with asyncio.timeout(HOSTED_SECONDS):
                    await leg.entered.wait()
            except TimeoutError as error:
                path = f"/channels/{leg.channel_id}"
                raise Unreachable("AWAIT", path, 0, "the hosted bot did not answer") from error
            await self._client.add_to_bridge(bridge_id(call_id), leg.channel_id)
        except BaseException:
            await self._drop(leg)
            raise

    def hosted_call(self, channel_id: str) -> str | None:
        """The call whose bot this channel is, if it is a phone."""
        leg = self._by_channel.get(channel_id)
        return leg.call_id if leg is not None and leg.hosted else None

    def replace_leg(self, old: str, new: str) -> str | None:
        """Asterisk itself has put `new` in the place of a hosted bot (core transfer): its call."""
        leg = self._by_channel.pop(old, None)
        if leg is None or not leg.hosted:
            return None
        leg.channel_id = new
        self._by_channel[new] = leg
        return leg.call_id

    async def close_talkback(self, call_id: str) -> None:
        leg = self._legs.get(call_id)
        if leg is not None:
            self._forget(leg)
            if leg.hosted:
                await self.transfers.close(leg.channel_id)
            await self.hang_up(leg.channel_id)

    async def _drop(self, leg: _Talkback) -> None:
        """Ends a leg that did not come to be."""
        self._forget(leg)
        with suppress(PbxError):
            await self.hang_up(leg.channel_id)

    def _forget(self, leg: _Talkback) -> None:
        """Before it is hung up: its end is then nobody's news."""
        self._by_channel.pop(leg.channel_id, None)
        if self._legs.get(leg.call_id) is leg:
            del self._legs[leg.call_id]

    def _ringing(self, call_id: str) -> str:
        return f"{OWN_LEG}{call_id}-ringing"

    # --- the node ---------------------------------------------------------------------------

    async def places_exist(self, places: Sequence[Place]) -> Sequence[bool | None]:
        """Of each whether the dialplan has it; None = this node cannot say. Raises PbxError.

        Asked through a channel that is made for the questions and never dialled.
        """
        probe = f"{PROBE}{self._client.app}"
        endpoint = f"Local/{self._queue.extension}@{self._queue.context}/n"
        try:
            with suppress(Conflict):  # one that a dead predecessor could not end is as good
                await self._client.create(probe, endpoint)
            return [await self._client.place_exists(probe, place) for place in places]
        finally:  # also of one whose making was only answered too late
            await self.hang_up(probe)

    async def queue_exists(self) -> bool | None:
        """As `places_exist`, of the queue's extension. Raises PbxError."""
        return (await self.places_exist([self._queue]))[0]
