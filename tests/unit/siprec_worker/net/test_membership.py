"""What keeps a fault of the pool away from the calls."""

from __future__ import annotations

import asyncio

import pytest
from siprec_worker.net import membership


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
