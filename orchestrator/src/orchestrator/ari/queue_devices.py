"""What ARI alone can know of queues: the two device states that app_queue keeps of each.

`Queue:NAME` is RINGING while somebody waits and NOT_INUSE when nobody does, `Queue:NAME_avail` is
NOT_INUSE while a member could take a call (Asterisk 22, measured). Both are INVALID or INUSE until
something has happened in the queue, which says nothing; so only the other values count, and numbers
are lower bounds. How long callers wait is AMI's to tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import structlog

from orchestrator.ari.client import AriClient
from orchestrator.errors import PbxError
from orchestrator.model import QueueState

log = structlog.stdlib.get_logger(__name__)

LOOK_SECONDS = 2.0


def state_of(name: str, queue: str, available: str) -> QueueState:
    """From the device states `Queue:NAME` and `Queue:NAME_avail`. Pure."""
    free = available == "NOT_INUSE"
    waiting = {"NOT_INUSE": 0, "RINGING": 1}.get(queue)
    return QueueState(
        name,
        members=1 if free else None,
        available=1 if free else None,
        waiting=waiting,
        expected_wait=0.0 if free and waiting == 0 else None,
    )


class QueueDevices:
    """Looks again and again (implements routing.situation.QueueStates)."""

    def __init__(self, client: AriClient, names: Callable[[], Sequence[str]]) -> None:
        self._client = client
        self._names = names
        self._states: Mapping[str, QueueState] = {}

    def snapshot(self) -> Mapping[str, QueueState]:
        return self._states

    async def run(self) -> None:
        """Until cancelled. While Asterisk is away nothing is known."""
        while True:
            try:
                self._states = {name: await self._look(name) for name in self._names()}
            except PbxError as error:
                self._states = {}
                log.debug("queues could not be looked at", error=str(error))
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self, name: str) -> QueueState:
        queue = await self._client.device_state(f"Queue:{name}")
        return state_of(name, queue, await self._client.device_state(f"Queue:{name}_avail"))
