"""What a session needs from outside, as Protocols; sinks/ and net/ implement them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from siprec_worker.media.model import LegAudio
from siprec_worker.session.model import Close, FromAgent, Open, ToAgent


class AgentStream(Protocol):
    """One call's conversation with one AI. Nothing here blocks or raises on a slow or dead peer."""

    def send_audio(self, pts: int, legs: Sequence[LegAudio]) -> None:
        """Queues one chunk. Before Opened: kept (bounded, oldest shed and told as Gap SHED)."""

    def send(self, message: ToAgent) -> None:
        """Queues an event, in order with the audio around it."""

    def close(self, close: Close) -> None:
        """Says goodbye and ends the stream; nothing is delivered to the receiver afterwards."""


class AgentConnector(Protocol):
    """Makes streams to one AI vendor. All calls of a worker share one connector per vendor."""

    def connect(self, opening: Open, receiver: Callable[[FromAgent], None]) -> AgentStream:
        """Starts a conversation; answers arrive at `receiver` on the event loop, in order.

        The first is Opened, or AgentLost within the opening limit (3 s); AgentLost is the last.
        """

    def flush(self) -> None:
        """Writes everything that was queued since the last flush: called once per tick."""

    async def aclose(self) -> None:
        """Ends all streams and connections."""
