"""Every state with every event: what is ignored is ignored on purpose, and written down."""

from __future__ import annotations

import pytest
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
from orchestrator.handoff.machine import begin, step
from orchestrator.handoff.state import State
from orchestrator.model import Fallback, Outcome, Pattern, Witness

from tests.builders.handoffs import Driven, agent, request, started

AT = 150.0


def _screening() -> Driven:
    return started(accept_key="1").held().feed(AgentAnswered(104.0, agent()))


def _queueing() -> Driven:
    return started().held().lost()


def _states() -> dict[str, State]:
    """One of each kind, by the way that leads there."""
    ahead = started(say_first="u7").feed(HoldReady(100.0), MixReady(100.0))
    unpublished = started().feed(HoldReady(100.0), CallerHeld(100.0, 1), MixReady(100.0))
    stranded = _queueing().feed(AriFailed(105.0, "h1:move:2", Outcome.PBX_ERROR))
    back = started(fallbacks=(Fallback.RETURN_TO_BOT,)).held().lost()
    return {
        "requested": begin(request(), 100.0),
        "phrase": started(say_first="u7").state,
        "phrase, dialling": ahead.state,
        "phrase, agent waits": ahead.joined().state,
        "phrase, then queue": started(say_first="u7", pattern=Pattern.DIALPLAN).state,
        "awaiting hold": started().state,
        "holding": started().feed(HoldReady(100.0)).state,
        "dialling": started().held().state,
        "ringing": started().held().feed(AgentRinging(102.0, agent())).state,
        "screening": _screening().state,
        "accepted": started().feed(HoldReady(100.0), AgentAnswered(100.0, agent())).state,
        "joining": started().held().feed(AgentAnswered(104.0, agent())).state,
        "context late": unpublished.joined().state,
        "merging": started().held().joined().state,
        "connected": started().connected().state,
        "returning": back.state,
        "queueing": _queueing().state,
        "stranded": stranded.state,
        "queued": _queueing().feed(QueueEntered(105.0, 2)).state,
        "hung up": started().held().feed(CallerLeft(103.0)).state,
        "settled": started().held().feed(CallerLeft(103.0), WitnessEnded(103.0)).state,
    }


STATES = _states()


def _events(state: State) -> dict[str, Event]:
    """Events as they fit that state: of its current move and of its current agent."""
    move, channel = state.moves, agent(max(1, state.attempts))
    failed = {
        f"failed {what}": AriFailed(AT, f"h1:{effect}", Outcome.PBX_ERROR)
        for what, effect in {
            "hold": "make-hold",
            "mix": "make-mix",
            "move": f"move:{move}",
            "dial": f"dial:{state.attempts}",
            "add": f"add:{state.attempts}",
            "prompt": f"prompt:{state.attempts}",
        }.items()
    }
    deadlines = {f"{which.value} over": DeadlinePassed(AT, which) for which in Deadline}
    first, final = Witness(first_hold_audio_ms=30), Witness(missing_ms=20, final=True)
    return {
        "request": Requested(AT),
        "phrase end": PhraseEnded(AT),
        "hold ready": HoldReady(AT),
        "mix ready": MixReady(AT),
        "held": CallerHeld(AT, move),
        "merged": CallerMerged(AT, move),
        "back": CallerReturned(AT, move),
        "queued": QueueEntered(AT, move),
        "overtaken held": CallerHeld(AT, move + 1),
        "overtaken merged": CallerMerged(AT, move + 1),
        "overtaken back": CallerReturned(AT, move + 1),
        "overtaken queued": QueueEntered(AT, move + 1),
        "hang-up": CallerLeft(AT),
        "out of stasis": CallerLeft(AT, hung_up=False),
        "rings": AgentRinging(AT, channel),
        "answers": AgentAnswered(AT, channel),
        "answers late": AgentAnswered(AT, agent(9)),
        "key": AgentKey(AT, channel, "1"),
        "wrong key": AgentKey(AT, channel, "2"),
        "accepts": AgentAccepted(AT),
        "agent gone": AgentLost(AT, channel, 486, 17),
        "old agent gone": AgentLost(AT, agent(9), 486, 17),
        "joined": AgentJoined(AT, channel),
        "patched": ContextPatched(AT, 2),
        "patched again": ContextPatched(AT, 1),
        "published": ContextPublished(AT, 1),
        "unpublished": ContextFailed(AT, 1),
        "acked": ContextAcked(AT),
        "first hold": WitnessReported(AT, 100.0, first),
        "final report": WitnessReported(AT, 100.0, final),
        "witness end": WitnessEnded(AT),
        "cancel": CancelRequested(AT),
        "supersede": Superseded(AT),
        **failed,
        **deadlines,
    }


# Never news, in no state: results of overtaken moves, old agents, keys nobody asked for.
NEVER = """overtaken held, overtaken merged, overtaken back, overtaken queued, old agent gone,
    wrong key, patched again, failed prompt"""

