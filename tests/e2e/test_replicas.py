"""A replica is killed at every phase of a handoff: the other one goes on."""

from __future__ import annotations

import asyncio
import time

import pytest
from voicefork.handoff.v1 import handoff_pb2 as pb

from tests.e2e.ears import AGENT, BOT, MUSIC, until_hears
from tests.e2e.replicas import (
    Company,
    a_pair,
    assert_never_alone,
    company,
    connected,
)
from tests.e2e.switchboard import asking

pytestmark = [pytest.mark.alone, pytest.mark.asyncio(loop_scope="module")]

__all__ = ["company"]  # the fixture

ENDED_SECONDS = 10.0


async def test_a_bot_goes_on_when_its_orchestrator_is_killed(company: Company) -> None:
    async with a_pair(company) as pair, pair.board.calling() as scene:
        scene.escalated_ns = time.time_ns()
        await pair.kill(scene)
        await until_hears(scene.caller, BOT)
        await assert_never_alone(scene)
        watch = await scene.escalate(asking())
        await connected(scene, watch)


@pytest.mark.parametrize(
    "phase",
    [pb.PHASE_CALLER_HELD, pb.PHASE_DIALLING, pb.PHASE_RINGING],
    ids=["held", "dialling", "ringing"],
)
async def test_an_agent_who_is_called_is_connected_by_the_heir(
    company: Company, phase: pb.Phase.ValueType
) -> None:
    async with a_pair(company) as pair, pair.board.calling() as scene:
        pair.board.behave(ring_seconds=4.0)
        watch = await scene.escalate_by_service(asking())
        await watch.until(phase)
        await pair.kill(scene)
        await until_hears(scene.caller, MUSIC)
        await connected(scene, watch)


async def test_an_agent_who_was_asked_for_the_key_is_connected_by_the_heir(
    company: Company,
) -> None:
    async with a_pair(company) as pair, pair.board.calling() as scene:
        pair.board.behave(ring_seconds=0.0)
        watch = await scene.escalate_by_service(asking(intent="key"))
        await watch.until(pb.PHASE_ANSWERED)
        await pair.kill(scene)
        await until_hears(scene.caller, MUSIC)
        await scene.calls_to()[0].press("1")
        await connected(scene, watch)


@pytest.mark.parametrize("milliseconds", [0, 5, 10, 20, 40])
async def test_a_merge_is_finished_by_the_heir(company: Company, milliseconds: int) -> None:
    async with a_pair(company) as pair, pair.board.calling() as scene:
        pair.board.behave(ring_seconds=0.5)
        watch = await scene.escalate_by_service(asking())
        await scene.until_answered()
        await asyncio.sleep(milliseconds / 1000)
        await pair.kill(scene)
        await connected(scene, watch)


@pytest.mark.parametrize("seconds", [0.3, 0.6, 0.9])
async def test_an_agent_who_answers_a_dead_replica_is_connected_by_the_heir(
    company: Company, seconds: float
) -> None:
    """The phone is in Stasis since before it rang: Asterisk keeps it although nobody listens."""
    async with a_pair(company) as pair, pair.board.calling() as scene:
        pair.board.behave(ring_seconds=1.0)
        watch = await scene.escalate_by_service(asking())
        await watch.until(pb.PHASE_RINGING)
        await asyncio.sleep(seconds)  # dead before the answer, adopted after it
        await pair.kill(scene)
        await connected(scene, watch)
        await scene.until_stands(["PJSIP/agent-1", "PJSIP/carrier"], ["mix"])


async def test_a_conversation_has_the_heir_to_end_it(company: Company) -> None:
    async with a_pair(company) as pair, pair.board.calling() as scene:
        pair.board.behave(ring_seconds=0.0)
        watch = await scene.escalate_by_service(asking())
        await watch.until(pb.PHASE_CONNECTED)
        await until_hears(scene.caller, AGENT)
        await pair.kill(scene)
        await assert_never_alone(scene)
        await scene.calls_to()[0].hang_up()
        async with asyncio.timeout(ENDED_SECONDS):
            await scene.caller.ended.wait()
