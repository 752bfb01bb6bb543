"""What the queues of a node look like, from AMI's lists and events. Pure.

Asterisk's app_queue: a member is logged in unless its phone is unavailable or its name is wrong,
and available when it also is not paused and its phone is idle (or its state is not known).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from orchestrator.ari.ami_wire import AmiMessage
from orchestrator.model import QueueState

# Device states of include/asterisk/devicestate.h, as queue events number them.
_UNKNOWN, _NOT_IN_USE, _INVALID, _UNAVAILABLE = 0, 1, 4, 5


@dataclass(frozen=True, slots=True)
class _Member:
    status: int
    paused: bool

    @property
    def logged_in(self) -> bool:
        return self.status not in {_INVALID, _UNAVAILABLE}

    @property
    def available(self) -> bool:
        return not self.paused and self.status in {_UNKNOWN, _NOT_IN_USE}


@dataclass(slots=True)
class _Queue:
    waiting: int = 0
    hold_seconds: float = 0.0  # what callers waited lately, as the queue averages it
    members: dict[str, _Member] = field(default_factory=dict)


class QueueBook:
    """Filled by `replace` from a whole QueueStatus, kept by `heard`."""

    def __init__(self) -> None:
        self._queues: dict[str, _Queue] = {}
        self._stale = True

    def replace(self, rows: Iterable[AmiMessage]) -> None:
        """The events of QueueStatus: QueueParams, then its QueueMember and QueueEntry each."""
        queues: dict[str, _Queue] = {}
        for row in rows:
            name = row.get("Queue")
            if row.event == "QueueParams":
                queues[name] = _Queue(row.number("Calls") or 0, float(row.number("Holdtime") or 0))
            elif row.event == "QueueMember" and name in queues:
                queues[name].members[_interface(row)] = _member(row)
        self._queues, self._stale = queues, False

    def heard(self, event: AmiMessage) -> None:
        """One event as it comes; what concerns no queue we know is ignored."""
        queue = self._queues.get(event.get("Queue"))
        if queue is None:
            return
        match event.event:
            case "QueueMemberStatus" | "QueueMemberAdded" | "QueueMemberPause":
                queue.members[_interface(event)] = _member(event)
            case "QueueMemberRemoved":
                queue.members.pop(_interface(event), None)
            case "QueueCallerJoin" | "QueueCallerLeave":
                # Leaving is told for whatever reason, a QueueCallerAbandon comes besides.
                queue.waiting = event.number("Count") or 0

    def lost(self) -> None:
        """Nothing is told any more: what the book says is no longer known."""
        self._stale = True

    def snapshot(self) -> Mapping[str, QueueState]:
        """By name; None in a field = not known now."""
        if self._stale:
            return {name: QueueState(name) for name in self._queues}
        return {name: _state(name, queue) for name, queue in self._queues.items()}


def _state(name: str, queue: _Queue) -> QueueState:
    available = sum(member.available for member in queue.members.values())
    at_once = available > queue.waiting
    return QueueState(
        name,
        members=sum(member.logged_in for member in queue.members.values()),
        available=available,
        waiting=queue.waiting,
        expected_wait=0.0 if at_once else queue.hold_seconds or None,
    )


def _interface(row: AmiMessage) -> str:
    """Lists call it Location, events Interface."""
    return row.get("Interface") or row.get("Location")


def _member(row: AmiMessage) -> _Member:
    return _Member(row.number("Status") or 0, row.get("Paused") == "1")
