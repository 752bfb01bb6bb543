"""The table's rows of the context: the story on the agent's screen."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.handoff.effects import PublishContext
from orchestrator.handoff.events import (
    ContextAcked,
    ContextFailed,
    ContextPatched,
    ContextPublished,
)
from orchestrator.handoff.state import State
from orchestrator.handoff.steps import Step, effect_id
from orchestrator.handoff.tracks import Acked, Published, Publishing, Unavailable
from orchestrator.model import Phase


def told(
    state: State, event: ContextPatched | ContextPublished | ContextFailed | ContextAcked
) -> Step:
    """A new revision is published at once; the first one is a milestone."""
    match state.context, event:
        case _, ContextPatched(_, revision) if revision > state.context_revision:
            publish = PublishContext(effect_id(state, "context", revision), revision)
            return replace(state, context_revision=revision), (publish,)
        case ((Publishing() | Unavailable()), ContextPublished(at)):
            return replace(state, context=Published(at), phase=_reached(state)), ()
        case Publishing(), ContextFailed():
            return replace(state, context=Unavailable()), ()
        case Published(published), ContextAcked():
            return replace(state, context=Acked(published), phase=Phase.CONTEXT_ACKED), ()
        case _:
            return state, ()


def _reached(state: State) -> Phase:
    """CONTEXT_PUBLISHED is a milestone, unless a way out is being taken."""
    return state.phase if state.phase is Phase.FALLBACK else Phase.CONTEXT_PUBLISHED
