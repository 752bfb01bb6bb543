"""Every state with every event: what is heard is written down, everything else is ignored."""

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
    QueueEntered,
    Requested,
    Superseded,
    WitnessEnded,
    WitnessReported,
)
from orchestrator.handoff.machine import begin, step
from orchestrator.handoff.state import State
from orchestrator.model import (
    DialplanEntry,
    Endpoint,
    Fallback,
    Menu,
    Outcome,
    Pattern,
    Witness,
)

from tests.builders.handoffs import Driven, agent, both_heard, request, started

AT = 150.0


def _screening() -> Driven:
    return started(accept_key="1").held().feed(AgentAnswered(104.0, agent()))


def _queueing() -> Driven:
    return started().held().lost()


MENU = Menu("sound:menu", {"1": Fallback.NEXT_TARGET, "2": Fallback.VOICEMAIL})
VOICEMAIL = DialplanEntry("voicemail", "s")


def _in_menu() -> Driven:
    return started(menu=MENU, fallbacks=(Fallback.HOLDING_MENU,), voicemail=VOICEMAIL).held().lost()


def _briefing() -> Driven:
    whisper = started(pattern=Pattern.WARM_WHISPER, accept_key="1").held()
    return whisper.feed(AgentAnswered(104.0, agent()))


def _merged() -> Driven:
    driven = started().held().joined()
    return driven.feed(CallerMerged(104.1, driven.state.moves))


def _at_backup() -> Driven:
    return started(fallbacks=(Fallback.BACKUP_CENTRE,), backup=Endpoint("PJSIP/b")).held().lost()


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
        "told": started(phrase="sound:moment").held().state,
        "told, agent waits": started(phrase="One moment.").held().joined().state,
        "told, then queue": started(phrase="One moment.", pattern=Pattern.DIALPLAN).held().state,
        "awaiting hold": started().state,
        "holding": started().feed(HoldReady(100.0)).state,
        "dialling": started().held().state,
        "ringing": started().held().feed(AgentRinging(102.0, agent())).state,
        "screening": _screening().state,
        "accepted": started().feed(HoldReady(100.0), AgentAnswered(100.0, agent())).state,
        "joining": started().held().feed(AgentAnswered(104.0, agent())).state,
        "context late": unpublished.joined().state,
        "briefing": _briefing().state,
        "menu": _in_menu().state,
        "menu before the music": started(
            menu=MENU, fallbacks=(Fallback.HOLDING_MENU,), voicemail=VOICEMAIL
        )
        .feed(HoldReady(100.0))
        .lost()
        .state,
        "backup centre": _at_backup().state,
        "to voicemail": started(fallbacks=(Fallback.VOICEMAIL,), voicemail=VOICEMAIL)
        .held()
        .lost()
        .state,
        "back from the queue": started(came_back=Outcome.QUEUE_CLOSED).state,
        "merged": _merged().state,
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
            "phrase": "phrase",
        }.items()
    }
    deadlines = {f"{which.value} over": DeadlinePassed(AT, which) for which in Deadline}
    one_way = Witness(one_way=True)
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
        "briefing begins": BriefingStarted(AT, channel),
        "briefing ends": BriefingEnded(AT, channel),
        "old briefing ends": BriefingEnded(AT, agent(9)),
        "caller's key": CallerKey(AT, "2"),
        "caller's other key": CallerKey(AT, "9"),
        "bot lost": BotLost(AT),
        "both heard": both_heard(AT),
        "one way": WitnessReported(AT, 100.0, one_way),
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


