"""The recording of a caller whose bot is a phone of the PBX: by REFER and by AMI."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork_cli.lab.processes import Lab
from voicefork_cli.sim.phone import Behaviour

from tests.e2e.ears import AGENT, BOT, MUSIC, until_hears
from tests.e2e.hosted import AMI, BOT_SEQUENCE, STASIS, House, open_house
from tests.e2e.recordings import assert_whole, read_recording
from tests.e2e.test_ami_control import handed_over

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECONDS_OF_EACH = 1.0
ACCEPTED = 202
AHEAD, BEHIND = BOT_SEQUENCE + 1_000, BOT_SEQUENCE - 1_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(stage_lab: Lab) -> AsyncIterator[House]:
    async with open_house(stage_lab, "ari", name="asterisk-ari", record=True) as house:
        yield house


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def core_house(stage_lab: Lab) -> AsyncIterator[House]:
    async with open_house(stage_lab, "core", name="asterisk-core", record=True) as house:
        yield house


async def assert_recorded(house: House, number: str, sequence: int) -> None:
    """Of a call whose agent's RTP begins with `sequence`."""
    house.agent.behaviour = Behaviour(ring_seconds=SECONDS_OF_EACH, first_sequence=sequence)
    async with house.talking(number) as (caller, bot):
        await asyncio.sleep(SECONDS_OF_EACH)
        if number == AMI:
            await handed_over(house, pb.PATTERN_DIALPLAN)
        else:
            assert await bot.refer(house.uri("voicefork")) == ACCEPTED
        await until_hears(caller, AGENT)
        await asyncio.sleep(SECONDS_OF_EACH)
        call_id = house.edge.calls[caller.call_id].voicefork_call
    pcm = await read_recording(house.stage.asterisk.spool, call_id)
    assert_whole(pcm, caller, [BOT, MUSIC, AGENT])


@pytest.mark.parametrize("sequence", [AHEAD, BEHIND])
@pytest.mark.parametrize("number", [STASIS, AMI], ids=["refer", "ami"])
async def test_one_file_holds_every_voice_where_the_caller_heard_it(
    house: House, number: str, sequence: int
) -> None:
    await assert_recorded(house, number, sequence)


@pytest.mark.parametrize("sequence", [AHEAD, BEHIND])
async def test_a_refer_that_asterisk_does_itself_is_in_it_too(
    core_house: House, sequence: int
) -> None:
    await assert_recorded(core_house, STASIS, sequence)
