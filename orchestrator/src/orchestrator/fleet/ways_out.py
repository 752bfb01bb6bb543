"""How a call leaves its bot: to the queue, with a goodbye, or because it is over."""

from __future__ import annotations

from orchestrator.config import Waiting
from orchestrator.fleet import effects as do
from orchestrator.fleet.call import ForkHalf
from orchestrator.fleet.effects import Effect, Farewell, Outcome
from orchestrator.fleet.states import (
    Adrift,
    Answering,
    Closed,
    Connecting,
    EntryPolicy,
    Expecting,
    Leaving,
    Parting,
    Seeking,
    State,
)

QUEUE_RETRY_SECONDS = 0.5
QUEUE_ATTEMPTS = 5

Step = tuple[State, tuple[Effect, ...]]


def part(state: State, after: float | None, now: float) -> Step:
    fork = fork_of(state)
    if fork is None or not after:
        return close(state, Outcome.BOT_HUNG_UP, "bot hung up")
    return Parting(fork, now + after), ()


def leave_if(ours: bool, state: State, why: str, policy: EntryPolicy, now: float) -> Step:
    return leave(state, why, policy, now) if ours else (state, ())


def leave(state: State, why: str, policy: EntryPolicy, now: float) -> Step:
    """To the queue. Music first, and where it plays already, on it plays."""
    match state:
        case Seeking(False) | Connecting(False) | Expecting(False) | Answering():
            # Answering ends music and ringing, and early media may not reach the caller for long.
            music: tuple[Effect, ...] = (do.AnswerCaller(), do.StartMusic())
        case Seeking() | Connecting() | Expecting() if policy.waiting is Waiting.RINGING:
            music = (do.StopRinging(answered=True), do.StartMusic())
        case Seeking() | Connecting() | Expecting() | Adrift():
            music = ()
        case _:
            music = (do.StartMusic(),)
    leaving = Leaving(why, 1, now + 10 * QUEUE_RETRY_SECONDS)
    return leaving, (*music, do.GoToQueue(), *_clean_up(state, Farewell.LEFT_BOT))


def close(state: State, outcome: Outcome, why: str) -> Step:
    """Nothing of ours stays up. From Leaving, the bot's side was cleaned up before."""
    hanging_up: tuple[Effect, ...] = ()
    if outcome is Outcome.BOT_HUNG_UP:
        hanging_up = (do.HangUpCaller(),)
    if isinstance(state, Leaving):
        return Closed(outcome, why), ()
    left = outcome is Outcome.LEFT
    unanswered = isinstance(state, Answering) or (
        isinstance(state, Seeking | Connecting | Expecting) and not state.answered
    )
    farewell = Farewell.NOT_ANSWERED if unanswered else Farewell.CALL_ENDED
    cleaning = _clean_up(state, Farewell.LEFT_BOT if left else farewell)
    return Closed(outcome, why), (*hanging_up, *cleaning)


def _clean_up(state: State, farewell: Farewell) -> tuple[Effect, ...]:
    fork = fork_of(state)
    detaching = (do.Detach(fork, farewell),) if fork else ()
    return (*detaching, do.CloseTalkback(), do.CloseBridge(), do.LeaveRendezvous())


def fork_of(state: State) -> ForkHalf | None:
    match state:
        case Seeking() | Leaving() | Closed():
            return None
        case _:
            return state.fork
