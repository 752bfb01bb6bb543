"""What happens to a call while it enters, talks to the bot and leaves."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.fleet.call import ForkHalf, RtpAddress

# --- the PBX --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answered:
    """The caller's channel was answered by our wish."""


@dataclass(frozen=True, slots=True)
class PbxFailed:
    """A request about the caller's channel or bridge failed."""

    why: str


@dataclass(frozen=True, slots=True)
class TalkbackReady:
    """The bot's leg is in the bridge; Asterisk takes the bot's RTP at `address`."""

    worker_id: str  # for which it was made
    address: RtpAddress


@dataclass(frozen=True, slots=True)
class TalkbackFailed:
    worker_id: str
    why: str


@dataclass(frozen=True, slots=True)
class TalkbackLost:
    """The bot's leg has ended without our doing."""


@dataclass(frozen=True, slots=True)
class CallerHungUp:
    """The caller's channel is gone, or going."""


@dataclass(frozen=True, slots=True)
class CallerLeft:
    """The channel left Stasis alive: by our `continue`, or by the PBX's own doing."""


@dataclass(frozen=True, slots=True)
class QueueRefused:
    """Asterisk did not take the caller to the queue."""

    why: str


# --- the worker and its AI --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ForkArrived:
    """A worker hears the call: the first one, or another that has taken it over."""

    fork: ForkHalf


@dataclass(frozen=True, slots=True)
class Attached:
    """The worker has taken the talk-back."""

    worker_id: str


@dataclass(frozen=True, slots=True)
class AttachFailed:
    worker_id: str
    why: str


@dataclass(frozen=True, slots=True)
class BotSpoke:
    """The first audio of the bot is about to play."""


@dataclass(frozen=True, slots=True)
class BotReady:
    """The AI of an unanswered call has opened: it speaks once the caller is answered."""


@dataclass(frozen=True, slots=True)
class BotFailed:
    """The AI cannot serve this call (any more)."""

    why: str


@dataclass(frozen=True, slots=True)
class ForkEnded:
    worker_id: str
    why: str


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """Nothing more is heard from a worker."""

    worker_id: str


@dataclass(frozen=True, slots=True)
class WorkerBack:
    worker_id: str


@dataclass(frozen=True, slots=True)
class BotHangsUp:
    """The AI ends the call. None = now, as the worker reports it once everything is played."""

    after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class BotSendsDtmf:
    digits: str
    length_ms: int = 100  # of each


# --- ourselves ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The state's own deadline."""


@dataclass(frozen=True, slots=True)
class HandoffTook:
    """A handoff drives the caller's channel from here on."""


@dataclass(frozen=True, slots=True)
class HandoffReturned:
    """The handoff is over and the caller is in the call's bridge with the bot again."""


@dataclass(frozen=True, slots=True)
class SendToQueue:
    """A human is wanted now: an escalation that nothing better takes, or we are going away."""

    why: str


Event = (
    Answered | PbxFailed | TalkbackReady | TalkbackFailed | TalkbackLost | CallerHungUp
    | CallerLeft | QueueRefused | ForkArrived | Attached | AttachFailed | BotReady | BotSpoke
    | BotFailed | ForkEnded | WorkerLost | WorkerBack | BotHangsUp | BotSendsDtmf | DeadlinePassed
    | HandoffTook | HandoffReturned | SendToQueue
)  # fmt: skip
