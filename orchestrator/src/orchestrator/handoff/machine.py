"""The handoff's table: `step(state, event) -> (state, effects)`, pure.

Three tracks advance side by side; `meet` joins them.

    caller   WithBot ─Requested─▶ FinishingPhrase ─PhraseEnded─▶ AwaitingHold ─HoldReady─▶ Holding
             Holding ─CallerHeld─▶ Held ─(agent Waiting, context not Publishing)─▶ Merging
             Merging ─CallerMerged─▶ Bridged                                        CONNECTED
             any before ─way out─▶ Queueing ─QueueEntered─▶ Left                    QUEUED
                                   Queueing ─AriFailed─▶ Stranded ─RETRY─▶ Queueing
             any before ─way out─▶ Returning ─CallerReturned─▶ Left                 RETURNED
             any before ─cancel──▶ Returning ─CallerReturned─▶ Left                 CANCELLED
             any ─CallerLeft─▶ Left                                                 CALLER_HUNG_UP

    agent    NoAgent ─▶ Dialling ─▶ Ringing ─AgentAnswered─▶ AwaitingKey ─key─▶ Accepted
             Accepted ─MixReady─▶ Joining ─AgentJoined─▶ Waiting ─(caller Held)─▶ Talking
             any ─AgentLost, deadline, AriFailed─▶ Gone ─▶ Dialling (next target) or a way out

    context  Unpublished ─▶ Publishing ─▶ Published ─▶ Acked
                            Publishing ─failed, CONTEXT─▶ Unavailable ─▶ Published

What goes wrong or comes too late is in setbacks.py, how it all ends in endings.py.
PATTERN_DIALPLAN goes from the phrase's end straight to Queueing. After `Finish` only clean-up
follows; a connected conversation stays in the table until one of the two leaves.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator.handoff import endings, names, setbacks, steps
from orchestrator.handoff.causes import outcome_of
from orchestrator.handoff.effects import (
    DropBot,
    Effect,
    FreezeBot,
    MakeHolding,
    MakeMix,
    Notify,
    PublishContext,
    SetDeadline,
    StartWitness,
    TearDown,
)
from orchestrator.handoff.events import (
    AgentAccepted,
    AgentAnswered,
    AgentJoined,
    AgentKey,
    AgentLost,
    AgentRinging,
    AriFailed,
    CallerHeld,
    CallerLeft,
    CallerMerged,
    CallerReturned,
    CancelRequested,
    ContextAcked,
    ContextFailed,
    ContextPatched,
    ContextPublished,
    Deadline,
    DeadlinePassed,
    Event,
    HoldReady,
    MixReady,
    PhraseEnded,
    QueueEntered,
    Requested,
    Superseded,
    WitnessEnded,
    WitnessReported,
)
from orchestrator.handoff.observation import witnessed
from orchestrator.handoff.state import (
    Acked,
    AwaitingHold,
    AwaitingKey,
    Bridge,
    Bridged,
    Dialling,
    FinishingPhrase,
    Held,
    Holding,
    Joining,
    Merging,
    Published,
    Publishing,
    Queueing,
    Request,
    Returning,
    Ringing,
    State,
    Stranded,
    Talking,
    Unavailable,
    Waiting,
    Watch,
    WithBot,
)
from orchestrator.handoff.steps import Step, agent_channel, attempt_of, effect_id
from orchestrator.model import Outcome, Pattern, Phase


def begin(request: Request, at: float) -> State:
    """The handoff before anything happens: what is stored when Escalate is answered."""
    return State(request, created_at=at, changed_at=at, ways=request.plan.fallbacks)


def step(state: State, event: Event) -> Step:
    """The next state and what must be done for it; the revision grows with every change."""
    row = _after if state.finished else _row
    moved, effects = row(state, event)
    moved, joint = steps.meet(moved, event.at)
    if moved == state:
        return state, (*effects, *joint)
    moved = replace(moved, revision=state.revision + 1, changed_at=event.at)
    told = (moved.phase, moved.outcome) == (state.phase, state.outcome)
    if told and not isinstance(event, Requested):
        return moved, (*effects, *joint)
    notify = Notify(effect_id(moved, "notify", moved.revision))
    if any(isinstance(effect, DropBot) for effect in effects):  # a bot that is gone hears nothing
        return moved, (notify, *effects, *joint)
    return moved, (*effects, *joint, notify)


def _row(state: State, event: Event) -> Step:
    match event:
        case Requested():
            return _requested(state, event.at) if state.caller == WithBot() else (state, ())
        case (
            PhraseEnded() | HoldReady() | CallerHeld() | CallerMerged() | CallerReturned()
            | QueueEntered() | CallerLeft()
        ):  # fmt: skip
            return _caller(state, event)
        case AgentRinging() | AgentAnswered() | AgentKey() | AgentLost() | AgentJoined():
            return _agent(state, event)
        case MixReady() | AgentAccepted():
            return _agent_side(state, event)
        case ContextPatched() | ContextPublished() | ContextFailed() | ContextAcked():
            return _context(state, event)
        case WitnessReported() | WitnessEnded():
            return _witness(state, event)
        case DeadlinePassed():
            return setbacks.deadline(state, event)
        case AriFailed():
            return setbacks.ari_failed(state, event)
        case CancelRequested() | Superseded():
            return setbacks.withdrawn(state, event)


def _requested(state: State, at: float) -> Step:
    """Everything that need not wait starts now, while the bot's phrase still plays."""
    request, plan = state.request, state.request.plan
    effects: list[Effect] = [StartWitness(effect_id(state, "watch"))]
    if plan.freeze_bot:
        effects.append(FreezeBot(effect_id(state, "freeze"), request.say_first, request.reason))
    effects.append(PublishContext(effect_id(state, "context", 1), 1))
    state = replace(state, context=Publishing(), watch=Watch.WATCHING)
    if request.say_first:
        effects.append(SetDeadline(Deadline.PHRASE, at + plan.limits.phrase))
        state = replace(state, caller=FinishingPhrase())
    if plan.pattern is Pattern.DIALPLAN or not plan.targets:
        moved, more = endings.to_queue(state)
        return moved, (*effects, *more)
    if not request.say_first:
        state = replace(state, caller=AwaitingHold())
    effects.append(SetDeadline(Deadline.GIVE_UP, at + plan.limits.give_up))
    bridge = names.holding_bridge(request.handoff_id)
    effects.append(MakeHolding(effect_id(state, "make-hold"), bridge, plan.music))
    return replace(state, hold=Bridge.MAKING), tuple(effects)


