"""The ARI events we use, as values; the rest is for the counter of unknown ones.

Fields after Asterisk's `rest-api/api-docs/events.json`; what is missing becomes empty, as events
of older and newer Asterisks differ. The one phone number here is for the routes, and never shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = Mapping[str, Any]

OWNER = "VOICEFORK_APP"
"""Channel variable: the application whose replica has the call (deploy/asterisk)."""


@dataclass(frozen=True, slots=True)
class Channel:
    """What we need to know of a channel."""

    id: str
    name: str = ""
    state: str = ""  # Down, Ring, Ringing, Up, ...
    app_data: str = ""  # of the application it is in: "voicefork-0,inbound"
    variables: tuple[tuple[str, str], ...] = ()
    caller: str = field(default="", repr=False)  # number; empty = withheld
    application: str = ""  # the dialplan application it is in: Stasis, Queue, ...

    @property
    def answered(self) -> bool:
        return self.state == "Up"

    @property
    def app(self) -> str:
        """The Stasis application whose replica has it; empty where it is not in Stasis.

        A channel that was moved, or claimed, is still listed under what the dialplan called: the
        replica that has it says so in a variable.
        """
        if self.application and not self.application.startswith("Stasis"):
            return ""
        return self.variable(OWNER) or self.app_data.partition(",")[0]

    def variable(self, name: str) -> str:
        """A variable that ari.conf's `channelvars` puts into events; empty = not there."""
        return dict(self.variables).get(name, "")


@dataclass(frozen=True, slots=True)
class Bridge:
    id: str
    name: str = ""
    channels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StasisStart:
    channel: Channel
    args: tuple[str, ...] = ()
    replaces: str = ""  # the channel a transfer put this one in the place of


@dataclass(frozen=True, slots=True)
class StasisEnd:
    channel: Channel


@dataclass(frozen=True, slots=True)
class ChannelHangupRequest:
    channel: Channel
    cause: int = 0  # Q.850
    soft: bool = False


@dataclass(frozen=True, slots=True)
class ChannelDestroyed:
    channel: Channel
    cause: int = 0  # Q.850
    sip_status: int = 0  # of Asterisk versions that say it


@dataclass(frozen=True, slots=True)
class ChannelDtmfReceived:
    channel: Channel
    digit: str
    duration_ms: int = 0


@dataclass(frozen=True, slots=True)
class Dial:
    """How an originated leg gets on: `status` is empty, RINGING, PROGRESS, ANSWER, BUSY, ..."""

    peer: Channel
    status: str = ""


@dataclass(frozen=True, slots=True)
class PlaybackFinished:
    playback_id: str
    target: str = ""  # "channel:<id>" or "bridge:<id>"
    failed: bool = False


@dataclass(frozen=True, slots=True)
class ChannelTransfer:
    """A REFER on a channel with ari-only transfer handling (Asterisk 22.3)."""

    channel: Channel
    destination: str = ""


@dataclass(frozen=True, slots=True)
class CallBroadcast:
    """A call that whoever claims it first may have (Asterisk 22.7)."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class ApplicationReplaced:
    """Another websocket has taken this application's name: we hear nothing any more."""

    app: str


AriEvent = (
    StasisStart | StasisEnd | ChannelHangupRequest | ChannelDestroyed | ChannelDtmfReceived | Dial
    | PlaybackFinished | ChannelTransfer | CallBroadcast | ApplicationReplaced
)  # fmt: skip


def parse_event(message: object) -> AriEvent | None:
    """The event in a decoded websocket message; None = of a type nobody here reads, or no event.

    Never raises: Asterisk is trusted to say the truth, but not to keep its fields.
    """
    if not isinstance(message, Mapping):
        return None
    parse = _PARSERS.get(str(message.get("type", "")))
    return parse(message) if parse else None


def parse_channel(fields: object) -> Channel:
    """A channel as in events and in GET /channels."""
    channel = _mapping(fields)
    variables = _mapping(channel.get("channelvars"))
    return Channel(
        id=str(channel.get("id", "")),
        name=str(channel.get("name", "")),
        state=str(channel.get("state", "")),
        app_data=str(_mapping(channel.get("dialplan")).get("app_data", "")),
        caller=str(_mapping(channel.get("caller")).get("number", "")),
        application=str(_mapping(channel.get("dialplan")).get("app_name", "")),
        variables=tuple((str(name), str(value)) for name, value in variables.items()),
    )


def parse_bridge(fields: object) -> Bridge:
    """A bridge as in events and in GET /bridges."""
    bridge = _mapping(fields)
    channels = bridge.get("channels")
    return Bridge(
        id=str(bridge.get("id", "")),
        name=str(bridge.get("name", "")),
        channels=tuple(map(str, channels)) if isinstance(channels, list) else (),
    )


def _mapping(value: object) -> Json:
    return value if isinstance(value, Mapping) else {}


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _stasis_start(event: Json) -> StasisStart:
    args = event.get("args")
    return StasisStart(
        parse_channel(event.get("channel")),
        tuple(map(str, args)) if isinstance(args, list) else (),
        parse_channel(event.get("replace_channel")).id,
    )


def _playback(event: Json) -> tuple[str, str, bool]:
    playback = _mapping(event.get("playback"))
    return (
        str(playback.get("id", "")),
        str(playback.get("target_uri", "")),
        playback.get("state") == "failed",
    )


def _transfer(event: Json) -> ChannelTransfer:
    refer_to = _mapping(event.get("refer_to"))
    requested = _mapping(refer_to.get("requested_destination"))
    referred_by = _mapping(event.get("referred_by"))
    return ChannelTransfer(
        parse_channel(referred_by.get("source_channel")), str(requested.get("destination", ""))
    )


_PARSERS: Mapping[str, Callable[[Json], AriEvent]] = {
    "StasisStart": _stasis_start,
    "StasisEnd": lambda e: StasisEnd(parse_channel(e.get("channel"))),
    "ChannelHangupRequest": lambda e: ChannelHangupRequest(
        parse_channel(e.get("channel")), _number(e.get("cause")), e.get("soft") is True
    ),
    "ChannelDestroyed": lambda e: ChannelDestroyed(
        parse_channel(e.get("channel")), _number(e.get("cause")), _number(e.get("tech_cause"))
    ),
    "ChannelDtmfReceived": lambda e: ChannelDtmfReceived(
        parse_channel(e.get("channel")), str(e.get("digit", "")), _number(e.get("duration_ms"))
    ),
    "Dial": lambda e: Dial(parse_channel(e.get("peer")), str(e.get("dialstatus", ""))),
    "PlaybackFinished": lambda e: PlaybackFinished(*_playback(e)),
    "ChannelTransfer": _transfer,
    "CallBroadcast": lambda e: CallBroadcast(parse_channel(e.get("channel"))),
    "ApplicationReplaced": lambda e: ApplicationReplaced(str(e.get("application", ""))),
}

EVENT_TYPES = tuple(_PARSERS)
"""What `parse_event` reads, by Asterisk's names."""
