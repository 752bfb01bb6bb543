"""Context on its way out: tried at once, kept and retried when the way is blocked."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Protocol

from orchestrator.bus.envelope import Envelope, envelope_of
from orchestrator.errors import PeerError, StoreError
from orchestrator.handoff.cancellation import heed_cancellation
from orchestrator.handoff.ports import Clock, Tally
from orchestrator.handoff.state import State
from orchestrator.model import Context

log = logging.getLogger(__name__)

CAPACITY = 1000
RETRY_SECONDS = 0.5


class EnvelopeSink(Protocol):
    """Where envelopes go."""

    async def append(self, envelope: Envelope) -> None:
        """Returns once it is there; limits itself. Raises PeerError."""


class Outbox:
    """Implements handoff.ports.ContextBus on one sink.

    Ordered per handoff: behind a kept envelope the later ones of that handoff are kept too.
    Bounded: when full, the oldest is dropped and counted.
    """

    def __init__(
        self, sink: EnvelopeSink, clock: Clock, tally: Tally, capacity: int = CAPACITY
    ) -> None:
        self._sink = sink
        self._clock = clock
        self._tally = tally
        self._capacity = capacity
        self._kept: deque[Envelope] = deque()
        self._blocked = asyncio.Event()

    def __len__(self) -> int:
        return len(self._kept)

    async def publish(self, state: State, context: Context) -> None:
        """Raises StoreError when it will be published only later."""
        envelope = envelope_of(state, context, self._clock.now())
        if any(kept.handoff_id == envelope.handoff_id for kept in self._kept):
            self._keep(envelope)
            raise StoreError("context waits behind an earlier one")
        try:
            await self._sink.append(envelope)
        except PeerError as error:
            self._keep(envelope)
            raise StoreError(f"context is kept for later: {error}") from error
        self._tally.count("context_published")

    async def run(self) -> None:
        """Sends what was kept, oldest first, until cancelled."""
        while True:
            heed_cancellation()
            await self._blocked.wait()
            await asyncio.sleep(RETRY_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """One round: stops at the first envelope that still does not get through."""
        while self._kept:
            envelope = self._kept[0]
            try:
                await self._sink.append(envelope)
            except PeerError as error:
                self._tally.count("context_retries_failed")
                log.warning("context still blocked: %s", error)
                return
            self._tally.count("context_published_late")
            if self._kept and self._kept[0] is envelope:
                self._kept.popleft()
        self._blocked.clear()

    def _keep(self, envelope: Envelope) -> None:
        self._tally.count("context_kept")
        if len(self._kept) >= self._capacity:
            self._kept.popleft()
            self._tally.count("context_dropped")
        self._kept.append(envelope)
        self._blocked.set()
