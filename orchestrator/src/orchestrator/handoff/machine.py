"""The handoff's table: `step(state, event) -> (state, effects)`, pure.

Three tracks advance side by side; `meet` joins them.

    caller   WithBot ─Requested─▶ FinishingPhrase ─PhraseEnded─▶ AwaitingHold ─HoldReady─▶ Holding
             Holding ─CallerHeld─▶ Held ─(agent Waiting, context not Publishing)─▶ Merging
             Held ─(the rules' phrase is due)─▶ BeingTold ─PhraseEnded─▶ Held
             Merging ─CallerMerged─▶ Merged ─(both heard)─▶ Bridged    CONNECTED, BACKUP_CENTRE
             Merged ─LIVE, one not heard─▶ Holding, a way out
             any before ─way out─▶ Queueing ─QueueEntered─▶ Left       QUEUED, VOICEMAIL, CALLBACK
                                   Queueing ─AriFailed─▶ Stranded ─RETRY─▶ Queueing
             Queueing ─QueueEntered─▶ InQueue, where the queue tells: ─QueueMerged─▶ Left  CONNECTED
                                   InQueue ─QueueGaveUp─▶ Held, the next way out
             any before ─way out─▶ Returning ─CallerReturned─▶ Left    RETURNED
             any before ─cancel──▶ Returning ─CallerReturned─▶ Left    CANCELLED
             Held ─(agent Elsewhere)─▶ Asking ─Referred─▶ Left         CONNECTED, else a way out
             any ─CallerLeft─▶ Left                                    CALLER_HUNG_UP

    agent    NoAgent ─▶ Dialling ─▶ Ringing ─AgentAnswered─▶ Briefing ─end, BRIEFING─▶ AwaitingKey
             AwaitingKey ─key─▶ Accepted; Briefing ─key─▶ Accepted
             Accepted ─MixReady─▶ Joining ─AgentJoined─▶ Waiting ─(caller Held)─▶ Talking
             any ─AgentLost, deadline, AriFailed─▶ Gone ─▶ Dialling (next target) or a way out
             Gone ─HOLDING_MENU─▶ Choosing ─key, MENU─▶ Dialling or another way out

    context  Unpublished ─▶ Publishing ─▶ Published ─▶ Acked
                            Publishing ─failed, CONTEXT─▶ Unavailable ─▶ Published

The agent's rows are in agents.py, the context's in story.py, the proof in merging.py, REFER's in
referring.py, the queue's in queueing.py, the ways out and the menu in ways.py, setbacks in
setbacks.py, how it ends in endings.py.
PATTERN_DIALPLAN goes from the end of the phrase, of the bot's or the rules', straight to Queueing.
Only WARM_WHISPER has a Briefing. A caller whom a queue gave back (Request.came_back) starts
AwaitingHold, with the ways out. After `Finish` only clean-up follows; a connected conversation
stays in the table until one of the two leaves.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator.handoff import (
    agents,
    endings,
    merging,
    names,
    phrases,
    queueing,
    referring,
    setbacks,
    steps,
    story,
    ways,
)
from orchestrator.handoff.effects import (
    DropBot,
    Effect,
    FreezeBot,
    MakeHolding,
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
    BotLost,
    BriefingEnded,
    BriefingStarted,
    CallerHeld,
    CallerKey,
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
    QueueAnswered,
    QueueCalled,
    QueueEntered,
    QueueGaveUp,
    QueueMerged,
    Referred,
    Requested,
    Superseded,
    WitnessEnded,
    WitnessReported,
)
from orchestrator.handoff.observation import witnessed
from orchestrator.handoff.state import Request, State
from orchestrator.handoff.steps import Step, agent_channel, attempt_of, effect_id
from orchestrator.handoff.tracks import (
    Asking,
    AwaitingHold,
    BeingTold,
    Bridge,
    Bridged,
    Choosing,
    Elsewhere,
    FinishingPhrase,
    Held,
    Holding,
    InQueue,
    Merged,
    Merging,
    NoAgent,
    Publishing,
    Queueing,
    Returning,
    Stranded,
    Talking,
    Watch,
    WithBot,
)
from orchestrator.model import Outcome, Phase


def begin(request: Request, at: float) -> State:
    """The handoff before anything happens: what is stored when Escalate is answered."""
    return State(request, created_at=at, changed_at=at, ways=request.plan.fallbacks)


def step(state: State, event: Event) -> Step:
    """The next state and what must be done for it; the revision grows with every change."""
    row = _after if state.finished else _row
    moved, effects = row(state, event)
    moved, joint = _meet(moved, event.at)
    effects = (*effects, *joint)
    if moved == state:
        return state, effects
    moved = replace(moved, revision=state.revision + 1, changed_at=event.at)
    told = (moved.phase, moved.outcome) == (state.phase, state.outcome)
    if told and not isinstance(event, Requested):
        return moved, effects
    notify = Notify(effect_id(moved, "notify", moved.revision))
    if any(isinstance(effect, DropBot) for effect in effects):  # a bot that is gone hears nothing
        return moved, (notify, *effects)
    return moved, (*effects, notify)


def _meet(state: State, at: float) -> Step:
    """What the tracks allow together."""
    match state.caller, state.agent:
        case Merged(), _:
            return merging.proven(state, at)
        case Held(), Elsewhere():
            return referring.ask(state, at)
        case _:
            return steps.meet(state, at)


def _row(state: State, event: Event) -> Step:
    match event:
        case Requested():
            return _requested(state, event.at) if state.caller == WithBot() else (state, ())
        case (
            PhraseEnded() | HoldReady() | CallerHeld() | CallerMerged() | CallerReturned()
            | QueueEntered() | CallerLeft() | CallerKey() | BotLost() | Referred()
            | QueueCalled() | QueueAnswered() | QueueMerged() | QueueGaveUp()
        ):  # fmt: skip
            return _caller(state, event)
        case (
            AgentRinging() | AgentAnswered() | BriefingStarted() | BriefingEnded() | AgentKey()
            | AgentLost() | AgentJoined()
        ):  # fmt: skip
            return agents.heard(state, event)
        case MixReady() | AgentAccepted():
            return agents.prepared(state, event)
        case ContextPatched() | ContextPublished() | ContextFailed() | ContextAcked():
            return story.told(state, event)
        case WitnessReported() | WitnessEnded():
            return _witness(state, event), ()
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
    if request.straight and not request.phrase:
        moved, more = endings.to_queue(state)
        return moved, (*effects, *more)
    if not request.say_first:
        state = replace(state, caller=AwaitingHold())
    if not request.straight:
        effects.append(SetDeadline(Deadline.GIVE_UP, at + plan.limits.give_up))
    bridge = names.holding_bridge(request.handoff_id)
    effects.append(MakeHolding(effect_id(state, "make-hold"), bridge, plan.music))
    return replace(state, hold=Bridge.MAKING), tuple(effects)


def _caller(state: State, event: Event) -> Step:
    match state.caller, event:
        case Asking(), (QueueEntered() | CallerLeft(_, hung_up=False) | Referred()):
            return referring.heard(state, event)
        case (
            (Queueing() | InQueue()),
            (QueueCalled() | QueueAnswered() | QueueMerged() | QueueGaveUp()),
        ):
            return queueing.heard(state, event)
        case InQueue(), CallerLeft(_, hung_up=False):
            return state, ()
        case ((FinishingPhrase() | BeingTold()), PhraseEnded(at)):
            return ways.heard_out(state, at)
        case _, HoldReady(at) if state.hold is Bridge.MAKING:
            return _hold_ready(state, at)
        case Holding(move), CallerHeld(_, done) if done == move:
            return _held(state, event.at)
        case Merging(move), CallerMerged(at, done) if done == move:
            assert isinstance(state.agent, Talking)
            return merging.merged(state, state.caller, state.agent, at)
        case Returning(move, outcome), CallerReturned(at, done) if done == move:
            return endings.returned(state, outcome, at)
        case Queueing(move, _, place), QueueEntered(at, done) if done == move:
            return endings.queued(state, place, at)
        case Queueing(), CallerLeft(_, hung_up=False):  # our own `continue` took the channel
            return state, ()
        case Stranded(), CallerLeft(at, hung_up=False):  # it did take it, and the answer was lost
            return endings.queued(state, Outcome.QUEUED, at)
        case _, CallerLeft(at):
            return endings.caller_gone(state, Outcome.CALLER_HUNG_UP, at)
        case _, CallerKey(at, digit) if isinstance(state.agent, Choosing):
            return ways.chosen(state, digit, at)
        case FinishingPhrase(), BotLost(at):
            return endings.phrase_over(replace(state, bot_lost=True), at)
        case _, BotLost():
            return replace(state, bot_lost=True), ()
        case _:
            return state, ()


def _hold_ready(state: State, at: float) -> Step:
    """The music plays: the caller may come, then the agent is called and the merge prepared.

    A caller who came back from a queue was given up by it: the ways out begin.
    """
    state, first = steps.meet(replace(state, hold=Bridge.READY), at)
    given_up = not isinstance(state.caller, Holding) and state.caller != FinishingPhrase()
    nobody = given_up or state.request.straight
    if nobody or not isinstance(state.agent, NoAgent):  # a way out is being taken already
        return state, first
    if state.request.came_back:
        moved, more = ways.way_out(state, state.request.came_back, at)
    else:
        moved, more = steps.dial_next(state, at)
    return moved, (*first, *more)


def _held(state: State, at: float) -> Step:
    """The caller hears music; what a superseded handoff left can go, phrase or menu be said."""
    left = state.request.leftovers
    gone = (TearDown(effect_id(state, "tear-down-leftovers"), left),) if left else ()
    moved = replace(state, caller=Held(), phase=Phase.CALLER_HELD)
    moved, more = (phrases.tell if phrases.is_due(moved) else ways.announce)(moved, at)
    return moved, (*gone, *more)


def _witness(state: State, event: WitnessReported | WitnessEnded) -> State:
    match event:
        case _ if state.watch is Watch.DONE:
            return state
        case WitnessReported(_, started_at, report):
            return witnessed(state, started_at, report)
        case WitnessEnded():
            return replace(state, watch=Watch.DONE)


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
            return _witness(state, event), ()
        case _:
            return state, ()


def _talking(state: State) -> str | None:
    attempt = attempt_of(state.agent)
    return None if attempt is None else agent_channel(state, attempt)