def _caller(state: State, event: Event) -> Step:
    match state.caller, event:
        case FinishingPhrase(), PhraseEnded(at):
            return endings.phrase_over(state, at)
        case _, HoldReady(at) if state.hold is Bridge.MAKING:
            return _hold_ready(state, at)
        case Holding(move), CallerHeld(_, done) if done == move:
            return _held(state)
        case Merging(move), CallerMerged(at, done) if done == move:
            assert isinstance(state.agent, Talking)
            return endings.connected(state, state.agent, at)
        case Returning(move, outcome), CallerReturned(at, done) if done == move:
            return endings.returned(state, outcome, at)
        case Queueing(move), QueueEntered(at, done) if done == move:
            return endings.queued(state, at)
        case Queueing(), CallerLeft(_, hung_up=False):  # our own `continue` took the channel
            return state, ()
        case Stranded(), CallerLeft(at, hung_up=False):  # it did take it, and the answer was lost
            return endings.queued(state, at)
        case _, CallerLeft(at):
            return endings.caller_gone(state, Outcome.CALLER_HUNG_UP, at)
        case _:
            return state, ()


def _hold_ready(state: State, at: float) -> Step:
    """The music plays: the caller may come, then the agent is called and the merge prepared."""
    state, first = steps.meet(replace(state, hold=Bridge.READY), at)
    if state.caller != FinishingPhrase() and not isinstance(state.caller, Holding):
        return state, first  # given up in the meantime
    moved, dialled = steps.dial(replace(state, mix=Bridge.MAKING), at)
    mix = MakeMix(effect_id(state, "make-mix"), names.merge_bridge(state.request.handoff_id))
    return moved, (*first, *dialled, mix)


