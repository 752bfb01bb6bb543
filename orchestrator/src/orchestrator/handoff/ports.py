"""What a handoff needs from outside, as Protocols; ari/, bus/, api/ and fleet/ implement them.

Adapters raise `errors.PeerError`: Telephony `Unreachable`, other `PbxError`, or `ChannelGone`;
WorkerLink `WorkerError`; Store and ContextBus `StoreError`. Anything else is our own bug: logged
with its traceback and treated as a failed step. The runner limits every call by `asyncio.timeout`,
so an adapter may be cancelled at any await.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from orchestrator.errors import PeerError
from orchestrator.handoff.effects import Release
from orchestrator.handoff.names import PlaybackId
from orchestrator.handoff.owed import NOTHING, Owed
from orchestrator.handoff.state import State
from orchestrator.model import (
    BridgeId,
    CallId,
    ChannelId,
    Context,
    DialplanEntry,
    Handoff,
    HandoffId,
    NodeName,
    Place,
    Target,
    Witness,
)


class ChannelGone(PeerError):  # noqa: N818 - named after what happened
    """The channel is not there (ARI 404): whoever was on it has hung up, or never was there.

    `q850_cause`: why, where it is known.
    """

    def __init__(self, channel: ChannelId, q850_cause: int = 0) -> None:
        super().__init__(f"channel {channel} is gone")
        self.channel = channel
        self.q850_cause = q850_cause


class Unspoken(PeerError):  # noqa: N818 - named after what happened
    """The text was not turned into speech."""


class Fenced(PeerError):  # noqa: N818 - named after what happened
    """The stored handoff has been taken over by another writer: stop touching it."""


@dataclass(frozen=True, slots=True)
class Sound:
    """Speech: mono PCM_S16LE of `rate` samples a second (8000 or 16000)."""

    pcm: bytes
    rate: int

    @property
    def seconds(self) -> float:
        return len(self.pcm) / 2 / self.rate


class Telephony(Protocol):
    """The PBX, in the steps of a handoff. One step at a time per handoff, in order.

    Each coroutine returns when the PBX has done the step (or, for `dial`, has accepted it). All are
    idempotent: what exists already under the id is taken as made, what is gone already is taken as
    removed.
    """

    async def make_holding(self, node: NodeName, bridge: BridgeId, music: str) -> None:
        """Bridge type `holding`, then POST /bridges/{id}/moh: without it there is no RTP."""

    async def hold(self, node: NodeName, caller: ChannelId, bridge: BridgeId, music: str) -> None:
        """addChannel moves the channel out of its bridge in the same step. Also once more: after
        an agent who was lost, or by an heir who cannot know that it was done.
        """

    async def make_mix(self, node: NodeName, bridge: BridgeId) -> None:
        """Bridge type `mixing,dtmf_events,proxy_media`."""

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
        """Originates into our own application under this channel id, X-Voicefork-Fork: no.

        What becomes of the channel is told to the registry: agent_ringing, agent_answered,
        agent_key, agent_lost. Raises ChannelGone when there is no such phone.
        """

    async def play(
        self, node: NodeName, channel: ChannelId, playback: PlaybackId, media: str
    ) -> None:
        """To this channel alone; in a holding bridge the music waits meanwhile."""

    async def stop_playing(self, node: NodeName, playback: PlaybackId) -> None: ...

    async def brief(
        self,
        node: NodeName,
        agent: ChannelId,
        bridge: BridgeId,
        sound: Sound,
        began: Callable[[], None],
    ) -> None:
        """Plays `sound` to this agent alone, in a bridge of this id; returns when it has ended.

        `began` is called when the agent hears it. Cancelled: it is silent at once. Leaves nothing
        behind but the agent's channel, in no bridge.
        """

    async def whisper(self, node: NodeName, agent: ChannelId, sound: Sound) -> None:
        """Plays `sound` into an agent's ear in mid-call: the caller hears nothing of it."""

    async def tell(self, node: NodeName, caller: ChannelId, legs: ChannelId, sound: Sound) -> None:
        """Plays `sound` to a caller on hold, over the music; its legs are named after `legs`.

        Returns when it has ended. Cancelled: it is silent at once.
        """

    async def add_agent(self, node: NodeName, channel: ChannelId, bridge: BridgeId) -> None:
        """addChannel with inhibitConnectedLineUpdates and absorbDTMF."""

    async def move_caller(self, node: NodeName, caller: ChannelId, bridge: BridgeId) -> None:
        """addChannel with inhibitConnectedLineUpdates; out of the holding bridge in one step.

        Must leave no music on the channel itself.
        """

    async def return_to_bot(self, node: NodeName, caller: ChannelId, bridge: BridgeId) -> None:
        """addChannel into the bot's bridge."""

    async def continue_in_dialplan(
        self,
        node: NodeName,
        caller: ChannelId,
        entry: DialplanEntry | None,
        *,
        variables: Mapping[str, str],
        music: str,
    ) -> None:
        """Music on the channel, then the variables, then `continue`.

        `entry` None: at the priority after the one that brought the channel to us.
        """

    async def start_music(self, node: NodeName, caller: ChannelId, music: str) -> None:
        """On the caller's own channel, wherever in our application it is."""

    async def hang_up(self, node: NodeName, channel: ChannelId) -> None: ...

    async def destroy_bridge(self, node: NodeName, bridge: BridgeId) -> None: ...


