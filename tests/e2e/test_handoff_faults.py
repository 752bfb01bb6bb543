"""Handoffs whose caller hangs up at the worst moment, or whose Redis stands still."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
import pytest_asyncio
from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork_cli.lab.processes import Lab

from tests.e2e.ears import AGENT, INTRO, MUSIC, until_hears
from tests.e2e.switchboard import Scene, Switchboard, asking, open_switchboard
from tests.e2e.watch import Watch

pytestmark = pytest.mark.asyncio(loop_scope="module")

SWITCH_GAP_MS = 60.0
GONE_SECONDS = 1.0
RULES = {
    "default": {"targets": ["PJSIP/agent-1"], "ring_seconds": 6},
    "rules": [{"name": "key", "when": {"intent": ["key"]}, "accept_key": "1", "accept_seconds": 5}],
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def board(stage_lab: Lab) -> AsyncIterator[Switchboard]:
    async with open_switchboard(stage_lab, RULES) as board:
        yield board


async def assert_all_gone(scene: Scene, watch: Watch) -> None:
    """The caller has just hung up: told as such, the agent's phone silent, nothing left."""
    hung_up = time.monotonic()
    final = await watch.final()
    assert (final.phase, final.outcome) == (pb.PHASE_FAILED, pb.OUTCOME_CALLER_HUNG_UP)
    await scene.until_stands([], [])
    for call in scene.calls_to():
        async with asyncio.timeout(GONE_SECONDS):
            await call.ended.wait()
    assert time.monotonic() - hung_up < GONE_SECONDS
    # The call's own record and the agent's phone are looked at by the scene's end.


async def test_a_caller_who_hangs_up_during_the_last_phrase(board: Switchboard) -> None:
    board.behave(status=None)
    async with board.calling() as scene:
        await scene.puppet.say("goodbye", INTRO, 1000)
        watch = await scene.escalate(asking(), say_first="goodbye")
        await until_hears(scene.caller, INTRO)
        await scene.caller.hang_up()
        await assert_all_gone(scene, watch)


async def test_a_caller_who_hangs_up_the_moment_the_handoff_begins(board: Switchboard) -> None:
    async with board.calling() as scene:
        watch = await scene.escalate_by_service(asking())
        await scene.caller.hang_up()
        await assert_all_gone(scene, watch)


async def test_a_caller_who_hangs_up_while_the_phone_rings(board: Switchboard) -> None:
    board.behave(status=None)
    async with board.calling() as scene:
        watch = await scene.escalate(asking())
        await watch.until(pb.PHASE_RINGING)
        await until_hears(scene.caller, MUSIC)
        await scene.caller.hang_up()
        await assert_all_gone(scene, watch)
        assert scene.calls_to()[0].cancelled


async def test_a_caller_who_hangs_up_before_the_agent_presses_the_key(board: Switchboard) -> None:
    board.behave(ring_seconds=0.0)
    async with board.calling() as scene:
        watch = await scene.escalate(asking(intent="key"))
        await watch.until(pb.PHASE_ANSWERED)
        await scene.caller.hang_up()
        await assert_all_gone(scene, watch)


@pytest.mark.parametrize("milliseconds", [0, 3, 6, 10, 15])
async def test_a_caller_who_hangs_up_while_being_joined(
    board: Switchboard, milliseconds: int
) -> None:
    """Joining lasts about 10 ms: one of these hits each of its steps."""
    board.behave(ring_seconds=0.3)
    async with board.calling() as scene:
        watch = await scene.escalate(asking())
        await scene.until_answered()
        await asyncio.sleep(milliseconds / 1000)
        await scene.caller.hang_up()
        final = await watch.final()
        assert final.outcome in {pb.OUTCOME_CONNECTED, pb.OUTCOME_CALLER_HUNG_UP}
        async with asyncio.timeout(GONE_SECONDS):
            await scene.calls_to()[0].ended.wait()
        await scene.until_stands([], [])


async def test_a_caller_who_hangs_up_in_the_conversation(board: Switchboard) -> None:
    board.behave(ring_seconds=0.0)
    async with board.calling() as scene:
        watch = await scene.escalate(asking())
        await watch.until(pb.PHASE_CONNECTED)
        await until_hears(scene.caller, AGENT)
        await scene.caller.hang_up()
        await scene.until_stands([], [])
        assert scene.calls_to()[0].ended.is_set()


async def test_an_agent_who_hangs_up_in_the_conversation_ends_the_call(board: Switchboard) -> None:
    board.behave(ring_seconds=0.0)
    async with board.calling() as scene:
        watch = await scene.escalate(asking())
        await watch.until(pb.PHASE_CONNECTED)
        await until_hears(scene.caller, AGENT)
        await scene.calls_to()[0].hang_up()
        async with asyncio.timeout(GONE_SECONDS):
            await scene.caller.ended.wait()
        await scene.until_stands([], [])


@contextmanager
def redis_stopped(board: Switchboard) -> Iterator[None]:
    """It neither answers nor closes its connections."""
    program = board.stage.redis.program
    program.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        program.signal(signal.SIGCONT)


@pytest.mark.parametrize("when", ["before", "during"])
async def test_a_handoff_goes_on_while_redis_stands_still(board: Switchboard, when: str) -> None:
    board.behave(ring_seconds=0.5)
    async with board.calling() as scene:
        if when == "before":
            with redis_stopped(board):
                watch = await scene.escalate(asking())
                await watch.until(pb.PHASE_CONNECTED)
                await until_hears(scene.caller, AGENT)
        else:
            watch = await scene.escalate(asking())
            await watch.until(pb.PHASE_RINGING)
            with redis_stopped(board):
                await watch.until(pb.PHASE_CONNECTED)
                await until_hears(scene.caller, AGENT)
        now = time.time_ns()
        assert scene.heard(now).silent_ms == 0
        assert scene.gap_beyond_control_ms(now) <= SWITCH_GAP_MS
        assert (await watch.settled()).outcome == pb.OUTCOME_CONNECTED
        await scene.until_stands(["PJSIP/agent-1", "PJSIP/carrier"], ["mix"])
        await until_published(scene)


async def until_published(scene: Scene) -> None:
    """Late, but not lost."""
    async with asyncio.timeout(5.0):
        while not await scene.board.contexts(scene.call_id):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