def _held(state: State) -> Step:
    left = state.request.leftovers
    gone = (TearDown(effect_id(state, "tear-down-leftovers"), left),) if left else ()
    return replace(state, caller=Held(), phase=Phase.CALLER_HELD), gone


def _agent(
    state: State, event: AgentRinging | AgentAnswered | AgentKey | AgentLost | AgentJoined
) -> Step:
    attempt = attempt_of(state.agent)
    if attempt is None or agent_channel(state, attempt) != event.channel:
        if isinstance(event, AgentAnswered):  # answered too late: nobody may wait in silence
            return state, (steps.hang_up(state, event.channel),)
        return state, ()
    match state.agent, event:
        case Dialling(_, since), AgentRinging():
            return replace(state, agent=Ringing(attempt, since), phase=Phase.RINGING), ()
        case (Dialling() | Ringing()) as agent, AgentAnswered(at):
            return steps.answered(state, agent, at)
        case AwaitingKey(), AgentKey(at, _, digit) if digit == state.request.plan.accept_key:
            return steps.accepted(state, attempt, at)
        case Joining(_, since), AgentJoined():
            return replace(state, agent=Waiting(attempt, since)), ()
        case ((Dialling() | Ringing()), AgentLost(at, _, sip, q850)):
            state = replace(state, sip_status=sip, q850_cause=q850)
            return endings.way_out(state, outcome_of(sip, q850), at)
        case _, AgentLost(at, _, sip, q850):
            state = replace(state, sip_status=sip, q850_cause=q850)
            return endings.way_out(state, Outcome.AGENT_HUNG_UP, at)
        case _:
            return state, ()


def _agent_side(state: State, event: MixReady | AgentAccepted) -> Step:
    match state.agent, event:
        case _, MixReady() if state.mix is Bridge.MAKING:
            return replace(state, mix=Bridge.READY), ()
        case AwaitingKey(attempt), AgentAccepted(at):
            return steps.accepted(state, attempt, at)
        case _:
            return state, ()


def _context(
    state: State, event: ContextPatched | ContextPublished | ContextFailed | ContextAcked
) -> Step:
    match state.context, event:
        case _, ContextPatched(_, revision) if revision > state.context_revision:
            publish = PublishContext(effect_id(state, "context", revision), revision)
            return replace(state, context_revision=revision), (publish,)
        case ((Publishing() | Unavailable()), ContextPublished(at)):
            return replace(state, context=Published(at), phase=_reached(state)), ()
        case Publishing(), ContextFailed():
            return replace(state, context=Unavailable()), ()
        case Published(published), ContextAcked():
            return replace(state, context=Acked(published), phase=Phase.CONTEXT_ACKED), ()
        case _:
            return state, ()


def _reached(state: State) -> Phase:
    """CONTEXT_PUBLISHED is a milestone, unless a way out is being taken."""
    return state.phase if state.phase is Phase.FALLBACK else Phase.CONTEXT_PUBLISHED


def _witness(state: State, event: WitnessReported | WitnessEnded) -> Step:
    match event:
        case _ if state.watch is Watch.DONE:
            return state, ()
        case WitnessReported(_, started_at, report):
            return witnessed(state, started_at, report), ()
        case WitnessEnded():
            return replace(state, watch=Watch.DONE), ()


def _after(state: State, event: Event) -> Step:
    """After Finish: the conversation's own end, strays, and the witness's last words."""
    match state.caller, event:
        case Bridged(), CallerLeft():
            return endings.conversation_over(state)
        case Bridged(), AgentLost(_, channel) if channel == _talking(state):
            return endings.conversation_over(state)
        case Bridged(), AgentAnswered(_, channel) if channel == _talking(state):
            return state, ()
        case _, AgentAnswered(_, channel):
            return state, (steps.hang_up(state, channel),)
        case _, DeadlinePassed(_, Deadline.WITNESS):
            return endings.stop_witness(state)
        case _, (WitnessReported() | WitnessEnded()):
            return _witness(state, event)
        case _:
            return state, ()


def _talking(state: State) -> str | None:
    attempt = attempt_of(state.agent)
    return None if attempt is None else agent_channel(state, attempt)
