"""Handoffs whose people hang up at the worst moment, or whose Redis stands still.

Every step at which a caller may hang up is in test_caller_leaves.py.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
import pytest_asyncio
from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork_cli.lab.processes import Lab

from tests.e2e.ears import AGENT, until_hears
from tests.e2e.switchboard import Scene, Switchboard, asking, open_switchboard

pytestmark = pytest.mark.asyncio(loop_scope="module")

GONE_SECONDS = 10.0
RULES = {
    "default": {"targets": ["PJSIP/agent-1"], "ring_seconds": 6},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def board(stage_lab: Lab) -> AsyncIterator[Switchboard]:
    async with open_switchboard(stage_lab, RULES) as board:
        yield board


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
        scene.assert_never_alone()
        assert (await watch.settled()).outcome == pb.OUTCOME_CONNECTED
        await scene.until_stands(["PJSIP/agent-1", "PJSIP/carrier"], ["mix"])
        await until_published(scene)


async def until_published(scene: Scene) -> None:
    """Late, but not lost."""
    async with asyncio.timeout(GONE_SECONDS):
        while not await scene.board.contexts(scene.call_id):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
