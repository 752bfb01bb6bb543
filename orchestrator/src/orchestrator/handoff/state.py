"""The state of one handoff: parallel tracks, two bridges, a witness, and what is known so far.

Everything in it is a value, so that it can be compared, logged, stored, and resumed elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.handoff.tracks import (
    Agent,
    Bridge,
    Caller,
    ContextTrack,
    Left,
    NoAgent,
    Unpublished,
    Watch,
    WithBot,
)
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
        dialplan = (
            self.plan.pattern is Pattern.DIALPLAN
            or not self.plan.targets
            or self.place.dialplan_only
        )
        return dialplan and not self.came_back

    @property
    def phrase(self) -> str:
        """What the caller is told on hold: an AI that speaks first says it better."""
        unsaid = self.say_first or self.came_back or self.place.dialplan_only
        return "" if unsaid else self.plan.phrase

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
    left_bot: bool = False  # as the dialplan tells, where that alone has the caller
    live_at: float | None = None  # both caller and PBX had sent since the last change of source
    one_way: bool = False  # just now one of them sends nothing
    moves: int = 0  # of the caller
    place_missing: bool = False  # the dialplan lacks the place that was asked for
    gave_up: Outcome = Outcome.UNSPECIFIED  # why the queue did, where it tells
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
