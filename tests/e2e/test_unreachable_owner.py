"""A call whose fork belongs to a worker that OpenSIPS cannot reach: it ends, and no ghost stays.

This OpenSIPS asks no Redis: what it sends inside of a fork goes to the first worker for ever.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
import pytest_asyncio
from voicefork_cli.lab.errors import MissingProgramError
from voicefork_cli.lab.opensips import OpenSips, OpenSipsPlan, find_opensips, open_opensips
from voicefork_cli.lab.ours import Service
from voicefork_cli.lab.processes import Lab
from voicefork_cli.sim.caller import CarrierCaller, open_caller
from voicefork_cli.sim.source import Tone

from tests.e2e.ears import BOT, CALLER, until_hears
from tests.e2e.stage import DEFAULT, Guest, Stage, open_stage
from tests.opensips.mi import ask, calls

pytestmark = pytest.mark.asyncio(loop_scope="module")

NUMBER = "+14155550100"
SETTLED_SECONDS = 1.0  # workers are in the pool, the call is stored
BACK_SECONDS = 20.0
OVER_SECONDS = 30.0  # OpenSIPS' own BYE fails after 5 s, the fork has been silent for 3 s by then


@dataclass(frozen=True, slots=True)
class House:
    stage: Stage
    orchestrator: Service
    workers: list[Service]
    opensips: OpenSips

    async def owner(self) -> Service:
        """The worker that has the only call."""
        async with asyncio.timeout(BACK_SECONDS):
            while True:
                for worker in self.workers:
                    if worker.program.exit_code is None and await self.stage.calls_of_worker(
                        worker
                    ):
                        return worker
                await asyncio.sleep(0.05)

    async def left_behind(self, *workers: Service) -> dict[str, object]:
        """What anybody still has of a call: empty when all is clean."""
        left: dict[str, object] = await self.stage.left_behind(self.orchestrator)
        for worker in workers:
            left[worker.program.name] = await self.stage.calls_of_worker(worker)
        left["OpenSIPS' dialogs"] = await calls(self.opensips)
        left["OpenSIPS' forks"] = await ask(self.opensips, "b2be_list")
        left["Redis"] = await self.stage.forks()
        return {place: things for place, things in left.items() if things}

    async def no_ghost_stays(self, *workers: Service) -> None:
        left: dict[str, object] = {}
        try:
            async with asyncio.timeout(OVER_SECONDS):
                while left := await self.left_behind(*workers):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"left behind: {left}") from None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(stage_lab: Lab) -> AsyncIterator[Stage]:
    try:
        find_opensips()
    except MissingProgramError as error:
        pytest.skip(str(error))
    async with open_stage(stage_lab, {DEFAULT: Guest(("--resume", "15"))}) as stage:
        yield stage


@pytest_asyncio.fixture(loop_scope="module")
async def house(stage: Stage) -> AsyncIterator[House]:
    async with AsyncExitStack() as opened:
        orchestrator = await opened.enter_async_context(stage.orchestrator())
        workers = [
            await opened.enter_async_context(stage.worker(orchestrator, name))
            for name in ("first", "second")
        ]
        plan = OpenSipsPlan(
            pbx=stage.asterisk.sip,
            carrier="127.0.0.1:9",
            rtpengine=f"{stage.rtpengine.host}:{stage.rtpengine.port}",
            workers=[worker.addresses["sip"] for worker in workers],
        )
        opensips = await opened.enter_async_context(open_opensips(stage.lab, plan))
        await asyncio.sleep(SETTLED_SECONDS)
        yield House(stage, orchestrator, workers, opensips)
    await stage.sweep()


@pytest_asyncio.fixture(loop_scope="module")
async def caller(house: House) -> AsyncIterator[CarrierCaller]:
    """In a call with the bot."""
    async with open_caller() as caller:
        await caller.dial(f"sip:{NUMBER}@{house.opensips.sip}", Tone(CALLER))
        await until_hears(caller, BOT)
        await asyncio.sleep(SETTLED_SECONDS)
        yield caller


@pytest_asyncio.fixture(loop_scope="module")
async def adopter(house: House, caller: CarrierCaller) -> Service:
    """The worker that has the call since the one whom OpenSIPS knows was killed."""
    dead = await house.owner()
    dead.program.signal(signal.SIGKILL)
    await dead.program.wait()
    adopter = next(worker for worker in house.workers if worker is not dead)
    async with asyncio.timeout(BACK_SECONDS):
        while not await house.stage.calls_of_worker(adopter):  # noqa: ASYNC110 - asked, not told
            await asyncio.sleep(0.05)
    await asyncio.sleep(SETTLED_SECONDS)  # it has a way into Asterisk again
    return adopter


async def test_a_caller_who_hangs_up_is_told_to_the_adopter_by_the_orchestrator(
    house: House, caller: CarrierCaller, adopter: Service
) -> None:
    await caller.hang_up()
    await house.no_ghost_stays(adopter)


async def test_a_call_that_the_bot_hangs_up_ends_everywhere(
    house: House, caller: CarrierCaller, adopter: Service
) -> None:
    await caller.press("#")
    async with asyncio.timeout(BACK_SECONDS):
        await caller.ended.wait()
    await house.no_ghost_stays(adopter)


async def test_an_owner_that_hangs_ends_its_call_once_it_is_back(
    house: House, caller: CarrierCaller
) -> None:
    owner = await house.owner()
    for worker in house.workers:  # nobody adopts it
        if worker is not owner:
            worker.program.signal(signal.SIGKILL)
            await worker.program.wait()
    owner.program.signal(signal.SIGSTOP)
    try:
        await caller.hang_up()
        await asyncio.sleep(2.0)
    finally:
        owner.program.signal(signal.SIGCONT)
    await house.no_ghost_stays(owner)
