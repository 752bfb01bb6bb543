"""A sink for a worker without an AI: opens every call, counts what it hears, says nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from siprec_worker.media.model import LegAudio
from siprec_worker.session.model import Close, FromAgent, Open, Opened, ToAgent
from siprec_worker.sinks.counters import StreamCounters


class DiscardStream:
    """AgentStream that takes everything."""

    def __init__(self, opening: Open, receiver: Callable[[FromAgent], None]) -> None:
        self.stats = StreamCounters()
        uplink = opening.uplink
        self._bytes_per_ms = uplink.sample_rate * uplink.bytes_per_sample // 1000
        first, *_ = opening.downlink_choices
        opened = Opened(uplink, opening.chunk_ms, first, no_ack=True)
        # Later, as from any other AI: the session does not have its stream yet.
        self._greeting = asyncio.get_running_loop().call_soon(receiver, opened)
        self._closed = False

    def send_audio(self, pts: int, legs: Sequence[LegAudio]) -> None:
        if legs and not self._closed:
            self.stats.messages_sent += 1
            self.stats.audio_ms_sent += len(legs[0].data) // self._bytes_per_ms

    def send(self, message: ToAgent) -> None:
        if not self._closed:
            self.stats.messages_sent += 1

    def close(self, close: Close) -> None:
        self.abandon()

    def abandon(self) -> None:
        self._closed = True
        self._greeting.cancel()

    @property
    def outstanding(self) -> tuple[int, int]:
        return 0, 0

    def left(self) -> tuple[bytes, ...]:
        return ()


class DiscardConnector:
    """AgentConnector of `discard:`."""

    def __init__(self) -> None:
        self.streams = 0

    def connect(self, opening: Open, receiver: Callable[[FromAgent], None]) -> DiscardStream:
        self.streams += 1
        return DiscardStream(opening, receiver)

    def flush(self) -> None:
        """Nothing waits here."""

    async def aclose(self) -> None:
        """Nothing is open here."""
