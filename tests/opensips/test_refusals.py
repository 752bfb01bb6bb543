"""A fork that OpenSIPS itself cannot move: its rtpengine has forgotten the call."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack

import pytest
from redis.asyncio import Redis as RedisClient
from voicefork_cli.lab.opensips import OpenSipsPlan
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.rtpengine import open_rtpengine
from voicefork_cli.sim.caller import open_caller
from voicefork_cli.sim.phone import AgentPhone
from voicefork_cli.sim.source import Tone

from tests.builders.moving_forks import TONE_HZ, until
from tests.opensips.conftest import where
from tests.opensips.house import open_house

RELAY_BACK_SECONDS = 14  # OpenSIPS asks a failed engine again after ten


@pytest.mark.timeout(120)
async def test_a_fork_without_audio_stays_and_the_others_of_the_edge_move(
    lab: Lab, pbx: AgentPhone
) -> None:
    async with AsyncExitStack() as opened:
        relay = await opened.enter_async_context(open_rtpengine(lab, rtp_ports=200))
        address = f"{relay.host}:{relay.port}"
        plan = OpenSipsPlan(pbx=where(pbx), carrier="127.0.0.1:9", rtpengine=address, workers=())
        house = await opened.enter_async_context(open_house(lab, plan, ("first",)))
        (first,) = house.workers

        async def call() -> None:
            caller = await opened.enter_async_context(open_caller())
            await caller.dial(f"sip:+14155550100@{house.edge.sip}", Tone(TONE_HZ))

        await call()
        await house.until(first, 1, 5)
        relay.program.signal(signal.SIGKILL)
        await relay.program.wait()
        await opened.enter_async_context(open_rtpengine(lab, rtp_ports=200, port=relay.port))
        await asyncio.sleep(RELAY_BACK_SECONDS)
        await call()
        await house.until(first, 2, 5)
        second = await house.add_worker("second")
        await asyncio.sleep(1.5)  # it beats, and the call is stored
        first.program.signal(signal.SIGTERM)

        async def moved() -> bool:
            return any(packets > 50 for packets in (await house.live(second)).values())

        await until(moved, 15)
        assert "488 to our re-INVITE" in first.program.log_text()

        async def forgotten() -> bool:
            async with RedisClient.from_url(house.redis.url, protocol=2) as client:
                return not await client.zcard("voicefork:pool:stays")

        await until(forgotten, 3)  # the edge is not held to follow no re-INVITE
