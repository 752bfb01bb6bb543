"""What the entry wants done. The runner performs those of the PBX in order, and beside them those
of the worker in order; what fails comes back as an event."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from orchestrator.fleet.call import ForkHalf, RtpAddress


class Party(Enum):
    """Who the caller hears; values of voicefork.agent.v1.PartyChange.Party."""

    BOT = 2
    MUSIC = 3
    RINGING = 5


class Farewell(Enum):
    """Why the bot loses the call; values of voicefork.agent.v1.Close.Reason."""

    CALL_ENDED = 1
    NOT_ANSWERED = 2
    LEFT_BOT = 4
    FORK_LOST = 8


class Outcome(Enum):
    """How a call left the bot."""

    HUNG_UP = "hung_up"  # by the caller
    BOT_HUNG_UP = "bot_hung_up"
    QUEUED = "queued"  # sent to the queue by us
    LEFT = "left"  # taken elsewhere by the PBX or a handoff
    STRANDED = "stranded"  # the queue was not reached; music plays on


# --- for the PBX, in order ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AnswerCaller:
    """Comes back as Answered when `tell` is set. Ends any music: start it after."""

    tell: bool = False


@dataclass(frozen=True, slots=True)
class StartMusic: ...


@dataclass(frozen=True, slots=True)
class StopMusic: ...


@dataclass(frozen=True, slots=True)
class StartRinging:
    answered: bool


@dataclass(frozen=True, slots=True)
class StopRinging:
    answered: bool


@dataclass(frozen=True, slots=True)
class OpenBridge: ...


@dataclass(frozen=True, slots=True)
class OpenTalkback:
    """Comes back as TalkbackReady or TalkbackFailed. Replaces the one there is."""

    fork: ForkHalf


@dataclass(frozen=True, slots=True)
class GoToQueue:
    """Comes back as CallerLeft, CallerHungUp or QueueRefused."""


@dataclass(frozen=True, slots=True)
class SendDtmf:
    digits: str
    length_ms: int = 100  # of each


@dataclass(frozen=True, slots=True)
class HangUpCaller: ...


@dataclass(frozen=True, slots=True)
class CloseTalkback: ...


@dataclass(frozen=True, slots=True)
class CloseBridge: ...


# --- for the worker, in order ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SeekFork:
    """Comes back as ForkArrived, some time; given up when the state needs it no more."""


@dataclass(frozen=True, slots=True)
class Attach:
    """Comes back as Attached or AttachFailed."""

    fork: ForkHalf
    address: RtpAddress
    answered: bool


@dataclass(frozen=True, slots=True)
class TellAnswered:
    fork: ForkHalf


@dataclass(frozen=True, slots=True)
class TellParty:
    fork: ForkHalf
    party: Party


@dataclass(frozen=True, slots=True)
class Detach:
    fork: ForkHalf
    farewell: Farewell


@dataclass(frozen=True, slots=True)
class LeaveRendezvous: ...


PbxEffect = (
    AnswerCaller | StartMusic | StopMusic | StartRinging | StopRinging | OpenBridge | OpenTalkback
    | GoToQueue | SendDtmf | HangUpCaller | CloseTalkback | CloseBridge
)  # fmt: skip
WorkerEffect = Attach | TellAnswered | TellParty | Detach | LeaveRendezvous
Effect = PbxEffect | WorkerEffect | SeekFork
