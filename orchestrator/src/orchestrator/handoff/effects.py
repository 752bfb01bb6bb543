"""What a handoff wants done: frozen classes with an id that repeating cannot harm.

Lanes: TELEPHONY effects are performed one after the other in the order of the table; WORKER and
CONTEXT each in their own order beside it; VOICE beside all of them, as speech takes its time; TIMER
and REPORT inside the runner itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from orchestrator.handoff.events import Deadline
from orchestrator.handoff.names import PlaybackId
from orchestrator.model import BridgeId, ChannelId, DialplanEntry, Outcome, Target


class Lane(Enum):
    TELEPHONY = "telephony"
    WORKER = "worker"
    CONTEXT = "context"
    VOICE = "voice"
    TIMER = "timer"
    REPORT = "report"


class Release(Enum):
    """Why the bot's stream ends."""

    HUMAN_CONNECTED = 3  # voicefork.agent.v1 Close.Reason
    LEFT_BOT = 4


# --- telephony ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MakeHolding:
    """A holding bridge with bridge music. Answered by HoldReady."""

    id: str
    bridge: BridgeId
    music: str
    lane: ClassVar = Lane.TELEPHONY


@dataclass(frozen=True, slots=True)
class HoldCaller:
    """Moves the caller into the holding bridge in one step. Answered by CallerHeld."""

    id: str
    move: int
    caller: ChannelId
    bridge: BridgeId
    music: str = ""  # the default class; replicas of before 2026-11-23 owe it without
    lane: ClassVar = Lane.TELEPHONY


@dataclass(frozen=True, slots=True)
class MakeMix:
    """The bridge in which caller and agent will meet. Answered by MixReady."""

    id: str
    bridge: BridgeId
    lane: ClassVar = Lane.TELEPHONY


@dataclass(frozen=True, slots=True)
class DialAgent:
    """Originates straight into our application. Answered by Agent... news of the channel."""

    id: str
    channel: ChannelId
    target: Target
    ring_seconds: float
    variables: Mapping[str, str]
    lane: ClassVar = Lane.TELEPHONY


@dataclass(frozen=True, slots=True)
class PlayPrompt:
    """Asks the agent for the key. Not answered."""

    id: str
    channel: ChannelId
    playback: PlaybackId
    media: str
    lane: ClassVar = Lane.TELEPHONY


@dataclass(frozen=True, slots=True)
class Announce:
    """Tells the caller in the music what they may choose, or the rules' phrase.

    Not answered; the end of a phrase is told as PhraseEnded.
    """

    id: str
    caller: ChannelId
    playback: PlaybackId
    media: str
    lane: ClassVar = Lane.TELEPHONY


@dataclass(frozen=True, slots=True)
class StopPlaying:
    """Not answered. A channel that still plays something would be moved only after it."""

    id: str
    playback: PlaybackId
    lane: ClassVar = Lane.TELEPHONY


@dataclass(frozen=True, slots=True)
class AddAgent:
    """Answered by AgentJoined."""

    id: str
    channel: ChannelId
    bridge: BridgeId
    lane: ClassVar = Lane.TELEPHONY


@dataclass(frozen=True, slots=True)
class MoveCaller:
    """Moves the caller from hold to the agent in one step. Answered by CallerMerged."""

    id: str
    move: int
    caller: ChannelId
    bridge: BridgeId
    lane: ClassVar = Lane.TELEPHONY


@dataclass(frozen=True, slots=True)
class ReturnToBot:
    """Moves the caller back into the bot's bridge in one step. Answered by CallerReturned."""

    id: str
    move: int
    caller: ChannelId
    bridge: BridgeId
    lane: ClassVar = Lane.TELEPHONY


@dataclass(frozen=True, slots=True)
class ContinueInDialplan:
    """Music on the channel first, then variables, then `continue`. Answered by QueueEntered.

    `entry` None: where the dialplan itself goes on.
    """

    id: str
    move: int
    caller: ChannelId
    entry: DialplanEntry | None
    variables: Mapping[str, str]
    music: str
    lane: ClassVar = Lane.TELEPHONY


