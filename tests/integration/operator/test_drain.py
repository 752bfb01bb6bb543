"""`voicefork drain` at a real worker."""

from __future__ import annotations

import io
import time

from rich.console import Console
from voicefork_cli.lab.processes import Lab
from voicefork_cli.operator.drain import DrainPlan, run_drain

from tests.builders.moving_forks import open_pooled, until


def screens() -> tuple[Console, Console, io.StringIO]:
    text = io.StringIO()
    console = Console(file=text, width=100)
    return console, console, text


async def test_a_worker_is_drained_by_its_name_and_its_calls_go_on(lab: Lab) -> None:
    async with open_pooled(lab, "w1", "w2") as pooled:
        for _ in range(2):
            await pooled.begin([pooled.uri("w1")])
        await pooled.listening()
        await pooled.stored(2)
        program = pooled.workers.pop("w1").program
        screen, complaints, text = screens()
        assert await run_drain(DrainPlan("w1", pooled.redis.url), screen, complaints) == 0
        assert await program.wait() == 0
        assert "w1: draining, 2 calls" in text.getvalue()
        assert "w1: ended" in text.getvalue()
        assert await pooled.owners() == {pooled.uri("w2")}
        later = time.time() + 0.3
        await until(lambda: all(h.first_after(later) for h in pooled.agent.heard.values()))
        assert all((h.missing(), h.gaps) == (0, []) for h in pooled.agent.heard.values())


async def test_a_worker_that_nobody_knows_is_told_with_those_there_are(lab: Lab) -> None:
    async with open_pooled(lab, "w1") as pooled:
        await until(lambda: pooled.pool.call("vf_workers"))
        screen, complaints, text = screens()
        assert await run_drain(DrainPlan("w9", pooled.redis.url), screen, complaints) == 1
        assert "no worker 'w9' in the pool; there: w1" in text.getvalue()


async def test_a_pool_that_is_away_is_named_without_its_password() -> None:
    screen, complaints, text = screens()
    plan = DrainPlan("w1", "redis://:secret@127.0.0.1:1/0")
    assert await run_drain(plan, screen, complaints) == 1
    assert "no pool at 127.0.0.1:1" in text.getvalue()
    assert "secret" not in text.getvalue()
