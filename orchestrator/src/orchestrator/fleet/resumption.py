"""How a call goes on that another replica has left: from what it wrote, and what the PBX has. Pure.

What may have been done already is done again, under the same ids; the caller hears music or ringing
wherever the bot's voice has to be made anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from orchestrator.fleet import effects as do
from orchestrator.fleet import events as on
from orchestrator.fleet.call import ForkHalf
from orchestrator.fleet.lent import lent
from orchestrator.fleet.states import (
    Adrift,
    Answering,
    Closed,
    Connecting,
    EntryPolicy,
    Expecting,
    Leaving,
    Lent,
    Parting,
    Seeking,
    State,
    Talking,
)
from orchestrator.fleet.waiting import wait_audibly
from orchestrator.fleet.ways_out import QUEUE_RETRY_SECONDS, Step

GOODBYE_SECONDS = 3.0
ADOPTED = "the orchestrator was lost"


@dataclass(frozen=True, slots=True)
class Found:
    """What the PBX has of the call."""

    answered: bool
    bridged: bool  # the caller, in whatever bridge
    voiced: bool  # the bot's leg is in the call's bridge
    lent: bool  # a handoff has the caller


def resume(state: State, found: Found, policy: EntryPolicy, now: float) -> Step:
    """Where the call is from now on, and what must be done first."""
    match state:
        case Closed():
            return state, ()
        case Leaving(why):
            leaving = Leaving(why, 1, now + 10 * QUEUE_RETRY_SECONDS)
            return leaving, (do.StartMusic(), do.GoToQueue())
        case Parting(fork):
            return Parting(fork, now + GOODBYE_SECONDS), ()
        case _ if found.lent:
            return _lent(state, found), ()
        case Lent():
            # The handoff has ended; what it told the call last was lost. Nobody may wait for it.
            return _after_handoff(state, found, policy, now)
        case Seeking():
            seeking = Seeking(found.answered, now + policy.rendezvous_seconds)
            return seeking, (do.SeekFork(), *_waiting(found, policy))
        case Talking(fork):
            if found.voiced and found.bridged:
                return state, ()
            return _revoice(fork, found, policy, now)
        case Adrift(fork):
            return _revoice(fork, found, policy, now)
        case Expecting(answered, fork) if found.voiced and found.bridged:
            return Expecting(answered, fork, now + policy.bot_speaks_seconds), ()
        case Connecting() | Expecting() | Answering():
            connecting = Connecting(
                found.answered,
                state.fork,
                now + policy.bot_speaks_seconds,
                spoke=not isinstance(state, Expecting) and state.spoke,
                ready=isinstance(state, Answering)
                or (isinstance(state, Connecting) and state.ready),
            )
            return connecting, (*_waiting(found, policy), do.OpenTalkback(state.fork))


def _lent(state: State, found: Found) -> Lent:
    """The handoff goes on; whether the bot can come back is known now."""
    match state:
        case Lent():
            kept = state
        case Talking(fork):
            kept = Lent(fork)
        case Connecting() | Expecting():
            kept = Lent(state.fork, waiting=True)
        case _:
            kept = Lent(None)
    if kept.fork is not None and not found.voiced:
        return replace(kept, lost=kept.lost or ADOPTED)
    return kept


def _after_handoff(state: Lent, found: Found, policy: EntryPolicy, now: float) -> Step:
    if not found.voiced:
        state = replace(state, lost=state.lost or ADOPTED)
    return lent(state, on.HandoffReturned(), policy, now)


def _revoice(fork: ForkHalf, found: Found, policy: EntryPolicy, now: float) -> Step:
    """Music until the bot has a voice again."""
    bridging = () if found.bridged else (do.OpenBridge(),)
    adrift = Adrift(fork, ADOPTED, now + policy.adoption_seconds, may_return=False)
    return adrift, (do.StartMusic(), *bridging, do.OpenTalkback(fork))


def _waiting(found: Found, policy: EntryPolicy) -> tuple[do.Effect, ...]:
    music = wait_audibly(policy) if found.answered else do.StartMusic()
    if found.bridged:
        return (music,)
    # A tone needs the bridge first, music does not (fleet.entry.start).
    return (music, do.OpenBridge()) if music == do.StartMusic() else (do.OpenBridge(), music)
