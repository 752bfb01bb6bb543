"""An escalation under way: what became of the request for a human."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from voicefork_sdk.events import HandoffUpdate
from voicefork_sdk.model import CloseReason, Outcome, Phase

_MAX_UPDATES = 100  # a handoff has about a dozen milestones
# The stream may end before the last update is written: the reason tells as much.
_ENDINGS = {
    CloseReason.HUMAN_CONNECTED: (Phase.CONNECTED, Outcome.CONNECTED),
    CloseReason.LEFT_BOT: (Phase.QUEUED, Outcome.QUEUED),
}


class Escalation:
    """Made by Call.escalate. Its updates also come through Call.events()."""

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self._updates: list[HandoffUpdate] = []
        self._changed = asyncio.Event()
        self._ended: CloseReason | None = None

    @property
    def latest(self) -> HandoffUpdate | None:
        return self._updates[-1] if self._updates else None

    @property
    def is_final(self) -> bool:
        return self.latest is not None and self.latest.phase.is_final

    async def updates(self) -> AsyncIterator[HandoffUpdate]:
        """Every milestone, to the final one or the end of the call."""
        told = 0
        while True:
            while told < len(self._updates):
                told += 1
                yield self._updates[told - 1]
            if self.is_final or self._ended is not None:
                return
            self._changed.clear()
            await self._changed.wait()

    async def result(self) -> HandoffUpdate:
        """The final update; what the call's end means when it came before it."""
        async for update in self.updates():
            if update.phase.is_final:
                return update
        ended = self._ended or CloseReason.UNSPECIFIED
        phase, outcome = _ENDINGS.get(ended, (Phase.FAILED, Outcome.CALLER_HUNG_UP))
        return HandoffUpdate("", phase, outcome, 0, self.request_id)

    def received(self, update: HandoffUpdate) -> None:
        """Called by the conversation, in the order of arrival; repeats are ignored."""
        latest = self.latest
        is_news = latest is None or not update.revision or update.revision > latest.revision
        if is_news and not self.is_final and len(self._updates) < _MAX_UPDATES:
            self._updates.append(update)
            self._changed.set()

    def call_ended(self, reason: CloseReason) -> None:
        self._ended = reason
        self._changed.set()