@dataclass(frozen=True, slots=True)
class StartMusic:
    """Music on the caller's own channel, which needs no bridge. Not answered."""

    id: str
    caller: ChannelId
    music: str
    lane: ClassVar = Lane.TELEPHONY


@dataclass(frozen=True, slots=True)
class HangUp:
    """Not answered; a channel that is gone is fine."""

    id: str
    channel: ChannelId
    lane: ClassVar = Lane.TELEPHONY


@dataclass(frozen=True, slots=True)
class TearDown:
    """Destroys bridges. Not answered; a bridge that is gone is fine."""

    id: str
    bridges: tuple[BridgeId, ...]
    lane: ClassVar = Lane.TELEPHONY


# --- voice ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BriefAgent:
    """Says the briefing to the agent alone. Answered by BriefingStarted and BriefingEnded."""

    id: str
    channel: ChannelId
    lane: ClassVar = Lane.VOICE


@dataclass(frozen=True, slots=True)
class HushBriefing:
    """Ends the briefing at once. Not answered."""

    id: str
    lane: ClassVar = Lane.VOICE


@dataclass(frozen=True, slots=True)
class SayPhrase:
    """Says the rules' phrase to the caller, over the music. Answered by PhraseEnded."""

    id: str
    caller: ChannelId
    text: str
    lane: ClassVar = Lane.VOICE


@dataclass(frozen=True, slots=True)
class HushPhrase:
    """Ends the phrase at once. Not answered."""

    id: str
    lane: ClassVar = Lane.VOICE


# --- worker, context, runner ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FreezeBot:
    """Stops the bot at once; only the phrase is still played. Not answered."""

    id: str
    phrase: str
    reason: str
    lane: ClassVar = Lane.WORKER


@dataclass(frozen=True, slots=True)
class UnfreezeBot:
    id: str
    lane: ClassVar = Lane.WORKER


@dataclass(frozen=True, slots=True)
class DropBot:
    """Ends the PRIMARY's stream; due within 1 s after a human is connected."""

    id: str
    reason: Release
    lane: ClassVar = Lane.WORKER


@dataclass(frozen=True, slots=True)
class Notify:
    """Tells the AIs of the call how the handoff stands."""

    id: str
    lane: ClassVar = Lane.WORKER


@dataclass(frozen=True, slots=True)
class StartWitness:
    """Answered by WitnessReported and at last WitnessEnded."""

    id: str
    lane: ClassVar = Lane.REPORT


@dataclass(frozen=True, slots=True)
class StopWitness:
    """Asks for the final report and the end."""

    id: str
    lane: ClassVar = Lane.REPORT


@dataclass(frozen=True, slots=True)
class PublishContext:
    """Answered by ContextPublished or ContextFailed."""

    id: str
    revision: int
    lane: ClassVar = Lane.CONTEXT


@dataclass(frozen=True, slots=True)
class SetDeadline:
    which: Deadline
    at: float
    lane: ClassVar = Lane.TIMER


@dataclass(frozen=True, slots=True)
class ClearDeadline:
    which: Deadline
    lane: ClassVar = Lane.TIMER


@dataclass(frozen=True, slots=True)
class Finish:
    """How it ended. Exactly one per handoff; only clean-up follows."""

    outcome: Outcome
    lane: ClassVar = Lane.REPORT


TelephonyEffect = (
    MakeHolding | HoldCaller | MakeMix | DialAgent | PlayPrompt | Announce | StopPlaying | AddAgent
    | MoveCaller | ReturnToBot | ContinueInDialplan | StartMusic | HangUp | TearDown
)  # fmt: skip
VoiceEffect = BriefAgent | HushBriefing | SayPhrase | HushPhrase
WorkerEffect = FreezeBot | UnfreezeBot | DropBot | Notify
Effect = (
    TelephonyEffect | VoiceEffect | WorkerEffect | StartWitness | StopWitness | PublishContext
    | SetDeadline | ClearDeadline | Finish
)  # fmt: skip
