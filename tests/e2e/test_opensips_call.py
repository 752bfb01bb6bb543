"""The same call with the real OpenSIPS at the edge: nothing of it is simulated but the carrier."""

from __future__ import annotations

import asyncio
import time
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

from tests.e2e.alone import assert_never_alone
from tests.e2e.ears import BOT, CALLER, hears_only, share, until_hears
from tests.e2e.stage import DEFAULT, Guest, Stage, open_stage

pytestmark = pytest.mark.asyncio(loop_scope="module")

NUMBER = "+14155550100"
CALLS_IN_A_ROW = 8


@dataclass(frozen=True, slots=True)
class House:
    stage: Stage
    orchestrator: Service
    worker: Service
    opensips: OpenSips

    async def dial(self, caller: CarrierCaller) -> None:
        await caller.dial(f"sip:{NUMBER}@{self.opensips.sip}", Tone(CALLER))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(stage_lab: Lab) -> AsyncIterator[House]:
    try:
        find_opensips()
    except MissingProgramError as error:
        pytest.skip(str(error))
    async with AsyncExitStack() as opened:
        stage = await opened.enter_async_context(open_stage(stage_lab, {DEFAULT: Guest()}))
        orchestrator = await opened.enter_async_context(stage.orchestrator())
        worker = await opened.enter_async_context(stage.worker(orchestrator))
        plan = OpenSipsPlan(
            pbx=stage.asterisk.sip,
            carrier="127.0.0.1:9",
            rtpengine=f"{stage.rtpengine.host}:{stage.rtpengine.port}",
            workers=(worker.addresses["sip"],),
        )
        opensips = await opened.enter_async_context(open_opensips(stage_lab, plan))
        yield House(stage, orchestrator, worker, opensips)


async def ended_calls(house: House) -> list[dict[str, object]]:
    calls = await house.stage.listed(f"http://{house.worker.addresses['admin']}/calls")
    return list(calls["ended"])


async def test_caller_and_bot_hear_each_other_and_nobody_hears_himself(house: House) -> None:
    diary = house.stage.diary(DEFAULT)
    async with open_caller() as caller:
        await house.dial(caller)
        bot_from = await until_hears(caller, BOT)
        await diary.wait_for_seconds_of("CUSTOMER", 2.0)
        assert caller.answered_ns is not None
        assert_never_alone(caller, caller.answered_ns, time.time_ns())
        assert share([p for p in caller.heard if p.arrival_ns >= bot_from], BOT) == 1.0
    assert hears_only(diary.tones_of("CUSTOMER"), CALLER)
    assert diary.tones_of("PBX") == []
    await house.stage.wait_empty(house.orchestrator, house.worker)


async def test_every_one_of_many_calls_in_a_row_is_recorded_and_answered(house: House) -> None:
    """OpenSIPS loses a fork whose 200 comes too soon: none of these may be lost."""
    diary = house.stage.diary(DEFAULT)
    recorded_before = len(await ended_calls(house))
    for _ in range(CALLS_IN_A_ROW):
        async with open_caller() as caller:
            await house.dial(caller)
            await until_hears(caller, BOT)
            await caller.hang_up()
        await house.stage.wait_empty(house.orchestrator, house.worker)
    assert len(await ended_calls(house)) - recorded_before == CALLS_IN_A_ROW
    assert len(diary.of("open")) == CALLS_IN_A_ROW
    assert [line["reason"] for line in diary.of("close")] == ["CALL_ENDED"] * CALLS_IN_A_ROW


async def test_a_caller_who_gives_up_at_once_leaves_nothing_behind(house: House) -> None:
    """The BYE overtakes the fork's own beginning."""
    for _ in range(3):
        async with open_caller() as caller:
            await house.dial(caller)
            await caller.hang_up()
    await asyncio.sleep(0.5)
    await house.stage.wait_empty(house.orchestrator, house.worker)
