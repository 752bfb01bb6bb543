"""An AI asks for a human and no orchestrator hears it: the worker sends the caller to the queue."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from voicefork_cli.lab.ours import Service, WorkerPlan, open_worker
from voicefork_cli.lab.processes import Lab
from voicefork_cli.sim.caller import CarrierCaller, open_caller
from voicefork_cli.sim.source import Tone

from tests.e2e.alone import assert_never_alone
from tests.e2e.diary import Diary
from tests.e2e.ears import BOT, CALLER, MUSIC, heard_between, share, until_hears
from tests.e2e.stage import DEFAULT, GONE_SECONDS, Guest, Stage, open_stage

pytestmark = pytest.mark.asyncio(loop_scope="module")

NUMBER = "+14155550100"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(stage_lab: Lab) -> AsyncIterator[Stage]:
    async with open_stage(stage_lab, {DEFAULT: Guest()}) as stage:
        yield stage


@asynccontextmanager
async def escaping_worker(stage: Stage, orchestrator: Service) -> AsyncIterator[Service]:
    plan = WorkerPlan(
        agent=f"grpc://{stage.agents[DEFAULT].addresses['agent']}",
        redis=stage.redis.url,
        orchestrator=orchestrator.addresses["grpc"],
        asterisk=stage.asterisk,
    )
    async with open_worker(stage.lab, plan) as worker:
        yield worker


@asynccontextmanager
async def talking(stage: Stage, worker: Service) -> AsyncIterator[CarrierCaller]:
    """A caller who hears the bot."""
    async with stage.edge(worker) as edge, open_caller() as caller:
        await caller.dial(edge.uri.replace("sip:", f"sip:{NUMBER}@"), Tone(CALLER))
        await until_hears(caller, BOT)
        yield caller


async def escapes(stage: Stage, worker: Service, result: str) -> float:
    """What the worker's metrics say."""
    async with stage.session.get(f"http://{worker.addresses['admin']}/metrics") as page:
        lines = (await page.text()).splitlines()
    wanted = f'voicefork_worker_escapes_total{{result="{result}"}} '
    return sum(float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted))


async def until_alone_in_the_queue(stage: Stage) -> None:
    """Only the caller's channel is left, waiting."""
    async with asyncio.timeout(GONE_SECONDS):
        while await stage.applications() != ["Queue"]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def escalated_ns(diary: Diary) -> int:
    return int(float((await diary.wait_for("escalated"))["t"]) * 1e9)


async def test_an_escalation_that_no_orchestrator_hears_brings_the_caller_to_the_queue(
    stage: Stage,
) -> None:
    diary = stage.diary(DEFAULT)
    async with (
        stage.orchestrator() as orchestrator,
        escaping_worker(stage, orchestrator) as worker,
    ):
        async with talking(stage, worker) as caller:
            orchestrator.program.signal(signal.SIGKILL)
            await orchestrator.program.wait()
            await caller.press("9")
            asked = await escalated_ns(diary)
            music_from = await until_hears(caller, MUSIC)
            await stage.wait_in_queue()
            closed = await diary.wait_for("close")
            await diary.wait_for("handoff")
            await until_alone_in_the_queue(stage)
            now = time.time_ns()
            assert_never_alone(caller, asked, now)
            assert share(heard_between(caller, music_from, now), MUSIC) == 1.0
            assert closed["reason"] == "LEFT_BOT"
            assert [line["phase"] for line in diary.of("handoff")] == ["QUEUED"]
            assert await escapes(stage, worker, "escaped") == 1
        await stage.forget()  # the dead orchestrator's half of the call
        await stage.wait_empty(worker=worker)


async def test_an_ai_that_fails_without_an_orchestrator_leaves_the_caller_to_a_human(
    stage: Stage,
) -> None:
    async with (
        stage.orchestrator() as orchestrator,
        escaping_worker(stage, orchestrator) as worker,
    ):
        async with talking(stage, worker) as caller:
            orchestrator.program.signal(signal.SIGKILL)
            await orchestrator.program.wait()
            await caller.press("0")
            await until_hears(caller, MUSIC)
            await stage.wait_in_queue()
        await stage.forget()
        await stage.wait_empty(worker=worker)


async def test_a_successor_does_not_move_a_caller_who_has_escaped(stage: Stage) -> None:
    diary = stage.diary(DEFAULT)
    async with (
        stage.orchestrator() as orchestrator,
        escaping_worker(stage, orchestrator) as worker,
    ):
        async with talking(stage, worker) as caller:
            orchestrator.program.signal(signal.SIGKILL)
            await orchestrator.program.wait()
            await caller.press("9")
            await escalated_ns(diary)
            await stage.wait_in_queue()
            async with stage.orchestrator("--grpc", orchestrator.addresses["grpc"]):
                await asyncio.sleep(3.0)  # the worker's stream is back, its reports are read
                assert await stage.applications() == ["Queue"]
                since = time.time_ns() - 2_000_000_000
                assert share(heard_between(caller, since, time.time_ns()), MUSIC) == 1.0
            await caller.hang_up()
        await stage.forget()
        await stage.wait_empty(worker=worker)


async def test_an_orchestrator_that_wakes_too_late_does_not_undo_the_escape(stage: Stage) -> None:
    diary = stage.diary(DEFAULT)
    async with (
        stage.orchestrator() as orchestrator,
        escaping_worker(stage, orchestrator) as worker,
    ):
        async with talking(stage, worker) as caller:
            orchestrator.program.signal(signal.SIGSTOP)
            await caller.press("9")
            asked = await escalated_ns(diary)
            music_from = await until_hears(caller, MUSIC)
            await stage.wait_in_queue()
            assert_never_alone(caller, asked, time.time_ns())
            orchestrator.program.signal(signal.SIGCONT)
            await asyncio.sleep(3.0)  # it reads what it has missed
            now = time.time_ns()
            assert await stage.applications() == ["Queue"]
            assert share(heard_between(caller, music_from, now), MUSIC) == 1.0
            await caller.hang_up()
        await stage.wait_empty(orchestrator, worker)


async def test_an_escalation_that_is_heard_is_left_to_the_orchestrator(stage: Stage) -> None:
    diary = stage.diary(DEFAULT)
    async with (
        stage.orchestrator() as orchestrator,
        escaping_worker(stage, orchestrator) as worker,
    ):
        async with talking(stage, worker) as caller:
            await caller.press("9")
            await escalated_ns(diary)
            await stage.wait_in_queue(10)
            await asyncio.sleep(1.2)  # longer than an orchestrator is waited for
            assert await escapes(stage, worker, "escaped") == 0
            await caller.hang_up()
        await stage.wait_empty(orchestrator, worker)
