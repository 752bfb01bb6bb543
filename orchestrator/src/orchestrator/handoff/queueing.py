"""What a queue tells of a caller whom only the dialplan has: called, answered, talking, over.

Its news may overtake the answer to our own request, which was to bring the caller there.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator.handoff import endings
from orchestrator.handoff.causes import outcome_of_queue
from orchestrator.handoff.events import (
    Event,
    QueueAnswered,
    QueueCalled,
    QueueGaveUp,
    QueueMerged,
)
from orchestrator.handoff.state import State
from orchestrator.handoff.steps import Step, milliseconds
from orchestrator.handoff.tracks import Acked, Held, InQueue, Left, Published, Queueing
from orchestrator.handoff.ways import way_out
from orchestrator.model import Outcome, Phase, Queue


def heard(state: State, event: Event) -> Step:
    """Of a caller who is in the queue, or on the way there."""
    match state.caller:
        case InQueue() as waiting:
            return _told(state, waiting, event)
        case Queueing(_, _, Outcome.QUEUED) if state.request.place.dialplan_only and (
            not state.gave_up
        ):
            moved, effects = endings.in_queue(state)
            moved, more = _told(moved, InQueue(), event)
            return moved, (*effects, *more)
        case _:
            return state, ()


def _told(state: State, waiting: InQueue, event: Event) -> Step:
    match event:
        case QueueCalled(at, queue):
            calling = replace(waiting, called=at)
            return replace(state, caller=calling, target=Queue(queue), phase=Phase.RINGING), ()
        case QueueAnswered(at):
            timing = state.timing
            if waiting.called is not None:
                timing = replace(timing, ring_ms=milliseconds(at - waiting.called))
            answered = replace(waiting, answered=at)
            return replace(state, caller=answered, timing=timing, phase=Phase.ACCEPTED), ()
        case QueueMerged(at):
            return _connected(state, waiting, at)
        case QueueGaveUp(at, status):
            why = outcome_of_queue(status)
            # The dialplan's music is the caller's hold: every way out begins there.
            return way_out(replace(state, caller=Held(), gave_up=why), why, at)
        case _:
            return state, ()


def _connected(state: State, waiting: InQueue, at: float) -> Step:
    """Caller and agent are one of the queue's calls from here on; nothing of it is ours."""
    timing = state.timing
    if waiting.answered is not None:
        timing = replace(timing, merge_ms=milliseconds(at - waiting.answered))
    if isinstance(state.context, Published | Acked):
        timing = replace(timing, context_lead_ms=milliseconds(at - state.context.at))
    state = replace(state, caller=Left(), timing=timing)
    return endings.finish(state, Outcome.CONNECTED, Phase.CONNECTED, at)
