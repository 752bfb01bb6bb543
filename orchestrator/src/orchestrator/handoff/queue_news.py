"""What a node's queue tells the handoffs of a caller whom only its dialplan has (by AMI)."""

from __future__ import annotations

from orchestrator.handoff.events import (
    Deadline,
    DeadlinePassed,
    Event,
    QueueAnswered,
    QueueCalled,
    QueueGaveUp,
    QueueMerged,
)
from orchestrator.handoff.ports import Ports
from orchestrator.handoff.roster import Roster
from orchestrator.handoff.tracks import Choosing, InQueue, Queueing
from orchestrator.model import CallId


class QueueNews:
    """Part of handoff.registry.Registry; as its part News."""

    _ports: Ports
    _roster: Roster

    def queue_called(self, call: CallId, queue: str) -> None:
        """A member's phone rings for the caller."""
        self._of_queue(call, QueueCalled(self._ports.clock.now(), queue))

    def queue_answered(self, call: CallId) -> None:
        """A member takes the call."""
        self._of_queue(call, QueueAnswered(self._ports.clock.now()))

    def queue_merged(self, call: CallId) -> None:
        """The caller is in a bridge with somebody."""
        self._of_queue(call, QueueMerged(self._ports.clock.now()))

    def queue_gave_up(self, call: CallId, status: str) -> bool:
        """`status`: Asterisk's QUEUESTATUS. False: no handoff of this call waits in a queue.

        A menu in which the dialplan has waited for long enough ends in the same way.
        """
        runner = self._roster.of_call(call)
        if runner is not None and isinstance(runner.state.agent, Choosing):
            runner.post(DeadlinePassed(self._ports.clock.now(), Deadline.MENU))
            return True
        return self._of_queue(call, QueueGaveUp(self._ports.clock.now(), status))

    def leave(self, node: str) -> None:
        """Another replica drives this node now, and adopts its handoffs from the store."""
        for runner in self._roster.runners():
            if runner.state.request.place.node == node:
                runner.leave()

    def _of_queue(self, call: CallId, event: Event) -> bool:
        runner = self._roster.of_call(call)
        if runner is None or not isinstance(runner.state.caller, Queueing | InQueue):
            return False
        runner.post(event)
        return True
