"""What the caller hears until the bot speaks: music or ringing, as the owner wants it."""

from __future__ import annotations

from orchestrator.config import Waiting
from orchestrator.fleet import effects as do
from orchestrator.fleet.effects import Effect, Party
from orchestrator.fleet.states import EntryPolicy


def wait_audibly(policy: EntryPolicy) -> Effect:
    """After the answer, which has ended music and ringing."""
    if policy.waiting is Waiting.MUSIC:
        return do.StartMusic()
    return do.StartRinging(answered=True)


def party_waiting(policy: EntryPolicy) -> Party:
    return Party.MUSIC if policy.waiting is Waiting.MUSIC else Party.RINGING


def stop_waiting(policy: EntryPolicy, *, answered: bool) -> tuple[Effect, ...]:
    if policy.waiting is Waiting.MUSIC:
        return (do.StopMusic(),)
    return (do.StopRinging(answered),)