HEARD = {
    "requested": """
        request, hang-up, out of stasis, answers, answers late, bot lost, both heard, one
        way, patched, first hold, final report, witness end
    """,
    "phrase": """
        phrase end, hold ready, hang-up, out of stasis, answers, answers late, bot lost,
        both heard, one way, patched, published, unpublished, first hold, final report,
        witness end, cancel, supersede, failed hold, failed mix, phrase over, context
        over, give-up over
    """,
    "phrase, dialling": """
        phrase end, hang-up, out of stasis, rings, answers, answers late, bot lost, both
        heard, one way, agent gone, patched, published, unpublished, first hold, final
        report, witness end, cancel, supersede, failed hold, failed mix, failed dial,
        phrase over, ring over, context over, give-up over
    """,
    "phrase, agent waits": """
        phrase end, hang-up, out of stasis, answers late, bot lost, both heard, one way,
        agent gone, patched, published, unpublished, first hold, final report, witness
        end, failed hold, failed mix, phrase over, context over, give-up over
    """,
    "phrase, then queue": """
        phrase end, hang-up, out of stasis, answers, answers late, bot lost, both heard,
        one way, patched, published, unpublished, first hold, final report, witness end,
        cancel, supersede, failed hold, failed mix, phrase over, context over
    """,
    "told": """
        phrase end, hang-up, out of stasis, rings, answers, answers late, bot lost, both
        heard, one way, agent gone, patched, acked, first hold, final report, witness end,
        cancel, supersede, failed hold, failed mix, failed dial, failed phrase, phrase over,
        ring over, give-up over
    """,
    "told, agent waits": """
        phrase end, hang-up, out of stasis, answers late, bot lost, both heard, one way,
        agent gone, patched, acked, first hold, final report, witness end, failed hold,
        failed mix, failed phrase, phrase over, give-up over
    """,
    "told, then queue": """
        phrase end, hang-up, out of stasis, answers, answers late, bot lost, both heard,
        one way, patched, acked, first hold, final report, witness end, cancel, supersede,
        failed hold, failed mix, failed phrase, phrase over
    """,
    "awaiting hold": """
        hold ready, hang-up, out of stasis, answers, answers late, bot lost, both heard,
        one way, patched, published, unpublished, first hold, final report, witness end,
        cancel, supersede, failed hold, failed mix, context over, give-up over
    """,
    "holding": """
        mix ready, held, hang-up, out of stasis, rings, answers, answers late, bot lost,
        both heard, one way, agent gone, patched, published, unpublished, first hold,
        final report, witness end, cancel, supersede, failed hold, failed mix, failed
        move, failed dial, ring over, context over, give-up over
    """,
    "dialling": """
        hang-up, out of stasis, rings, answers, answers late, bot lost, both heard, one
        way, agent gone, patched, acked, first hold, final report, witness end, cancel,
        supersede, failed hold, failed mix, failed dial, ring over, give-up over
    """,
    "ringing": """
        hang-up, out of stasis, answers, answers late, bot lost, both heard, one way,
        agent gone, patched, acked, first hold, final report, witness end, cancel,
        supersede, failed hold, failed mix, failed dial, ring over, give-up over
    """,
    "screening": """
        hang-up, out of stasis, answers late, key, bot lost, both heard, one way, accepts,
        agent gone, patched, acked, first hold, final report, witness end, cancel,
        supersede, failed hold, failed mix, accept over, give-up over
    """,
    "accepted": """
        mix ready, held, hang-up, out of stasis, answers late, bot lost, both heard, one
        way, agent gone, patched, published, unpublished, first hold, final report,
        witness end, failed hold, failed mix, failed move, context over, give-up over
    """,
    "joining": """
        hang-up, out of stasis, answers late, bot lost, both heard, one way, agent gone,
        joined, patched, acked, first hold, final report, witness end, failed hold, failed
        mix, failed add, give-up over
    """,
    "context late": """
        hang-up, out of stasis, answers late, bot lost, both heard, one way, agent gone,
        patched, published, unpublished, first hold, final report, witness end, failed
        hold, failed mix, context over, give-up over
    """,
    "briefing": """
        hang-up, out of stasis, answers late, key, briefing begins, briefing ends, bot
        lost, both heard, one way, accepts, agent gone, patched, acked, first hold, final
        report, witness end, cancel, supersede, failed hold, failed mix, briefing over,
        give-up over
    """,
    "menu": """
        hang-up, out of stasis, answers, answers late, caller's key, bot lost, both heard,
        one way, patched, acked, first hold, final report, witness end, cancel, supersede,
        failed hold, failed mix, announce over, menu over, give-up over
    """,
    "menu before the music": """
        mix ready, held, hang-up, out of stasis, answers, answers late, caller's key, bot
        lost, both heard, one way, patched, published, unpublished, first hold, final
        report, witness end, cancel, supersede, failed hold, failed mix, failed move,
        context over, menu over, give-up over
    """,
    "backup centre": """
        hang-up, out of stasis, rings, answers, answers late, bot lost, both heard, one
        way, agent gone, patched, acked, first hold, final report, witness end, cancel,
        supersede, failed hold, failed mix, failed dial, ring over, give-up over
    """,
    "to voicemail": """
        queued, hang-up, answers, answers late, bot lost, both heard, one way, patched,
        acked, first hold, final report, witness end, failed move
    """,
    "back from the queue": """
        hold ready, hang-up, out of stasis, answers, answers late, bot lost, both heard,
        one way, patched, published, unpublished, first hold, final report, witness end,
        supersede, failed hold, failed mix, context over, give-up over
    """,
    "merged": """
        hang-up, out of stasis, answers late, bot lost, both heard, one way, agent gone,
        patched, acked, final report, witness end, live over, give-up over
    """,
    "merging": """
        merged, hang-up, out of stasis, answers late, bot lost, both heard, one way,
        agent gone, patched, acked, final report, witness end, failed move, give-up over
    """,
    "connected": """
        hang-up, out of stasis, answers late, both heard, one way, agent gone,
        final report, witness end, witness over
    """,
    "returning": """
        back, hang-up, out of stasis, answers, answers late, bot lost, both heard, one
        way, patched, acked, first hold, final report, witness end, failed move
    """,
    "queueing": """
        queued, hang-up, answers, answers late, bot lost, both heard, one way, patched,
        acked, first hold, final report, witness end, failed move
    """,
    "stranded": """
        hang-up, out of stasis, answers, answers late, bot lost, both heard, one way,
        patched, acked, first hold, final report, witness end, retry over
    """,
    "queued": """
        answers, answers late, both heard, one way, first hold, final report, witness end,
        witness over
    """,
    "hung up": """
        answers, answers late, both heard, one way, first hold, final report, witness end
    """,
    "settled": """
        answers, answers late
    """,
}


@pytest.mark.parametrize("name", STATES)
def test_exactly_what_is_written_down_is_heard(name: str) -> None:
    state = STATES[name]
    heard = {news for news, event in _events(state).items() if step(state, event) != (state, ())}
    assert heard == _names(HEARD[name])


def _names(text: str) -> set[str]:
    return {" ".join(name.split()) for name in text.split(",")}
