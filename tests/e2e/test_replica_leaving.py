"""A replica is told to end (a rolling update): another one has its calls at once."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

import pytest
from voicefork.handoff.v1 import handoff_pb2 as pb

from tests.e2e.ears import AGENT, BOT, until_hears
from tests.e2e.replicas import Company, a_pair, assert_never_alone, company, connected
from tests.e2e.switchboard import asking

pytestmark = pytest.mark.asyncio(loop_scope="module")

__all__ = ["company"]  # the fixture

EXIT_SECONDS = 20.0


async def test_three_calls_go_on_at_the_other_replica(company: Company) -> None:
    async with a_pair(company) as pair, AsyncExitStack() as calling:
        pair.board.behave(ring_seconds=0.5)
        talks, rings, speaks = [
            await calling.enter_async_context(pair.board.calling()) for _ in range(3)
        ]
        talking = await talks.escalate_by_service(asking())
        await connected(talks, talking)
        pair.board.behave("agent-2", ring_seconds=3.0)
        ringing = await rings.escalate_by_service(asking(intent="two"))
        await ringing.until(pb.PHASE_RINGING)
        speaks.escalated_ns = time.time_ns()
        await pair.end(talks, rings, speaks)
        async with asyncio.timeout(EXIT_SECONDS):
            await pair.active.program.wait()
        assert pair.active.program.exit_code == 0
        final = await ringing.final()
        assert (final.phase, final.outcome) == (pb.PHASE_CONNECTED, pb.OUTCOME_CONNECTED)
        await until_hears(rings.caller, AGENT)
        await until_hears(talks.caller, AGENT)
        await until_hears(speaks.caller, BOT)
        for scene in (talks, rings, speaks):
            await assert_never_alone(scene)
        assert [len(talks.calls_to()), len(rings.calls_to("agent-2"))] == [1, 1]
        later = await speaks.escalate(asking())
        assert (await later.final()).outcome == pb.OUTCOME_CONNECTED
        await until_hears(speaks.caller, AGENT)
        await assert_never_alone(speaks)
        for scene in (talks, rings, speaks):  # each scene wants nothing left when it ends
            await scene.caller.hang_up()
            await scene.control.hang_up()


async def test_an_agent_who_is_briefed_meanwhile_accepts_at_the_other_replica(
    company: Company,
) -> None:
    async with a_pair(company) as pair, pair.board.calling() as scene:
        pair.board.behave(ring_seconds=0.0)
        watch = await scene.escalate_by_service(asking(intent="key"))
        await watch.until(pb.PHASE_ANSWERED)
        await pair.end(scene)
        await scene.calls_to()[0].press("1")
        await connected(scene, watch)


@pytest.mark.parametrize("milliseconds", [0, 20, 40])
async def test_a_merge_is_finished_by_the_other_replica(
    company: Company, milliseconds: int
) -> None:
    async with a_pair(company) as pair, pair.board.calling() as scene:
        pair.board.behave(ring_seconds=0.5)
        watch = await scene.escalate_by_service(asking())
        await scene.until_answered()
        await asyncio.sleep(milliseconds / 1000)
        await pair.end(scene)
        await connected(scene, watch)
