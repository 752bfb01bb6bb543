"""The state of one handoff: parallel tracks, two bridges, a witness, and what is known so far.

Everything in it is a value, so that it can be compared, logged, stored, and resumed elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from orchestrator.model import (
    BridgeId,
    CallId,
    ChannelId,
    Fallback,
    Handoff,
    HandoffId,
    Outcome,
    Pattern,
    Phase,
    Place,
    Plan,
    Target,
    Timing,
)

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
class Asking:
    """In the dialplan, with music: the caller's carrier is asked to call the target (REFER)."""

    move: int
    since: float


@dataclass(frozen=True, slots=True)
class Left:
    """No longer this handoff's: hung up, queued, returned, or another handoff's."""


Caller = (
    WithBot | FinishingPhrase | AwaitingHold | Holding | BeingTold | Held | Merging | Merged
    | Bridged | Returning | Queueing | Stranded | Asking | Left
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


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be done; never changes."""

    handoff_id: HandoffId
    request_id: str
    place: Place
    plan: Plan
    say_first: str = ""
    reason: str = ""
    intent: str = ""
    language: str = ""
    customer_reference: str = ""
    leftovers: tuple[BridgeId, ...] = ()  # of a superseded handoff: the caller may sit in one
    came_back: Outcome = Outcome.UNSPECIFIED  # why the queue gave the caller back, if it did

    @property
    def straight(self) -> bool:
        """Whether nobody is to be called: the dialplan takes the caller at once."""
        dialplan = self.plan.pattern is Pattern.DIALPLAN or not self.plan.targets
        return dialplan and not self.came_back

    @property
    def phrase(self) -> str:
        """What the caller is told on hold: an AI that speaks first says it better."""
        return "" if self.say_first or self.came_back else self.plan.phrase

    @property
    def call_id(self) -> CallId:
        return self.place.call_id

    @property
    def caller(self) -> ChannelId:
        return self.place.caller


@dataclass(frozen=True, slots=True)
class State:
    request: Request
    created_at: float
    changed_at: float
    revision: int = 1
    phase: Phase = Phase.RECEIVED
    outcome: Outcome = Outcome.UNSPECIFIED
    finished: bool = False  # the outcome is reported
    caller: Caller = field(default_factory=WithBot)
    agent: Agent = field(default_factory=NoAgent)
    context: ContextTrack = field(default_factory=Unpublished)
    hold: Bridge = Bridge.ABSENT
    mix: Bridge = Bridge.ABSENT
    watch: Watch = Watch.OFF
    ways: tuple[Fallback, ...] = ()  # ways out not yet tried
    attempts: int = 0  # phones dialled
    following: int = 0  # the plan's target that is the next
    target: Target | None = None  # dialled last
    backup: bool = False  # that is the backup centre
    bot_lost: bool = False
    live_at: float | None = None  # both caller and PBX had sent since the last change of source
    one_way: bool = False  # just now one of them sends nothing
    moves: int = 0  # of the caller
    phrase_ended_at: float | None = None
    told: bool = False  # the rules' phrase, or on the way to it
    context_revision: int = 1
    sip_status: int = 0
    q850_cause: int = 0
    timing: Timing = field(default_factory=Timing)

    @property
    def settled(self) -> bool:
        """Nothing that is told outside changes any more."""
        return self.finished and self.watch in {Watch.OFF, Watch.DONE}

    @property
    def over(self) -> bool:
        """Nothing is left to do: the runner may leave once no answer is owed."""
        return self.settled and isinstance(self.caller, Left)


def view(state: State) -> Handoff:
    """The handoff as it is told outside."""
    request = state.request
    return Handoff(
        handoff_id=request.handoff_id,
        request_id=request.request_id,
        call_id=request.call_id,
        tenant=request.place.tenant,
        revision=state.revision,
        phase=state.phase,
        outcome=state.outcome,
        pattern=request.plan.pattern,
        target=state.target,
        sip_status=state.sip_status,
        q850_cause=state.q850_cause,
        timing=state.timing,
        created_at=state.created_at,
        changed_at=state.changed_at,
        context_revision=state.context_revision,
        settled=state.settled,
    )


def dialplan_variables(request: Request) -> Mapping[str, str]:
    """Channel variables for the PBX's own queue and for the agent's phone."""
    # "s" is the include's way in, which reads this very variable: it would go round for ever.
    queue = "" if request.plan.queue_name == "s" else request.plan.queue_name
    return {
        "VOICEFORK_HANDOFF": request.handoff_id,
        "VOICEFORK_CALL": request.call_id,
        "VOICEFORK_INTENT": request.intent,
        "VOICEFORK_LANGUAGE": request.language,
        "VOICEFORK_PRIORITY": str(request.plan.priority),
        "VOICEFORK_CUSTOMER": request.customer_reference,
        "VOICEFORK_QUEUE": queue,
    }
