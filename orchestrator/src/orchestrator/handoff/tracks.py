"""The tracks of a handoff that advance side by side: caller, agent, context, bridges, witness."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from orchestrator.model import Outcome

# --- caller ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WithBot:
    """Nothing has been done yet."""


@dataclass(frozen=True, slots=True)
class FinishingPhrase:
    """The bot's last phrase plays.

    `leave`: nobody takes the call, this place of the dialplan follows the phrase (QUEUED,
    VOICEMAIL, CALLBACK).
    """

    leave: Outcome | None = None


@dataclass(frozen=True, slots=True)
class AwaitingHold:
    """Wants into the holding bridge, which is not made yet; still hears the bot."""


@dataclass(frozen=True, slots=True)
class Holding:
    """On the way into the holding bridge."""

    move: int


@dataclass(frozen=True, slots=True)
class BeingTold:
    """Hears the rules' phrase, in the holding bridge. `leave`: as in FinishingPhrase."""

    leave: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """Hears music."""


@dataclass(frozen=True, slots=True)
class Merging:
    """On the way to the agent."""

    move: int
    since: float


@dataclass(frozen=True, slots=True)
class Merged:
    """With the agent; that both are heard is not known yet."""

    since: float  # on the way
    at: float


@dataclass(frozen=True, slots=True)
class Bridged:
    """Talks with the agent."""


@dataclass(frozen=True, slots=True)
class Returning:
    """On the way back to the bot."""

    move: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Queueing:
    """On the way into the dialplan; `tries` so far failed. `place`: QUEUED, VOICEMAIL, CALLBACK."""

    move: int
    tries: int = 0
    place: Outcome = Outcome.QUEUED


@dataclass(frozen=True, slots=True)
class Stranded:
    """The dialplan could not be reached: it is tried again soon."""

    tries: int


@dataclass(frozen=True, slots=True)
class InQueue:
    """The dialplan's queue has the caller, and tells what becomes of them."""

    called: float | None = None  # since then a member's phone rings
    answered: float | None = None


@dataclass(frozen=True, slots=True)
class Asking:
    """In the dialplan, with music: the caller's carrier is asked to call the target (REFER)."""

    move: int
    since: float


@dataclass(frozen=True, slots=True)
class Left:
    """No longer this handoff's: hung up, queued, returned, or another handoff's."""


Caller = (
    WithBot | FinishingPhrase | AwaitingHold | Holding | BeingTold | Held | Merging | Merged
    | Bridged | Returning | Queueing | Stranded | InQueue | Asking | Left
)  # fmt: skip

# --- agent ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NoAgent:
    """Nobody is called."""


@dataclass(frozen=True, slots=True)
class Dialling:
    attempt: int
    since: float


@dataclass(frozen=True, slots=True)
class Ringing:
    attempt: int
    since: float  # dialled


@dataclass(frozen=True, slots=True)
class Briefing:
    """Answered; is told what the call is about, and may accept at any moment."""

    attempt: int


@dataclass(frozen=True, slots=True)
class AwaitingKey:
    """Answered; must press the key or accept otherwise."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """Takes the call; the merge bridge is not made yet."""

    attempt: int
    since: float


@dataclass(frozen=True, slots=True)
class Joining:
    """On the way into the merge bridge."""

    attempt: int
    since: float  # accepted


@dataclass(frozen=True, slots=True)
class Waiting:
    """In the merge bridge, alone: the caller's phrase, music or context is not there yet."""

    attempt: int
    since: float  # accepted


@dataclass(frozen=True, slots=True)
class Talking:
    """In the merge bridge with the caller, or with the caller on the way into it."""

    attempt: int
    since: float  # accepted


@dataclass(frozen=True, slots=True)
class Gone:
    """This attempt is over and its channel hung up."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Choosing:
    """Nobody is called: the caller, once in the music, chooses from the menu."""

    announced: int = 0


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Nobody is called by us: the caller, once in the music, is referred to the target."""


Agent = (
    NoAgent | Dialling | Ringing | Briefing | AwaitingKey | Accepted | Joining | Waiting | Talking
    | Gone | Choosing | Elsewhere
)  # fmt: skip

# --- context --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unpublished:
    """Not asked for yet."""


@dataclass(frozen=True, slots=True)
class Publishing:
    """On its way for the first time."""


@dataclass(frozen=True, slots=True)
class Published:
    at: float


@dataclass(frozen=True, slots=True)
class Acked:
    """A screen has shown it. `at` is still when it was published."""

    at: float


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Failed or too slow: nobody waits for it. It may still come."""


ContextTrack = Unpublished | Publishing | Published | Acked | Unavailable


class Bridge(Enum):
    ABSENT = "absent"
    MAKING = "making"
    READY = "ready"
    GONE = "gone"


class Watch(Enum):
    OFF = "off"
    WATCHING = "watching"
    ENDING = "ending"
    DONE = "done"
