"""Two replicas at a node without Stasis: one drives it, and when it dies the other goes on."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork_cli.lab.ours import Service
from voicefork_cli.lab.processes import open_lab
from voicefork_cli.sim.caller import CarrierCaller
from voicefork_cli.sim.phone import Behaviour

from tests.e2e.ears import AGENT, until_hears
from tests.e2e.hosted import (
    AMI,
    SOON,
    House,
    an_impatient_queue,
    assert_seamless,
    open_house,
)
from tests.e2e.old_asterisk import GENERATIONS, generation
from tests.e2e.watch import Watch

ADOPTED_SECONDS = 3.0


@pytest.fixture(params=GENERATIONS)
async def house(request: pytest.FixtureRequest) -> AsyncIterator[House]:
    """Of each test its own: its driver may be killed."""
    installation = generation(request.param)
    async with (
        open_lab() as lab,
        open_house(lab, "core", name=request.param, installation=installation, heir=True) as house,
    ):
        yield house


async def call_at(house: House, orchestrator: Service | None) -> str:
    """The one call, once that replica has it and hears its bot."""
    assert orchestrator is not None
    async with asyncio.timeout(SOON):
        while True:
            calls = await house.stage.calls_of_orchestrator(orchestrator)
            if calls and calls[0]["state"] == "talking":
                return str(calls[0]["call_id"])
            await asyncio.sleep(0.02)


@asynccontextmanager
async def escalated(house: House, call_id: str, intent: str = "") -> AsyncIterator[Watch]:
    """Asked for, and followed, at the replica that does not drive the node at first."""
    request_id = f"r-{time.time_ns()}"
    request = pb.EscalateRequest(request_id=request_id, call_id=call_id, intent=intent)
    answer: Any = house.service.Escalate(request)
    watch = Watch((await answer).handoff.handoff_id)
    async with asyncio.TaskGroup() as work:
        work.create_task(watch.follow(house.service))
        yield watch


async def killed(house: House) -> None:
    """kill -9 of the one that drives the node."""
    house.orchestrator.program.signal(signal.SIGKILL)
    await house.orchestrator.program.wait()
    assert house.heir is not None
    house.orchestrator = house.heir


async def connected(caller: CarrierCaller, watch: Watch, begun: int) -> None:
    await until_hears(caller, AGENT)
    final = await watch.final()
    assert (final.phase, final.outcome) == (pb.PHASE_CONNECTED, pb.OUTCOME_CONNECTED)
    assert_seamless(caller, begun)


async def test_one_of_two_drives_the_node_and_either_is_asked(house: House) -> None:
    house.agent.behaviour = Behaviour(ring_seconds=0.3)
    async with house.talking(AMI) as (caller, _):
        begun = time.time_ns()
        call_id = await call_at(house, house.orchestrator)
        assert house.heir is not None
        assert not await house.stage.calls_of_orchestrator(house.heir)
        async with escalated(house, call_id) as watch:
            await connected(caller, watch, begun)
        assert len(house.agent.calls) == 1


async def test_the_heir_knows_the_calls_of_who_died_and_hands_them_over(house: House) -> None:
    house.agent.behaviour = Behaviour(ring_seconds=0.3)
    async with house.talking(AMI) as (caller, _):
        begun = time.time_ns()
        call_id = await call_at(house, house.orchestrator)
        await killed(house)
        async with asyncio.timeout(ADOPTED_SECONDS):
            assert await call_at(house, house.heir) == call_id
        async with escalated(house, call_id) as watch:
            await connected(caller, watch, begun)


@pytest.mark.parametrize("ring_seconds", [0.5, 6.0])
async def test_who_dies_while_the_queue_has_the_caller_leaves_no_handoff_open(
    house: House, ring_seconds: float
) -> None:
    """The agent answers before the heir is there, or after."""
    house.agent.behaviour = Behaviour(ring_seconds=ring_seconds)
    async with house.talking(AMI) as (caller, _):
        begun = time.time_ns()
        call_id = await call_at(house, house.orchestrator)
        async with escalated(house, call_id) as watch:
            await house.agent.next_call()
            await killed(house)
            await connected(caller, watch, begun)
        await house.stage.forget()  # the dead one's half of the rendezvous


async def test_a_queue_that_gives_up_while_nobody_listens_is_heard_by_the_heir(
    house: House,
) -> None:
    house.agent.behaviour = Behaviour(status=None)
    async with an_impatient_queue(house, 1), house.talking(AMI):
        call_id = await call_at(house, house.orchestrator)
        async with escalated(house, call_id, intent="mailbox") as watch:
            await house.agent.next_call()
            await killed(house)
            await given_up(house)
            assert not await house.stage.calls_of_orchestrator(house.orchestrator)
            await watch.because_of(pb.OUTCOME_NO_ANSWER)
            final = await watch.final()
        assert (final.phase, final.outcome) == (pb.PHASE_QUEUED, pb.OUTCOME_VOICEMAIL)
        await house.stage.forget()  # the dead one's half of the rendezvous


async def given_up(house: House) -> None:
    """The dialplan has told it, and plays music."""
    async with asyncio.timeout(SOON):
        while True:
            shown = await house.stage.asterisk.cli("core show channels concise")
            if "!voicefork-queue-ended!" in shown:
                return
            await asyncio.sleep(0.02)


async def test_who_dies_while_the_backup_centre_rings_has_called_it_once(house: House) -> None:
    """It answers before the heir is there."""
    house.agent.behaviour = Behaviour(status=None)
    house.centre.behaviour = Behaviour(ring_seconds=0.6)
    async with an_impatient_queue(house, 1), house.talking(AMI) as (caller, _):
        begun = time.time_ns()
        call_id = await call_at(house, house.orchestrator)
        async with escalated(house, call_id, intent="backup") as watch:
            await house.centre.next_call()
            await killed(house)
            await until_hears(caller, AGENT)
            assert (await watch.final()).outcome == pb.OUTCOME_BACKUP_CENTRE
            assert_seamless(caller, begun)
        assert len(house.centre.calls) == 1
        await house.stage.forget()  # the dead one's half of the rendezvous


async def test_who_alone_has_no_redis_leaves_the_caller_to_its_successor(house: House) -> None:
    """Both hear that the queue gives up."""
    assert house.to_redis is not None
    assert house.heir is not None
    house.agent.behaviour = Behaviour(status=None)
    house.centre.behaviour = Behaviour(ring_seconds=0.3)
    async with an_impatient_queue(house, 4), house.talking(AMI) as (caller, _):
        begun = time.time_ns()
        call_id = await call_at(house, house.orchestrator)
        async with escalated(house, call_id, intent="backup") as watch:
            await house.agent.next_call()
            house.to_redis.cut()
            await drives(house, house.heir)
            assert (await watch.final()).outcome == pb.OUTCOME_BACKUP_CENTRE
            await until_hears(caller, AGENT)
            assert_seamless(caller, begun)
        assert len(house.centre.calls) == 1
        assert "left to another replica" in house.orchestrator.program.log_text()
        house.to_redis.mend()
        await house.stage.forget()  # its half of the rendezvous


async def drives(house: House, orchestrator: Service) -> None:
    """The node."""
    async with asyncio.timeout(SOON):
        while "this replica drives the node" not in orchestrator.program.log_text():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_replica_that_leaves_gives_the_node_away_at_once(house: House) -> None:
    async with house.talking(AMI):
        call_id = await call_at(house, house.orchestrator)
        house.orchestrator.program.signal(signal.SIGTERM)
        async with asyncio.timeout(ADOPTED_SECONDS):
            assert await call_at(house, house.heir) == call_id
        assert house.heir is not None
        house.orchestrator = house.heir
