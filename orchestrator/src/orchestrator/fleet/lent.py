"""While a handoff has the caller: what happens meanwhile to the bot counts when it gives back."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.fleet import effects as do
from orchestrator.fleet import events as on
from orchestrator.fleet.effects import Party
from orchestrator.fleet.states import (
    Adrift,
    Connecting,
    EntryPolicy,
    Expecting,
    Lent,
    Seeking,
    Talking,
)
from orchestrator.fleet.waiting import party_waiting, stop_waiting, wait_audibly
from orchestrator.fleet.ways_out import Step, leave

WORKER_LOST = "worker lost"


def lend(state: Seeking | Connecting | Expecting | Talking | Adrift) -> Lent:
    """An answered caller may be handed over before the bot's first words, too."""
    match state:
        case Seeking():
            return Lent(None, waiting=True)
        case Adrift():
            return Lent(None)
        case Talking(fork):
            return Lent(fork)
        case _:
            return Lent(state.fork, waiting=True)


def lent(state: Lent, event: on.Event, policy: EntryPolicy, now: float) -> Step:
    """Nothing here touches the caller's channel, but to end the music before the bot's phrase."""
    ours = state.fork.worker_id if state.fork else ""
    match event:
        case on.HandoffReturned():
            return _returned(state, policy, now)
        case on.BotSpoke() if state.waiting:
            return replace(state, waiting=False), stop_waiting(policy, answered=True)
        case on.ForkArrived(fork) if fork != state.fork:
            return Lent(fork, state.waiting), (do.OpenTalkback(fork),)
        case on.TalkbackReady(worker, address) if state.fork and worker == ours:
            return state, (do.Attach(state.fork, address, answered=True),)
        case on.ForkEnded(worker) if worker == ours:
            return Lent(None, state.waiting), ()
        case on.BotFailed(why):
            return replace(state, lost=f"bot failed: {why}"), ()
        case on.TalkbackLost():
            return replace(state, lost="talk-back lost"), ()
        case on.TalkbackFailed(worker, why) | on.AttachFailed(worker, why) if worker == ours:
            return replace(state, lost=why), ()
        case on.WorkerLost(worker) if worker == ours:
            return replace(state, lost=state.lost or WORKER_LOST), ()
        case on.WorkerBack(worker) if worker == ours and state.lost == WORKER_LOST:
            return replace(state, lost=""), ()
        case _:
            return state, ()


def _returned(state: Lent, policy: EntryPolicy, now: float) -> Step:
    if state.fork is None or state.lost:
        why = state.lost or "the fork was lost"
        return leave(state, f"{why} during the handoff", policy, now)
    if state.waiting:  # the bot still owes its first words
        hearing = (wait_audibly(policy), do.TellParty(state.fork, party_waiting(policy)))
        return Expecting(True, state.fork, now + policy.bot_speaks_seconds), hearing
    return Talking(state.fork), (do.TellParty(state.fork, Party.BOT),)
