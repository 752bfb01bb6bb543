"""Live forks outlive their workers: real processes, real Redis, an AI that counts every sample."""

from __future__ import annotations

import asyncio
import time

from voicefork_cli.lab.processes import Lab

from tests.builders.moving_forks import Pooled, open_pooled, until

CALLS = 5


async def test_the_forks_of_a_killed_worker_are_adopted(lab: Lab) -> None:
    async with open_pooled(lab, "w1", "w2") as pooled:
        for _ in range(CALLS):
            await pooled.begin([pooled.uri("w1")])
        await pooled.listening()
        await pooled.stored(CALLS)
        killed = pooled.kill("w1")
        await until(lambda: all(h.last_wall > killed + 2 for h in pooled.agent.heard.values()))
        back = [h.first_after(killed + 0.1) for h in pooled.agent.heard.values()]
        assert max(at - killed for at in back if at) < 3.0
        assert pooled.agent.begun == CALLS  # the same conversations
        assert all(h.switched() for h in pooled.agent.heard.values())
        for fork in pooled.forks:
            assert await pooled.owner(fork.client.call_id) == pooled.uri("w2")
        await pooled.stop()
        await until(lambda: all(h.closed for h in pooled.agent.heard.values()), 3)
        await until(lambda: _empty(pooled))


async def _empty(pooled: Pooled) -> bool:
    """Nothing is left in Redis of forks that ended."""
    return not any(
        [await pooled.client.keys(f"*{name}:*") for name in (":fork", ":forks", "fork:owner")]
    )


async def test_a_drained_worker_gives_its_calls_away_without_losing_a_sample(lab: Lab) -> None:
    async with open_pooled(lab, "w1", "w2") as pooled:
        for _ in range(CALLS):
            await pooled.begin([pooled.uri("w1")])
        await pooled.listening()
        await pooled.stored(CALLS)
        service = pooled.workers.pop("w1")
        begun = time.monotonic()
        service.program.signal(15)
        assert await service.program.wait() == 0
        assert time.monotonic() - begun < 8
        await asyncio.sleep(1.0)
        for heard in pooled.agent.heard.values():
            assert time.time() - heard.last_wall < 1
            assert (heard.missing(), heard.slips(), heard.gaps) == (0, 0, [])
        assert pooled.agent.begun == CALLS
