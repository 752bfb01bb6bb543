"""What the caller hears when a part of us is gone: a human's queue, and no silence that is ours."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from voicefork_cli.lab.processes import Lab
from voicefork_cli.sim.caller import CarrierCaller, open_caller
from voicefork_cli.sim.edge import Edge
from voicefork_cli.sim.source import Tone

from tests.e2e.alone import assert_never_alone
from tests.e2e.ears import BOT, CALLER, INTRO, MUSIC, heard_between, share, tones, until_hears
from tests.e2e.stage import DEFAULT, Guest, Stage, open_stage

pytestmark = pytest.mark.asyncio(loop_scope="module")

NUMBER, SLOW = "+14155550100", "+14155550101"
GUESTS = {
    DEFAULT: Guest(),
    "shadow": Guest(),
    "slow": Guest(("--open-after", "2.5"), (SLOW,), shadow="shadow"),
}
WORKER_LOST_SECONDS = 8.0  # usually a little more than the second it has to come back


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(stage_lab: Lab) -> AsyncIterator[Stage]:
    async with open_stage(stage_lab, GUESTS) as stage:
        yield stage


@pytest_asyncio.fixture(loop_scope="module")
async def caller(stage: Stage) -> AsyncIterator[CarrierCaller]:
    async with open_caller() as caller:
        yield caller
    await stage.sweep()


def at(edge: Edge, number: str = NUMBER) -> str:
    return edge.uri.replace("sip:", f"sip:{number}@")


def answered_ns(caller: CarrierCaller) -> int:
    assert caller.answered_ns is not None
    return caller.answered_ns


def tones_between(caller: CarrierCaller, from_ns: int, to_ns: int) -> set[float]:
    """All that is heard there."""
    return {hz for each in tones(heard_between(caller, from_ns, to_ns)) for hz in each}


async def test_a_worker_that_is_killed_costs_the_caller_the_bot_and_leaves_music(
    stage: Stage, caller: CarrierCaller
) -> None:
    async with (
        stage.orchestrator() as orchestrator,
        stage.worker(orchestrator) as worker,
        stage.edge(worker) as edge,
    ):
        await caller.dial(at(edge), Tone(CALLER))
        await until_hears(caller, BOT)
        killed = time.time_ns()
        worker.program.signal(signal.SIGKILL)
        music_from = await until_hears(caller, MUSIC, WORKER_LOST_SECONDS)
        await stage.wait_in_queue()
        music = await until_hears(caller, MUSIC)
        assert tones_between(caller, killed, music) <= {BOT, MUSIC}
        assert_never_alone(caller, music_from + 1, music)
        await caller.hang_up()
        await stage.forget()  # the dead worker's half of the call, where another could adopt it
        await stage.wait_empty(orchestrator)


async def test_without_an_orchestrator_the_caller_goes_straight_to_the_queue(
    stage: Stage, caller: CarrierCaller
) -> None:
    async with stage.orchestrator() as orchestrator, stage.worker(orchestrator) as worker:
        orchestrator.program.signal(signal.SIGTERM)
        await orchestrator.program.wait()
        diary = stage.diary(DEFAULT)
        async with stage.edge(worker) as edge:
            await caller.dial(at(edge), Tone(CALLER))
            await until_hears(caller, MUSIC)
            await stage.wait_in_queue()
            assert_never_alone(caller, answered_ns(caller), time.time_ns())
            assert len(await stage.calls_of_worker(worker)) == 1
            await caller.hang_up()
            await stage.wait_empty(worker=worker)
    assert diary.of("open") == []


async def test_an_orchestrator_that_is_killed_leaves_bot_and_caller_talking(
    stage: Stage, caller: CarrierCaller
) -> None:
    async with (
        stage.orchestrator() as orchestrator,
        stage.worker(orchestrator) as worker,
        stage.edge(worker) as edge,
    ):
        await caller.dial(at(edge), Tone(CALLER))
        await until_hears(caller, BOT)
        killed = time.time_ns()
        orchestrator.program.signal(signal.SIGKILL)
        await asyncio.sleep(2.0)
        assert_never_alone(caller, killed, time.time_ns())
        assert share([p for p in caller.heard if p.arrival_ns > killed], BOT) == 1.0
        await caller.hang_up()
        async with stage.orchestrator("--app", "voicefork-0") as successor:
            await stage.forget()  # the dead one's half of the call
            await stage.wait_empty(successor, worker)


async def test_a_call_outlives_its_orchestrator_and_has_its_bot_back_from_the_next(
    stage: Stage, caller: CarrierCaller
) -> None:
    async with (
        stage.orchestrator() as orchestrator,
        stage.worker(orchestrator) as worker,
        stage.edge(worker) as edge,
    ):
        await caller.dial(at(edge), Tone(CALLER))
        await until_hears(caller, BOT)
        await asyncio.sleep(0.5)  # all reports are acknowledged: none will be repeated
        orchestrator.program.signal(signal.SIGKILL)
        await orchestrator.program.wait()
        killed = time.time_ns()
        async with stage.orchestrator("--grpc", orchestrator.addresses["grpc"]) as successor:
            await asyncio.sleep(6.0)  # longer than a bot is waited for
            await until_hears(caller, BOT)
            assert_never_alone(caller, killed, time.time_ns())
            await caller.hang_up()
            await stage.wait_empty(successor, worker)


async def test_an_unanswered_call_is_closed_as_such(stage: Stage, caller: CarrierCaller) -> None:
    diary = stage.diary("shadow")
    async with (
        stage.orchestrator("--answer", "on_bot") as orchestrator,
        stage.worker(orchestrator) as worker,
        stage.edge(worker) as edge,
    ):
        await caller.start(at(edge, SLOW), Tone(CALLER))
        await diary.wait_for("state")
        await until_hears(caller, MUSIC)
        await caller.cancel()
        closed = await diary.wait_for("close")
        await stage.wait_empty(orchestrator, worker)
    assert [line["status"] for line in diary.of("state")] == ["EARLY"]
    assert caller.answered_ns is None
    assert closed["reason"] == "NOT_ANSWERED"


async def test_a_call_is_answered_when_the_bot_is_ready_and_not_before(
    stage: Stage, caller: CarrierCaller
) -> None:
    diary = stage.diary(DEFAULT)
    async with (
        stage.orchestrator("--answer", "on_bot") as orchestrator,
        stage.worker(orchestrator) as worker,
        stage.edge(worker) as edge,
    ):
        await caller.start(at(edge), Tone(CALLER))
        await caller.until_answered(8)
        await until_hears(caller, BOT)
        opened = (await diary.wait_for("open"))["t"]
        assert_never_alone(caller, answered_ns(caller), time.time_ns())
        await caller.hang_up()
        await stage.wait_empty(orchestrator, worker)
    assert [line["status"] for line in diary.of("state")][:2] == ["EARLY", "ANSWERED"]
    assert answered_ns(caller) / 1e9 > opened
    assert sum(INTRO in each for each in tones(caller.heard)) == 10
