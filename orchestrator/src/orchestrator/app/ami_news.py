"""What an AMI node tells of one of our callers, passed on to the handoff that has them."""

from __future__ import annotations

from orchestrator.app.ami_listing import Listed, QueueEnd
from orchestrator.ari.ami_wire import AmiMessage
from orchestrator.handoff.causes import cause_of_dial
from orchestrator.handoff.names import agent_of
from orchestrator.handoff.registry import Registry
from orchestrator.model import CallId, ChannelId


def told(handoffs: Registry, call: CallId, event: AmiMessage) -> None:
    """One of AgentCalled, AgentConnect, BridgeEnter, DialState."""
    match event.event:
        case "AgentCalled":
            handoffs.queue_called(call, event.get("Queue"))
        case "AgentConnect":
            handoffs.queue_answered(call)
        case "BridgeEnter":
            merged(handoffs, call)
        case "DialState" if event.get("DialStatus") == "RINGING":
            if (agent := handoffs.agent_of_call(call)) is not None:  # queues say it themselves
                handoffs.agent_ringing(agent)


def merged(handoffs: Registry, call: CallId) -> None:
    """In a bridge with whom a handoff has called, or else with whom the queue has found."""
    agent = handoffs.agent_of_call(call)
    if agent is None:
        handoffs.queue_merged(call)
    else:
        handoffs.agent_answered(agent)


def given_up(handoffs: Registry, call: CallId, end: QueueEnd) -> bool:
    """By a queue, the menu, or Dial(), whose place has the name of whom it called.

    False: no handoff has the caller. One that has, and waits for no end, has known of it.
    """
    called = handoffs.agent_of_call(call)
    agent = ChannelId(end.queue) if end.queue else called
    if agent is None or agent_of(agent) is None:
        return handoffs.queue_gave_up(call, end.status) or bool(handoffs.in_progress(call))
    if called == agent:  # else it was given up before
        cause = cause_of_dial(end.status, end.cause)
        handoffs.agent_lost(agent, q850_cause=cause)
    return True


def catch_up(handoffs: Registry, call: CallId, caller: Listed) -> None:
    """Takes what was told while nobody heard: where the caller is now says it, too."""
    if caller.is_merged:
        merged(handoffs, call)
    elif (end := caller.ended) is not None and (end.queue or not handoffs.owes_dial(call)):
        given_up(handoffs, call, end)
