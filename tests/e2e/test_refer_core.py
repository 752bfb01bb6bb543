"""A hosted bot's REFER that Asterisk does itself, with and without an orchestrator."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import pytest_asyncio
from voicefork_cli.lab.processes import Lab
from voicefork_cli.sim.phone import Behaviour

from tests.e2e.ears import AGENT, BOT, INTRO, MUSIC, until_hears
from tests.e2e.hosted import (
    DIALPLAN,
    SOON,
    STASIS,
    House,
    assert_seamless,
    open_house,
    order,
    told,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def ask(house: House, method: str, path: str) -> None:
    """What another application than ours may ask of ARI."""
    url, headers = f"{house.stage.asterisk.ari_url}/{path}", house.stage.asterisk.authorization
    async with house.stage.session.request(method, url, headers=headers) as response:
        assert response.ok, await response.text()


async def legs_of(house: House) -> dict[str, str]:
    """The dialplan application of each channel but the bot's, which ends when the bot says so.

    Of a Local channel: of the half in the dialplan.
    """
    found = {
        each["name"].removesuffix(";2").rsplit("-", 1)[0]: str(each["dialplan"]["app_name"])
        for each in await house.stage.ari("channels")
        if not each["name"].endswith(";1")
    }
    return {name: found[name] for name in found if not name.startswith("PJSIP/bot")}


async def until(house: House, holds: Callable[[Mapping[str, str]], bool]) -> None:
    """Waits until it holds of the legs."""
    async with asyncio.timeout(SOON):
        while not holds(await legs_of(house)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


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


async def test_the_caller_themselves_is_in_the_queue(house: House) -> None:
    house.agent.behaviour = Behaviour(ring_seconds=0.3)
    async with house.talking(STASIS) as (caller, bot):
        assert await bot.refer(house.uri("voicefork")) == 202
        await until_hears(caller, AGENT)
        talking = {"PJSIP/agent-1": "AppQueue", "PJSIP/carrier": "Queue"}
        await until(house, lambda legs: legs == talking)
        call_id = house.edge.calls[caller.call_id].voicefork_call
    assert house.agent.calls[-1].invite.get("X-Voicefork-Call") == call_id


async def test_a_queue_that_gives_up_leaves_nobody_in_silence(house: House) -> None:
    house.agent.behaviour = Behaviour(status=None)
    async with house.talking(STASIS) as (_, bot):
        found = {each["name"]: each["id"] for each in await house.stage.ari("channels")}
        (carrier,) = [found[name] for name in found if name.startswith("PJSIP/carrier")]
        set_limit = f"channels/{carrier}/variable?variable=VOICEFORK_QUEUE_SECONDS&value=1"
        await ask(house, "POST", set_limit)
        assert await bot.refer(house.uri("voicefork")) == 202
        await until(house, lambda legs: legs == {"PJSIP/carrier": "Playback"})


async def test_with_more_in_the_bridge_a_local_channel_waits_for_them(house: House) -> None:
    house.agent.behaviour = Behaviour(ring_seconds=0.3)
    async with house.talking(STASIS) as (caller, bot):
        (bridge,) = await house.stage.ari("bridges")
        await ask(house, "POST", f"bridges/{bridge['id']}/play/announced?media=tone:{INTRO}/20000")
        async with asyncio.timeout(SOON):
            while {BOT, INTRO} not in order(caller):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert await bot.refer(house.uri("voicefork")) == 202
        await until(house, lambda legs: "Queue" in legs.values())
        assert (await legs_of(house))["PJSIP/carrier"] == "Stasis"
        await ask(house, "DELETE", "playbacks/announced")
        await until_hears(caller, AGENT)


async def test_it_works_without_an_orchestrator(house: House) -> None:
    house.agent.behaviour = Behaviour(ring_seconds=0.8)
    async with house.talking(DIALPLAN) as (caller, bot):
        begun = time.time_ns()
        assert await bot.refer(house.uri("voicefork")) == 202
        await until_hears(caller, AGENT)
        assert order(caller)[-3:] == [{BOT}, {MUSIC}, {AGENT}]
        assert_seamless(caller, begun)