DELIBERATELY_IGNORED = {
    "requested": """
        phrase end, hold ready, mix ready, held, merged, back, queued, rings, key,
        accepts, agent gone, joined, published, unpublished, acked, cancel, supersede,
        failed hold, failed mix, failed move, failed dial, failed add, phrase over, ring
        over, accept over, context over, give-up over, retry over, witness over
    """,
    "phrase": """
        request, mix ready, held, merged, back, queued, rings, key, accepts, agent gone,
        joined, acked, failed move, failed dial, failed add, ring over, accept over,
        retry over, witness over
    """,
    "phrase, dialling": """
        request, hold ready, mix ready, held, merged, back, queued, key, accepts,
        joined, acked, failed move, failed add, accept over, retry over, witness over
    """,
    "phrase, agent waits": """
        request, hold ready, mix ready, held, merged, back, queued, rings, answers, key,
        accepts, joined, acked, cancel, supersede, failed move, failed dial, failed add,
        ring over, accept over, give-up over, retry over, witness over
    """,
    "phrase, then queue": """
        request, hold ready, mix ready, held, merged, back, queued, rings, key, accepts,
        agent gone, joined, acked, failed move, failed dial, failed add, ring over,
        accept over, retry over, witness over
    """,
    "awaiting hold": """
        request, phrase end, mix ready, held, merged, back, queued, rings, key, accepts,
        agent gone, joined, acked, failed move, failed dial, failed add, phrase over,
        ring over, accept over, retry over, witness over
    """,
    "holding": """
        request, phrase end, hold ready, merged, back, queued, key, accepts, joined,
        acked, failed add, phrase over, accept over, retry over, witness over
    """,
    "dialling": """
        request, phrase end, hold ready, mix ready, held, merged, back, queued, key,
        accepts, joined, published, unpublished, failed move, failed add, phrase over,
        accept over, context over, retry over, witness over
    """,
    "ringing": """
        request, phrase end, hold ready, mix ready, held, merged, back, queued, rings,
        key, accepts, joined, published, unpublished, failed move, failed add, phrase
        over, accept over, context over, retry over, witness over
    """,
    "screening": """
        request, phrase end, hold ready, mix ready, held, merged, back, queued, rings,
        answers, joined, published, unpublished, failed move, failed dial, failed add,
        phrase over, ring over, context over, retry over, witness over
    """,
    "accepted": """
        request, phrase end, hold ready, merged, back, queued, rings, answers, key,
        accepts, joined, acked, cancel, supersede, failed dial, failed add, phrase over,
        ring over, accept over, give-up over, retry over, witness over
    """,
    "joining": """
        request, phrase end, hold ready, mix ready, held, merged, back, queued, rings,
        answers, key, accepts, published, unpublished, cancel, supersede, failed move,
        failed dial, phrase over, ring over, accept over, context over, give-up over,
        retry over, witness over
    """,
    "context late": """
        request, phrase end, hold ready, mix ready, held, merged, back, queued, rings,
        answers, key, accepts, joined, acked, cancel, supersede, failed move, failed
        dial, failed add, phrase over, ring over, accept over, give-up over, retry over,
        witness over
    """,
    "merging": """
        request, phrase end, hold ready, mix ready, held, back, queued, rings, answers,
        key, accepts, joined, published, unpublished, cancel, supersede, failed hold,
        failed mix, failed dial, failed add, phrase over, ring over, accept over,
        context over, give-up over, retry over, witness over
    """,
    "connected": """
        request, phrase end, hold ready, mix ready, held, merged, back, queued, rings,
        answers, key, accepts, joined, patched, published, unpublished, acked, cancel,
        supersede, failed hold, failed mix, failed move, failed dial, failed add, phrase
        over, ring over, accept over, context over, give-up over, retry over
    """,
    "returning": """
        request, phrase end, hold ready, mix ready, held, merged, queued, rings, key,
        accepts, agent gone, joined, published, unpublished, cancel, supersede, failed
        hold, failed mix, failed dial, failed add, phrase over, ring over, accept over,
        context over, give-up over, retry over, witness over
    """,
    "queueing": """
        request, phrase end, hold ready, mix ready, held, merged, back, out of stasis,
        rings, key, accepts, agent gone, joined, published, unpublished, cancel,
        supersede, failed hold, failed mix, failed dial, failed add, phrase over, ring
        over, accept over, context over, give-up over, retry over, witness over
    """,
    "stranded": """
        request, phrase end, hold ready, mix ready, held, merged, back, queued, rings,
        key, accepts, agent gone, joined, published, unpublished, cancel, supersede,
        failed hold, failed mix, failed move, failed dial, failed add, phrase over, ring
        over, accept over, context over, give-up over, witness over
    """,
    "queued": """
        request, phrase end, hold ready, mix ready, held, merged, back, queued, hang-up,
        out of stasis, rings, key, accepts, agent gone, joined, patched, published,
        unpublished, acked, cancel, supersede, failed hold, failed mix, failed move,
        failed dial, failed add, phrase over, ring over, accept over, context over,
        give-up over, retry over
    """,
    "hung up": """
        request, phrase end, hold ready, mix ready, held, merged, back, queued, hang-up,
        out of stasis, rings, key, accepts, agent gone, joined, patched, published,
        unpublished, acked, cancel, supersede, failed hold, failed mix, failed move,
        failed dial, failed add, phrase over, ring over, accept over, context over,
        give-up over, retry over, witness over
    """,
    "settled": """
        request, phrase end, hold ready, mix ready, held, merged, back, queued, hang-up,
        out of stasis, rings, key, accepts, agent gone, joined, patched, published,
        unpublished, acked, witness end, first hold, final report, cancel, supersede,
        failed hold, failed mix,
        failed move, failed dial, failed add, phrase over, ring over, accept over,
        context over, give-up over, retry over, witness over
    """,
}


@pytest.mark.parametrize("name", STATES)
def test_what_is_ignored_is_ignored_on_purpose(name: str) -> None:
    state = STATES[name]
    ignored = {news for news, event in _events(state).items() if step(state, event) == (state, ())}
    assert ignored == _names(NEVER) | _names(DELIBERATELY_IGNORED[name])


def _names(text: str) -> set[str]:
    return {" ".join(name.split()) for name in text.split(",")}
