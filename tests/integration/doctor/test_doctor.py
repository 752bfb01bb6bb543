"""`voicefork doctor` where something is missing: it says what, and what to do."""

from __future__ import annotations

import io

from rich.console import Console
from voicefork_cli.doctor.command import examine
from voicefork_cli.doctor.first_call import CallPlan
from voicefork_cli.doctor.places import Places
from voicefork_cli.lab.ours import WorkerPlan, open_agent, open_worker
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.redis import open_redis

from tests.chart.conftest import ROOT

ECHO = ROOT / "sdk" / "examples" / "echo.py"


async def told(places: Places, plan: CallPlan | None = None) -> tuple[int, str]:
    text = io.StringIO()
    code = await examine(places, plan, Console(file=text, width=200))
    return code, text.getvalue()


async def test_of_parts_that_are_not_there_each_gets_advice(lab: Lab) -> None:
    nobody = f"127.0.0.1:{lab.ports.single()}"
    places = Places(
        worker=nobody,
        worker_admin=lab.ports.single(),
        orchestrator=nobody,
        orchestrator_admin=nobody,
        redis=f"redis://{nobody}/0",
        ari=f"http://{nobody}",
    )

    code, said = await told(places)

    assert code == 1
    assert "6 looked at, 6 wrong" in said
    assert said.count("BAD") == said.count("-> ") == 6


async def test_a_call_is_followed_until_the_ai_has_its_audio(lab: Lab) -> None:
    async with open_agent(lab, ECHO) as agent:
        plan = WorkerPlan(f"grpc://{agent.addresses['agent']}")
        async with open_worker(lab, plan) as worker:
            admin = int(worker.addresses["admin"].rpartition(":")[2])
            places = Places(worker.addresses["sip"], admin)

            code, said = await told(places, CallPlan())

    assert code == 0, said
    assert "the AI has it" in said


async def test_an_ai_that_is_not_there_is_told(lab: Lab) -> None:
    nobody = lab.ports.single()
    async with open_worker(lab, WorkerPlan(f"grpc://127.0.0.1:{nobody}")) as worker:
        admin = int(worker.addresses["admin"].rpartition(":")[2])

        code, said = await told(Places(worker.addresses["sip"], admin), CallPlan())

    assert code == 1
    assert "the worker does not get it open" in said


async def test_a_redis_without_a_pool_is_told(lab: Lab) -> None:
    async with open_redis(lab) as redis:
        code, said = await told(Places(redis=redis.url))

    assert code == 1
    assert "no worker has loaded them" in said