class Speech(Protocol):
    """Turns text into sound."""

    async def render(self, text: str) -> Sound:
        """Raises Unspoken. May take its time, and be cancelled."""


class Mute:
    """There is no speech synthesis: agents get the prompt alone."""

    async def render(self, text: str) -> Sound:
        raise Unspoken("no speech synthesis")


class WorkerLink(Protocol):
    """The worker that holds the call's fork (voicefork.worker.v1). Raises WorkerError."""

    async def freeze(self, call: CallId, phrase: str, reason: str) -> None: ...

    async def unfreeze(self, call: CallId) -> None: ...

    async def drop_bot(self, call: CallId, reason: Release) -> None:
        """HUMAN_CONNECTED: SetParty(AGENT) and DetachTalkback; LEFT_BOT: DetachTalkback."""

    async def notify(self, handoff: Handoff) -> None: ...

    def watch(self, call: CallId, handoff: HandoffId) -> AsyncIterator[Witness]:
        """StartWitness: reports until the witness is stopped or the call is gone."""

    async def stop_watching(self, call: CallId, handoff: HandoffId) -> Witness:
        """StopWitness: the final report."""


@dataclass(frozen=True, slots=True)
class Record:
    """A new handoff, to be stored in one step."""

    state: State
    context: Context
    fingerprint: str  # of the request's body
    after: HandoffId | None = None  # the one that gives the caller up for this one


@dataclass(frozen=True, slots=True)
class Created:
    """The record is stored."""


@dataclass(frozen=True, slots=True)
class Known:
    """The request_id is taken, by this handoff."""

    handoff: HandoffId
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Occupied:
    """Another handoff, of whatever replica, has the call's caller. Nothing was stored."""

    handoff: HandoffId


@dataclass(frozen=True, slots=True)
class Recalled:
    """A stored handoff as its replica left it."""

    state: State
    context: Context
    owed: Owed
    fingerprint: str  # of the request's body


class Store(Protocol):
    """Handoffs that outlive this process. Raises StoreError; `save` also Fenced."""

    async def create(self, record: Record) -> Created | Known | Occupied:
        """Stores request id, call and state in one atomic step, if nobody else has the caller.

        A handoff has the caller until a state is saved in which they have left it.
        """

    async def save(
        self,
        state: State,
        history: Sequence[Handoff],
        expected: int,
        context: Context | None,
        owed: Owed = NOTHING,
    ) -> None:
        """Compare-and-set: the stored revision must be `expected`, or written by this very writer.

        A handoff the store does not know (any more) is stored as new.

        `history` holds every view since the last successful save, oldest first; `context` is given
        when it has changed since; `owed` is what `recall` will give.
        """

    async def load(self, tenant: str, handoff: HandoffId) -> tuple[State, Context] | None: ...

    async def latest_of_call(self, tenant: str, call: CallId) -> HandoffId | None: ...

    async def recall(self, tenant: str, handoff: HandoffId) -> Recalled | None:
        """All that another replica needs to go on with it."""

    async def history(
        self, tenant: str, handoff: HandoffId, after: int, wait_seconds: float
    ) -> Sequence[Handoff]:
        """Views with a revision above `after`, oldest first; waits for the first if none."""


class ContextBus(Protocol):
    """Where a human's screen gets the story from."""

    async def publish(self, state: State, context: Context) -> None:
        """Returns when it is published; raises StoreError when it will be only later."""


class Calls(Protocol):
    """The live calls of this replica."""

    def locate(self, call: CallId) -> Place | None: ...


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since the epoch; never steps back within a process."""


class Tally(Protocol):
    """Counters by name, and what operators measure handoffs by."""

    def count(self, name: str) -> None: ...

    def ended(self, outcome: str, pattern: str) -> None:
        """Once for every handoff."""

    def took(self, what: str, milliseconds: int) -> None:
        """`what`: one of telemetry.HANDOFF_TIMES."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What every handoff is run with."""

    telephony: Telephony
    worker: WorkerLink
    bus: ContextBus
    store: Store
    clock: Clock
    tally: Tally
    nodes: Mapping[NodeName, Telephony] = field(default_factory=dict)
    speech: Speech = field(default_factory=Mute)

    def telephony_at(self, node: NodeName) -> Telephony:
        """Of that PBX node; `telephony` where there is only one."""
        return self.nodes.get(node, self.telephony)
