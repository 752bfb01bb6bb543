"""Follows one handoff, revision by revision."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork.handoff.v1 import handoff_pb2_grpc

PHASE_SECONDS = 25.0
FINAL = frozenset(
    {pb.PHASE_CONNECTED, pb.PHASE_RETURNED, pb.PHASE_FAILED, pb.PHASE_CANCELLED, pb.PHASE_QUEUED}
)
Handoffs = handoff_pb2_grpc.HandoffServiceStub


class Watch:
    """Every revision of one handoff as WatchHandoff tells it, from its first."""

    def __init__(self, handoff_id: str) -> None:
        self.handoff_id = handoff_id
        self.seen: list[pb.Handoff] = []
        self._changed = asyncio.Event()
        self._over = False

    async def follow(self, service: Handoffs) -> None:
        try:
            changes: Any = service.WatchHandoff(pb.WatchHandoffRequest(handoff_id=self.handoff_id))
            async for change in changes:
                self.seen.append(change.handoff)
                self._changed.set()
        finally:
            self._over = True
            self._changed.set()

    async def until(self, phase: pb.Phase.ValueType) -> pb.Handoff:
        """The first revision of that phase."""
        return await self._first(lambda handoff: handoff.phase == phase, pb.Phase.Name(phase))

    async def because_of(self, outcome: pb.Outcome.ValueType) -> pb.Handoff:
        """The first revision that says so, final or on the way to another try."""
        name = pb.Outcome.Name(outcome)
        return await self._first(lambda handoff: handoff.outcome == outcome, name)

    async def final(self) -> pb.Handoff:
        """The first revision of a final phase."""
        return await self._first(lambda handoff: handoff.phase in FINAL, "a final phase")

    async def settled(self) -> pb.Handoff:
        """The last revision: its timing is complete."""
        async with asyncio.timeout(PHASE_SECONDS):
            while not self._over:
                self._changed.clear()
                await self._changed.wait()
        return self.seen[-1]

    @property
    def phases(self) -> list[str]:
        """In order, each once in a row, without PHASE_."""
        names = [pb.Phase.Name(handoff.phase).removeprefix("PHASE_") for handoff in self.seen]
        return [name for at, name in enumerate(names) if at == 0 or names[at - 1] != name]

    async def _first(self, fits: Callable[[pb.Handoff], bool], what: str) -> pb.Handoff:
        looked = 0
        try:
            async with asyncio.timeout(PHASE_SECONDS):
                while True:
                    for handoff in self.seen[looked:]:
                        looked += 1
                        if fits(handoff):
                            return handoff
                    if self._over:
                        break
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass
        outcomes = {pb.Outcome.Name(handoff.outcome) for handoff in self.seen}
        raise AssertionError(f"no {what} in {self.phases}, only {sorted(outcomes)}")
