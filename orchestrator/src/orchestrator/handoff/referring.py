"""The table's rows of REFER: a target outside is called by the caller's carrier, at our asking.

    Held ─(agent Elsewhere)─▶ Asking ─Referred SUCCESS─▶ Left            CONNECTED
                              Asking ─Referred, AriFailed─▶ Holding      the next way out
                              Asking ─REFER─▶ Queueing                   QUEUED

The dialplan does the asking (voicefork-refer of the shipped include), with music on the channel and
a time limit of its own: there, unlike in Stasis, a carrier that never answers holds up nothing
(ARI's /redirect blocks the channel until the final NOTIFY). It gives the caller back with what came
of it; if it does not, its own way on is the queue.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator.handoff.causes import outcome_of_referral
from orchestrator.handoff.effects import (
    ClearDeadline,
    ContinueInDialplan,
    Release,
    SetDeadline,
)
from orchestrator.handoff.endings import finish, release_bot, remains, to_queue
from orchestrator.handoff.events import CallerLeft, Deadline, QueueEntered, Referred
from orchestrator.handoff.state import State, dialplan_variables
from orchestrator.handoff.steps import Step, effect_id, hang_up, hold, milliseconds
from orchestrator.handoff.tracks import Asking, Bridge, Left, NoAgent
from orchestrator.handoff.ways import way_out
from orchestrator.model import DialplanEntry, Outcome, Phase, SipUri

ENTRY = DialplanEntry("voicefork-refer", "s")
GRACE = 3.0  # seconds after the dialplan's own limit
SUCCESS = "SUCCESS"


def ask(state: State, at: float) -> Step:
    """The caller hears music: off to the dialplan, which asks the carrier."""
    request, move = state.request, state.moves + 1
    target = state.target
    assert isinstance(target, SipUri)
    seconds = request.plan.limits.ring
    variables = {
        **dialplan_variables(request),
        "VOICEFORK_REFER_TO": target.uri,
        "VOICEFORK_REFER_SECONDS": f"{seconds:g}",
        "VOICEFORK_MUSIC": request.plan.music,
    }
    moved = replace(state, caller=Asking(move, at), agent=NoAgent(), moves=move)
    return moved, (
        ContinueInDialplan(
            effect_id(state, "move", move),
            move,
            request.caller,
            ENTRY,
            variables,
            request.plan.music,
        ),
        SetDeadline(Deadline.REFER, at + seconds + GRACE),
    )


def heard(state: State, event: QueueEntered | CallerLeft | Referred) -> Step:
    """While the dialplan asks: the caller is expected back, with an answer."""
    match state.caller, event:
        case Asking(_, since), Referred(at, status, _) if status == SUCCESS:
            return _connected(state, since, at)
        case Asking(), Referred(at, status, sip_status):
            state = replace(state, sip_status=sip_status)
            return failed(state, outcome_of_referral(status, sip_status), at)
        case _:  # our own `continue` took the channel
            return state, ()


def _connected(state: State, since: float, at: float) -> Step:
    """The carrier has brought the caller to the target: our leg of the call is over (RFC 5589)."""
    timing = replace(state.timing, ring_ms=milliseconds(at - since))
    moved, effects = finish(
        replace(state, caller=Left(), timing=timing, sip_status=200),
        Outcome.CONNECTED,
        Phase.CONNECTED,
        at,
    )
    return replace(moved, hold=Bridge.GONE, mix=Bridge.GONE), (
        *release_bot(state, Release.HUMAN_CONNECTED),
        hang_up(state, state.request.caller),
        *effects,
        *remains(state),
    )


def failed(state: State, outcome: Outcome, at: float) -> Step:
    """The caller is ours again, or never left: into the music, which a way out follows."""
    state, back = hold(replace(state, agent=NoAgent()))
    moved, effects = way_out(state, outcome, at)
    return moved, (ClearDeadline(Deadline.REFER), *back, *effects)


def overdue(state: State) -> Step:
    """The dialplan has not given the caller back. Its own way on is the queue: there they are, or
    are sent to, as they may not have got as far as the dialplan.
    """
    return to_queue(replace(state, outcome=Outcome.TIMED_OUT))
