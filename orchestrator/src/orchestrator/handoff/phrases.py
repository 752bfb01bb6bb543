"""The rules' phrase: what a caller on hold is told first, where the AI itself says nothing.

Hold does not wait for it, the merge and the ways into the dialplan do, until Deadline.PHRASE. Text
is spoken over the music; media of the PBX is played, and the music waits meanwhile.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator.handoff import names
from orchestrator.handoff.effects import (
    Announce,
    ClearDeadline,
    Effect,
    HushPhrase,
    SayPhrase,
    SetDeadline,
    StopPlaying,
)
from orchestrator.handoff.events import Deadline
from orchestrator.handoff.state import Request, State
from orchestrator.handoff.steps import Step, effect_id
from orchestrator.handoff.tracks import BeingTold, Held
from orchestrator.model import Outcome

MEDIA = "sound:"


def is_due(state: State) -> bool:
    """Whether a caller who is in the music now is to be told."""
    return isinstance(state.caller, Held) and bool(state.request.phrase) and not state.told


def tell(state: State, at: float) -> Step:
    """The caller hears music: tells the phrase, after which nobody or somebody is waited for."""
    request = state.request
    leave = Outcome.QUEUED if request.straight else None
    limit = SetDeadline(Deadline.PHRASE, at + request.plan.limits.phrase)
    moved = replace(state, caller=BeingTold(leave), told=True)
    return moved, (_say(request, say_id(state)), limit)


def _say(request: Request, effect: str) -> Effect:
    if request.phrase.startswith(MEDIA):
        playback = names.phrase(request.handoff_id)
        return Announce(effect, request.caller, playback, request.phrase)
    return SayPhrase(effect, request.caller, request.phrase)


def say_id(state: State) -> str:
    """The effect's id."""
    return effect_id(state, "phrase")


def hush_caller(state: State) -> tuple[Effect, ...]:
    """Ends the phrase, if it is being told: a channel that plays is moved only after it."""
    request = state.request
    if not isinstance(state.caller, BeingTold):
        return ()
    effect = effect_id(state, "hush-phrase")
    if request.phrase.startswith(MEDIA):
        quiet: Effect = StopPlaying(effect, names.phrase(request.handoff_id))
    else:
        quiet = HushPhrase(effect)
    return ClearDeadline(Deadline.PHRASE), quiet
