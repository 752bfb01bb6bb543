"""A hosted bot asks by REFER for its caller to go elsewhere: the orchestrator does it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from voicefork_cli.lab.processes import Lab
from voicefork_cli.sim.phone import Behaviour

from tests.e2e.ears import AGENT, BOT, MUSIC, until_hears
from tests.e2e.hosted import SOON, STASIS, House, assert_seamless, open_house, order, told

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(stage_lab: Lab) -> AsyncIterator[House]:
    async with open_house(stage_lab, "ari") as house:
        yield house


async def test_its_queue_takes_the_caller_and_the_bot_is_told(house: House) -> None:
    house.agent.behaviour = Behaviour(ring_seconds=0.8)
    async with house.talking(STASIS) as (caller, bot):
        begun = time.time_ns()
        assert await bot.refer(house.uri("voicefork")) == 202
        await told(bot, 200)
        await until_hears(caller, AGENT)
        assert order(caller)[-3:] == [{BOT}, {MUSIC}, {AGENT}]
        assert_seamless(caller, begun)
        async with asyncio.timeout(SOON):
            await bot.ended.wait()


async def test_whom_the_routes_do_not_name_they_choose_themselves(house: House) -> None:
    house.agent.behaviour = Behaviour(ring_seconds=0.5)
    async with house.talking(STASIS) as (caller, bot):
        begun = time.time_ns()
        assert await bot.refer(house.uri("sales")) == 202
        await until_hears(caller, AGENT)
        await told(bot, 200)
        assert order(caller)[-3:] == [{BOT}, {MUSIC}, {AGENT}]
        assert_seamless(caller, begun)
        assert house.agent.calls[-1].invite.get("X-Voicefork-Fork") == "no"


async def test_when_nobody_takes_the_caller_the_bot_has_them_again(house: House) -> None:
    house.agent.behaviour = Behaviour(ring_seconds=0.3, status=486)
    async with house.talking(STASIS) as (caller, bot):
        begun = time.time_ns()
        assert await bot.refer(house.uri("sales")) == 202
        await told(bot, 503)
        await until_hears(caller, BOT)
        assert order(caller)[-3:] == [{BOT}, {MUSIC}, {BOT}]
        assert_seamless(caller, begun)
        assert not bot.ended.is_set()


async def test_a_bot_that_hangs_up_ends_the_call(house: House) -> None:
    async with house.talking(STASIS) as (caller, bot):
        await bot.hang_up()
        async with asyncio.timeout(SOON):
            await caller.ended.wait()
