"""Where a call with a bot can be, each state with what is true in it, and what the PBX's owner
wants. The drawing and the table are in entry.py."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.config import Answer, Waiting
from orchestrator.fleet.call import ForkHalf
from orchestrator.fleet.effects import Outcome


@dataclass(frozen=True, slots=True)
class EntryPolicy:
    answer: Answer = Answer.FIRST
    waiting: Waiting = Waiting.MUSIC
    rendezvous_seconds: float = 2.0
    bot_speaks_seconds: float = 5.0
    adoption_seconds: float = 3.0


@dataclass(frozen=True, slots=True)
class Seeking:
    """Waiting is heard; the worker is not known yet."""

    answered: bool
    deadline: float


@dataclass(frozen=True, slots=True)
class Connecting:
    """The bot's leg is being made and told to the worker. The bot may be quicker than that."""

    answered: bool
    fork: ForkHalf
    deadline: float
    spoke: bool = False
    ready: bool = False


@dataclass(frozen=True, slots=True)
class Expecting:
    """The bot has a voice and has not used it yet."""

    answered: bool
    fork: ForkHalf
    deadline: float


@dataclass(frozen=True, slots=True)
class Answering:
    """The bot is there: the caller is being answered. `spoke`: it already has something to say."""

    fork: ForkHalf
    deadline: float
    spoke: bool = True


@dataclass(frozen=True, slots=True)
class Talking:
    fork: ForkHalf


@dataclass(frozen=True, slots=True)
class Lent:
    """A handoff has the caller. None: the fork was lost meanwhile, the bot cannot come back."""

    fork: ForkHalf | None
    waiting: bool = False  # the bot has not spoken yet: music or ringing may be heard
    lost: str = ""  # why the bot cannot come back although there is a fork


@dataclass(frozen=True, slots=True)
class Adrift:
    """Music plays: the fork or its worker was lost in the conversation; another may take over."""

    fork: ForkHalf
    why: str
    deadline: float
    may_return: bool  # the worker may be heard of again: its stream broke, no more


@dataclass(frozen=True, slots=True)
class Leaving:
    """On the way to the queue, with music."""

    why: str
    attempts: int
    deadline: float


@dataclass(frozen=True, slots=True)
class Parting:
    """The bot has said goodbye."""

    fork: ForkHalf
    deadline: float


@dataclass(frozen=True, slots=True)
class Closed:
    outcome: Outcome
    why: str


State = (
    Seeking | Connecting | Expecting | Answering | Talking | Lent | Adrift | Leaving | Parting
    | Closed
)  # fmt: skip


def deadline_of(state: State) -> float | None:
    """When DeadlinePassed is due (same clock as `now`); None = never."""
    match state:
        case Talking() | Lent() | Closed():
            return None
        case _:
            return state.deadline
