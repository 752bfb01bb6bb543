"""What is done for the people of a handoff whose runner crashed: the queue, and no stray agent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from orchestrator.errors import PeerError
from orchestrator.handoff import names
from orchestrator.handoff.ports import Telephony
from orchestrator.handoff.state import State, dialplan_variables
from orchestrator.handoff.steps import agent_channel, attempt_of
from orchestrator.handoff.tracks import Bridged, InQueue, Left
from orchestrator.model import HandoffId

log = logging.getLogger(__name__)

RESCUE_SECONDS = 5.0


async def rescue(state: State, telephony: Telephony) -> None:
    """Leaves a conversation alone; otherwise sends the caller to the queue. Never raises."""
    if isinstance(state.caller, Bridged | InQueue | Left):
        return
    request, node = state.request, state.request.place.node
    queued = False
    # The dialplan may lack a place that an AI has named: then the usual queue.
    for place in filter(None, (request.plan.queue, request.plan.usual_queue)):
        queued = queued or await _done(
            request.handoff_id,
            telephony.continue_in_dialplan(
                node,
                request.caller,
                place,
                variables=dialplan_variables(request),
                music=request.plan.music,
            ),
        )
    if (attempt := attempt_of(state.agent)) is not None:
        await _done(request.handoff_id, telephony.hang_up(node, agent_channel(state, attempt)))
    if queued:  # otherwise the caller may sit in one, with music
        for bridge in names.bridges(request.handoff_id):
            await _done(request.handoff_id, telephony.destroy_bridge(node, bridge))


async def _done(handoff: HandoffId, step: Awaitable[None]) -> bool:
    try:
        async with asyncio.timeout(RESCUE_SECONDS):
            await step
    except (PeerError, TimeoutError) as error:
        log.error("handoff %s: rescue failed: %s", handoff, error or "timed out")  # noqa: TRY400
    except Exception:
        log.exception("handoff %s: rescue failed", handoff)
    else:
        return True
    return False
