"""A hosted bot's REFER that Asterisk does itself, with and without an orchestrator."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from voicefork_cli.lab.processes import Lab
from voicefork_cli.sim.phone import Behaviour

from tests.e2e.ears import AGENT, BOT, MUSIC, until_hears
from tests.e2e.hosted import DIALPLAN, STASIS, House, assert_seamless, open_house, order, told

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(stage_lab: Lab) -> AsyncIterator[House]:
    async with open_house(stage_lab, "core") as house:
        yield house


async def test_asterisk_itself_does_it_in_the_orchestrators_bridge(house: House) -> None:
    house.agent.behaviour = Behaviour(ring_seconds=0.8)
    async with house.talking(STASIS) as (caller, bot):
        begun = time.time_ns()
        assert await bot.refer(house.uri("voicefork")) == 202
        await until_hears(caller, AGENT)
        await told(bot, 200)
        assert order(caller)[-3:] == [{BOT}, {MUSIC}, {AGENT}]
        assert_seamless(caller, begun)


async def test_it_works_without_an_orchestrator(house: House) -> None:
    house.agent.behaviour = Behaviour(ring_seconds=0.8)
    async with house.talking(DIALPLAN) as (caller, bot):
        begun = time.time_ns()
        assert await bot.refer(house.uri("voicefork")) == 202
        await until_hears(caller, AGENT)
        assert order(caller)[-3:] == [{BOT}, {MUSIC}, {AGENT}]
        assert_seamless(caller, begun)
