"""What can happen to a handoff: one frozen class per kind of news, all with `at`.

`at` is in seconds since the epoch by a clock that never steps back. Results of caller moves carry
the number of the move, agent news the agent's channel, so that late news of an earlier attempt is
recognised.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from orchestrator.model import ChannelId, Outcome, Witness


class Deadline(Enum):
    PHRASE = "phrase"  # say_first, or the rules' phrase, must have ended
    RING = "ring"  # the agent must have answered
    ACCEPT = "accept"  # the agent must have pressed the key
    BRIEFING = "briefing"  # the agent has been told enough
    CONTEXT = "context"  # an accepted agent waits no longer for the context
    LIVE = "live"  # caller and agent must both have been heard
    ANNOUNCE = "announce"  # the menu is said again
    MENU = "menu"  # the caller must have chosen
    GIVE_UP = "give-up"  # somebody must have accepted
    REFER = "refer"  # the dialplan must have said what became of a REFER
    RETRY = "retry"  # the queue is tried again
    WITNESS = "witness"  # dead air is counted up to here


@dataclass(frozen=True, slots=True)
class Requested:
    """The request is durable; from here on the caller is cared for."""

    at: float


# --- caller ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PhraseEnded:
    """The say_first utterance, or the rules' phrase, has been said, or cut, or will never be."""

    at: float


@dataclass(frozen=True, slots=True)
class HoldReady:
    """The holding bridge stands, with music in it."""

    at: float


@dataclass(frozen=True, slots=True)
class CallerHeld:
    at: float
    move: int


@dataclass(frozen=True, slots=True)
class CallerMerged:
    """The caller is in the merge bridge, beside the agent."""

    at: float
    move: int


@dataclass(frozen=True, slots=True)
class CallerReturned:
    at: float
    move: int


@dataclass(frozen=True, slots=True)
class QueueEntered:
    """The dialplan has the caller."""

    at: float
    move: int


@dataclass(frozen=True, slots=True)
class QueueCalled:
    """The queue calls one of its members for the caller."""

    at: float
    queue: str


@dataclass(frozen=True, slots=True)
class QueueAnswered:
    """A member has taken the caller's call."""

    at: float


@dataclass(frozen=True, slots=True)
class QueueMerged:
    """The caller is in a bridge with somebody."""

    at: float


@dataclass(frozen=True, slots=True)
class QueueGaveUp:
    """The queue is done with the caller, who hears music. `status`: Asterisk's QUEUESTATUS."""

    at: float
    status: str


@dataclass(frozen=True, slots=True)
class CallerLeft:
    """The caller's channel is no longer ours: hung up, or only out of our application."""

    at: float
    hung_up: bool = True


@dataclass(frozen=True, slots=True)
class Referred:
    """What became of a REFER to the caller's carrier: TRANSFERSTATUS and the SIP status, 0 = none.

    The dialplan gave the caller back with it, or the carrier hung up right after.
    """

    at: float
    status: str
    sip_status: int = 0


@dataclass(frozen=True, slots=True)
class CallerKey:
    """The caller pressed a key."""

    at: float
    digit: str


@dataclass(frozen=True, slots=True)
class BotLost:
    """The bot is dead or hears the call no more: it ends no phrase, and takes nobody back."""

    at: float


# --- agent ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MixReady:
    """The merge bridge stands."""

    at: float


@dataclass(frozen=True, slots=True)
class AgentRinging:
    at: float
    channel: ChannelId


@dataclass(frozen=True, slots=True)
class AgentAnswered:
    """The agent's channel is up and in our application."""

    at: float
    channel: ChannelId


@dataclass(frozen=True, slots=True)
class BriefingStarted:
    """The agent hears the briefing."""

    at: float
    channel: ChannelId


@dataclass(frozen=True, slots=True)
class BriefingEnded:
    """The briefing has been said to its end, or never will be."""

    at: float
    channel: ChannelId


@dataclass(frozen=True, slots=True)
class AgentKey:
    at: float
    channel: ChannelId
    digit: str


@dataclass(frozen=True, slots=True)
class AgentAccepted:
    """The agent took the call by other means than a key."""

    at: float


@dataclass(frozen=True, slots=True)
class AgentLost:
    """The agent's channel is gone. 0 = the status or cause is not known."""

    at: float
    channel: ChannelId
    sip_status: int = 0
    q850_cause: int = 0


@dataclass(frozen=True, slots=True)
class AgentJoined:
    """The agent is in the merge bridge."""

    at: float
    channel: ChannelId


# --- context and witness ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ContextPatched:
    """A new revision of the context is durable."""

    at: float
    revision: int


@dataclass(frozen=True, slots=True)
class ContextPublished:
    at: float
    revision: int


@dataclass(frozen=True, slots=True)
class ContextFailed:
    at: float
    revision: int


@dataclass(frozen=True, slots=True)
class ContextAcked:
    """A human's screen has shown it."""

    at: float


@dataclass(frozen=True, slots=True)
class WitnessReported:
    at: float
    started_at: float  # when the witness began to watch
    report: Witness


@dataclass(frozen=True, slots=True)
class WitnessEnded:
    """Nothing more will come from the witness, for whatever reason."""

    at: float


# --- the rest -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AriFailed:
    """An effect on the PBX was not done.

    `outcome` is PBX_UNREACHABLE, PBX_ERROR, or UNREACHABLE: the dialplan lacks the place.
    """

    at: float
    effect: str  # the effect's id
    outcome: Outcome
    error: str = ""


@dataclass(frozen=True, slots=True)
class CancelRequested:
    at: float


@dataclass(frozen=True, slots=True)
class Superseded:
    """Another handoff of this call takes the caller over, where the caller is."""

    at: float


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    at: float
    which: Deadline


Event = (
    Requested | PhraseEnded | HoldReady | CallerHeld | CallerMerged | CallerReturned | QueueEntered
    | CallerLeft | CallerKey | BotLost | MixReady | AgentRinging | AgentAnswered | BriefingStarted
    | BriefingEnded | AgentKey | AgentAccepted | AgentLost | AgentJoined | ContextPatched
    | ContextPublished | ContextFailed | ContextAcked | WitnessReported | WitnessEnded | AriFailed
    | CancelRequested | Superseded | DeadlinePassed | Referred | QueueCalled | QueueAnswered
    | QueueMerged | QueueGaveUp
)  # fmt: skip
