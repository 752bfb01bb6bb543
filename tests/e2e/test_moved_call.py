"""A caller's call with the bot goes on when its worker dies or goes away: same AI, new voice."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from voicefork_cli.lab.processes import Lab
from voicefork_cli.measure.heard import hear
from voicefork_cli.sim.caller import CarrierCaller, open_caller
from voicefork_cli.sim.source import Tone

from tests.e2e.ears import BOT, CALLER, until_hears
from tests.e2e.stage import DEFAULT, Guest, Stage, open_stage

pytestmark = pytest.mark.asyncio(loop_scope="module")

NUMBER = "+14155550100"
SETTLED_SECONDS = 1.0  # both workers are in the pool, and the call is stored
BACK_SECONDS = 20.0
WORKER_LOST_MS = 8_000  # until music plays: as where no other worker is (test_fail_open)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(stage_lab: Lab) -> AsyncIterator[Stage]:
    async with open_stage(stage_lab, {DEFAULT: Guest(("--resume", "15"))}) as stage:
        yield stage


@pytest_asyncio.fixture(loop_scope="module")
async def caller(stage: Stage) -> AsyncIterator[CarrierCaller]:
    async with open_caller() as caller:
        yield caller
    await stage.sweep()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_the_caller_hears_the_same_bot_again_through_another_worker(
    stage: Stage, caller: CarrierCaller, how: signal.Signals
) -> None:
    diary = stage.diary(DEFAULT)
    drains = ("--drain-seconds", "15")
    async with (
        stage.orchestrator() as orchestrator,
        stage.worker(orchestrator, "first", drains) as first,
        stage.worker(orchestrator, "second", drains) as second,
        stage.edge(first, second) as edge,
    ):
        await caller.dial(edge.uri.replace("sip:", f"sip:{NUMBER}@"), Tone(CALLER))
        await until_hears(caller, BOT)
        await asyncio.sleep(SETTLED_SECONDS)
        assert len(await stage.calls_of_worker(first)) == 1
        gone = time.time_ns()
        first.program.signal(how)
        await first.program.wait()
        await asyncio.sleep(0.5)  # what is left of the old worker's voice has been played by now
        await diary.wait_for("play", lambda line: line["status"] == "CUT")  # what was being said
        await asyncio.sleep(0.5)
        await caller.press("1")
        await until_hears(caller, BOT, BACK_SECONDS)
        assert len(await stage.calls_of_worker(second)) == 1
        assert "Queue" not in await stage.applications()
        assert len(diary.of("open")) == 1  # one conversation
        assert hear(caller.heard, gone, time.time_ns()).missing_ms <= WORKER_LOST_MS
        await diary.wait_for_seconds_of("CUSTOMER", 1.0)
        await caller.hang_up()
        await stage.wait_empty(orchestrator, second)
