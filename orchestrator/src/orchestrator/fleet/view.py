"""A call as others see it."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.fleet.call import ForkHalf, Tenant
from orchestrator.fleet.runner import CallRunner
from orchestrator.fleet.states import (
    Answering,
    Closed,
    Connecting,
    Expecting,
    Leaving,
    Parting,
    Seeking,
)
from orchestrator.model import CallId


@dataclass(frozen=True, slots=True)
class CallView:
    """A call as an operator and the handoff may see it. No phone numbers."""

    call_id: CallId
    tenant: Tenant
    channel_id: str
    state: str
    worker_id: str
    answered: bool
    codec: str
    fork: ForkHalf | None
    node: str
    lendable: bool  # a handoff may have the caller: answered, and not on the way out


def view_of(runner: CallRunner) -> CallView:
    """As it is now."""
    state, call = runner.state, runner.call
    fork: ForkHalf | None = None
    answered = call.answered
    match state:
        case Seeking(answered):
            pass
        case Connecting(answered, fork) | Expecting(answered, fork):
            pass
        case None | Closed() | Answering():
            pass
        case Leaving():
            answered = True
        case _:
            answered, fork = True, state.fork
    return CallView(
        call_id=call.call_id,
        tenant=call.tenant,
        channel_id=call.channel_id,
        state=type(state).__name__.lower() if state else "new",
        worker_id=fork.worker_id if fork else "",
        answered=answered,
        codec=call.codec,
        fork=fork,
        node=call.node,
        lendable=answered and not isinstance(state, Leaving | Parting | Closed | None),
    )
