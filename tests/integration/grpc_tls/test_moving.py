"""Workers that speak mTLS to each other: forks that move, by hand and after a death."""

from __future__ import annotations

import io
import time

from rich.console import Console
from voicefork_cli.lab.processes import Lab
from voicefork_cli.operator.drain import DrainPlan, run_drain

from tests.builders.moving_forks import open_pooled, until
from tests.integration.grpc_tls.conftest import WORKER, Issued


async def test_a_drained_worker_gives_its_calls_to_one_that_knows_its_certificate(
    lab: Lab, issued: Issued
) -> None:
    options = issued.options(issued.worker)
    async with open_pooled(lab) as pooled:
        for name in ("w1", "w2"):
            await pooled.add_worker(name, *options)
        await pooled.begin([pooled.uri("w1")])
        await pooled.listening()
        await pooled.stored(1)
        program = pooled.workers.pop("w1").program
        text = io.StringIO()
        screen = Console(file=text, width=100)
        plan = DrainPlan("w1", pooled.redis.url, tls=issued.dialling(WORKER))

        assert await run_drain(plan, screen, screen) == 0, text.getvalue()
        assert await program.wait() == 0
        assert await pooled.owners() == {pooled.uri("w2")}


async def test_calls_go_on_while_the_certificates_change_and_the_dead_ones_are_adopted(
    lab: Lab, issued: Issued
) -> None:
    options = issued.options(issued.worker)
    async with open_pooled(lab) as pooled:
        for name in ("w1", "w2"):
            await pooled.add_worker(name, *options)
        await pooled.begin([pooled.uri("w1")])
        await pooled.listening()
        await pooled.stored(1)
        (heard,) = pooled.agent.heard.values()
        issued.authority.sign(WORKER, into=issued.worker, names=f"DNS:{WORKER}")
        changed = time.time()
        await until(lambda: heard.last_wall > changed + 0.5)
        assert (pooled.agent.begun, heard.switched()) == (1, [])
        assert await pooled.owners() == {pooled.uri("w1")}

        killed = pooled.kill("w1")
        await until(lambda: heard.last_wall > killed + 2)
        assert await pooled.owners() == {pooled.uri("w2")}
