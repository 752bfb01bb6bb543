"""The caller and the agent are together: the proof that both are heard, before it is called so.

Both legs of the fork must have brought packets since the caller's source changed to the agent;
packets, not sound: a silent human is no fault. Where nobody watches, the bridge is trusted.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator.handoff.effects import ClearDeadline, SetDeadline
from orchestrator.handoff.endings import connected
from orchestrator.handoff.events import Deadline
from orchestrator.handoff.state import State
from orchestrator.handoff.steps import Step, milliseconds
from orchestrator.handoff.tracks import Acked, Merged, Merging, Published, Talking, Watch
from orchestrator.handoff.ways import way_out
from orchestrator.model import Outcome

SKEW = 0.05  # seconds by which the witness's clock may seem to be early


def merged(state: State, merging: Merging, agent: Talking, at: float) -> Step:
    """The caller is in the merge bridge, which is when the merge ends for the timing."""
    timing = replace(state.timing, merge_ms=milliseconds(at - agent.since))
    if isinstance(state.context, Published | Acked):
        timing = replace(timing, context_lead_ms=milliseconds(at - state.context.at))
    state = replace(state, caller=Merged(merging.since, at), timing=timing)
    limit = state.request.plan.limits.live
    return (
        (state, (SetDeadline(Deadline.LIVE, at + limit),)) if limit else connected(state, agent, at)
    )


def proven(state: State, at: float) -> Step:
    """Connected as soon as both were heard since the caller was on the way to the agent."""
    match state.caller, state.agent:
        case Merged(since), Talking() as agent if state.watch is not Watch.WATCHING or (
            state.live_at is not None and state.live_at + SKEW >= since
        ):
            moved, effects = connected(state, agent, at)
            return moved, (ClearDeadline(Deadline.LIVE), *effects)
        case _:
            return state, ()


def unproven(state: State, agent: Talking, at: float) -> Step:
    """Time is up: the agent is dropped where one is not heard; without a witness all is well."""
    if state.one_way:
        return way_out(state, Outcome.ONE_WAY_AUDIO, at)
    return connected(state, agent, at)
