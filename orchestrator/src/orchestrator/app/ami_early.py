"""What an AMI node tells of callers while they are only being listed: taken once each is known.

The list is as old as its first row; who hangs up, or is given up by a queue, while others of it are
adopted would else be waited for for ever, or be sent away by us as a stranger.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from orchestrator.ari.ami_wire import AmiMessage
from orchestrator.telemetry import Metrics

CALL_EVENT = "VoiceforkCall"
"""UserEvent of the shipped include, once the hosted bot has answered: it makes a caller known."""
MOST_EVENTS = 4096  # of all channels of the node

_KINDS = frozenset(
    {"UserEvent", "Hangup", "AgentCalled", "AgentConnect", "BridgeEnter", "DialState"}
)


class EarlyEvents:
    """Bounded: what is more is counted, and taken as it comes."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._kept: dict[str, list[AmiMessage]] | None = None
        self._count = 0

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """While callers are listed."""
        self._kept, self._count = {}, 0
        try:
            yield
        finally:
            self._kept = None

    def keeps(self, event: AmiMessage, known: Collection[str]) -> bool:
        """Whether the event waits for its channel to be `known`."""
        if self._kept is None or event.event not in _KINDS or event.get("UserEvent") == CALL_EVENT:
            return False
        channel = event.get("Caller" if event.event == "UserEvent" else "Uniqueid")
        if not channel or channel in known:
            return False
        if self._count >= MOST_EVENTS:
            self._metrics.count("ami_early_events_dropped")
            return False
        self._count += 1
        self._kept.setdefault(channel, []).append(event)
        return True

    def of(self, channel: str) -> Sequence[AmiMessage]:
        """What was kept of this one, in order; given once."""
        return self._kept.pop(channel, []) if self._kept else ()

    def rest(self) -> Sequence[AmiMessage]:
        """What is kept of channels that turned out to be nobody's of ours."""
        return [event for events in (self._kept or {}).values() for event in events]
