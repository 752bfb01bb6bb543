"""What keeps a fault of the pool away from the calls."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from siprec_worker.net import membership
from siprec_worker.net.fork_store import ForkStore
from siprec_worker.net.lease import Lease, Situation
from siprec_worker.telemetry import Metrics


async def test_a_part_that_fails_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "AGAIN_SECONDS", 0.0)
    begun = 0
    again = asyncio.Event()

    async def work() -> None:
        nonlocal begun
        begun += 1
        if begun == 1:
            raise KeyError("nobody thought of this")
        again.set()
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(membership.lasting(work))
        await again.wait()
        task.cancel()
    assert begun == 2
    assert task.cancelled()


class Ends:
    """A pool that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    async def call(self, *told: object) -> int:
        self.told.append(told)
        return 1


async def test_the_ends_of_the_calls_that_end_with_the_worker_are_told_first() -> None:
    pool: Any = Ends()
    metrics = Metrics()
    store = ForkStore(pool, "w1", lambda dialog: None, metrics)
    store.is_over("a@b", 3)
    at = Situation("w1", "sip:127.0.0.1", "", "", 1)
    lease = Lease(pool, at, store, metrics, lambda: 0, lambda: True)
    await membership.leave(store, lease)
    assert pool.told == [("vf_end", "w1", "a@b", 3), ("vf_leave", "w1")]
