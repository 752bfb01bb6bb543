"""One file holds the whole call: bot, music, agents, whatever bridge the caller is in.

MixMonitor in the shipped dialplan, before Stasis(). Caller 440 Hz, bot 1000, music 350, agents 600
and 760. Builds that take a voice numbered below the last one for late packets are why numbers are
set: docs/decisions/0017.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from itertools import product

import pytest
import pytest_asyncio
from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork_cli.lab.processes import Lab
from voicefork_cli.sim.caller import Identity
from voicefork_cli.sim.referral import Referral
from voicefork_cli.sim.source import Tone

from tests.e2e.ears import AGENT, BOT, INTRO, MUSIC, until_hears
from tests.e2e.recordings import OTHER_AGENT, assert_whole, read_recording, voices_in
from tests.e2e.switchboard import FOUND_SECONDS, Scene, Switchboard, asking, open_switchboard
from tests.e2e.test_whisper import RULES, whispering

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECONDS_OF_EACH = 1.0
AHEAD, BEHIND = 1_000, -1_000
ACCEPTED = 202
DESK = "sip:desk@example.com"
FAR_AHEAD, FAR_BEHIND = 32_000, -32_000
ATTENDED, WHISPER, QUEUE = pb.PATTERN_ATTENDED, pb.PATTERN_WARM_WHISPER, pb.PATTERN_DIALPLAN


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def board(stage_lab: Lab) -> AsyncIterator[Switchboard]:
    async with open_switchboard(stage_lab, RULES, record=True) as board:
        await board.stage.asterisk.cli("queue add member PJSIP/agent-1 to voicefork")
        transfer = "desk,1,Dial(PJSIP/agent-2,30,m) into internal"
        await board.stage.asterisk.cli(f"dialplan add extension {transfer}")
        yield board


async def last_sequence(board: Switchboard, channel: str) -> int:
    """The number of the last RTP packet that Asterisk had of the bot."""
    asterisk = board.stage.asterisk
    names = [str(each["name"]) for each in await board.stage.ari("channels")]
    name = next(name for name in names if name.startswith(channel))
    bot = re.escape(name.removeprefix(channel).rpartition("-")[0])
    got = re.compile(rf"Got +RTP packet from +{bot} \(type \d+, seq (\d+)")

    async def sequence() -> int | None:
        found = got.findall(asterisk.program.log_text())
        return int(found[-1]) if found else None

    await asterisk.cli("rtp set debug on")
    try:
        return await asterisk.program.wait_until(sequence, FOUND_SECONDS)
    finally:
        await asterisk.cli("rtp set debug off")


def wish(pattern: pb.Pattern.ValueType) -> pb.EscalateRequest:
    if pattern == WHISPER:
        return whispering()
    if pattern == QUEUE:
        return asking(pattern=QUEUE, target=pb.Target(queue="voicefork"))
    return asking()


async def until_the_agent(
    board: Switchboard, scene: Scene, pattern: pb.Pattern.ValueType, ahead: int
) -> int:
    """The caller has talked with the bot and is handed over; the agent's first RTP number."""
    first = await last_sequence(board, "UnicastRTP/") + ahead
    board.behave(
        ring_seconds=SECONDS_OF_EACH, keys="1", keys_after_seconds=2.0, first_sequence=first
    )
    await asyncio.sleep(SECONDS_OF_EACH)  # of the bot
    await (await scene.escalate(wish(pattern))).final()
    await until_hears(scene.caller, AGENT)
    await asyncio.sleep(SECONDS_OF_EACH)
    return first


@pytest.mark.parametrize(
    ("pattern", "ahead"),
    [
        *product([WHISPER, QUEUE], [AHEAD, BEHIND]),
        *product([ATTENDED], [AHEAD, FAR_AHEAD, BEHIND, FAR_BEHIND]),
    ],
)
async def test_one_file_holds_every_voice_where_the_caller_heard_it(
    board: Switchboard, pattern: pb.Pattern.ValueType, ahead: int
) -> None:
    """`ahead`: where the agent's RTP sequence begins, seen from the bot's."""
    async with board.calling() as scene:
        await until_the_agent(board, scene, pattern, ahead)
    pcm = await read_recording(board.stage.asterisk.spool, scene.call_id)
    assert_whole(pcm, scene.caller, [BOT, MUSIC, AGENT])
    assert INTRO not in {voice.hz for voice in voices_in(pcm)}  # the briefing is not the caller's


async def test_it_does_not_matter_that_the_caller_has_another_codec(board: Switchboard) -> None:
    async with board.calling(Identity(codec="PCMA")) as scene:
        await until_the_agent(board, scene, QUEUE, BEHIND)
    pcm = await read_recording(board.stage.asterisk.spool, scene.call_id)
    assert_whole(pcm, scene.caller, [BOT, MUSIC, AGENT])


@pytest.mark.parametrize("ahead", [AHEAD, BEHIND])
async def test_a_second_agent_is_in_it_too(board: Switchboard, ahead: int) -> None:
    """The first agent transfers the caller (REFER). `ahead`: of the first agent's numbers."""
    async with board.calling() as scene:
        first = await until_the_agent(board, scene, QUEUE, AHEAD)
        board.behave(
            "agent-2",
            ring_seconds=SECONDS_OF_EACH,
            first_sequence=first + ahead,
            source=Tone(OTHER_AGENT),
        )
        (agent,) = scene.calls_to("agent-1")
        assert await agent.refer(f"sip:desk@{board.stage.asterisk.sip}") == ACCEPTED
        await until_hears(scene.caller, OTHER_AGENT)
        await asyncio.sleep(SECONDS_OF_EACH)
    pcm = await read_recording(board.stage.asterisk.spool, scene.call_id)
    assert_whole(pcm, scene.caller, [BOT, MUSIC, AGENT, MUSIC, OTHER_AGENT])


async def test_a_caller_whom_the_carrier_takes_back_is_in_it_to_the_end(board: Switchboard) -> None:
    async with board.calling() as scene:
        scene.caller.referral = Referral()
        asked = asking(pattern=pb.PATTERN_REFER, target=pb.Target(sip_uri=DESK))
        await asyncio.sleep(SECONDS_OF_EACH)
        await (await scene.escalate(asked)).final()
        await scene.caller.ended.wait()
    pcm = await read_recording(board.stage.asterisk.spool, scene.call_id)
    assert_whole(pcm, scene.caller, [BOT, MUSIC])
