"""Replicas whose surroundings fail: websocket, Redis, worker, Asterisk; and phones that ring on."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import AsyncExitStack, suppress
from typing import Any

import grpc
import pytest
from redis.asyncio import Redis as RedisClient
from voicefork.handoff.v1 import handoff_pb2 as pb

from tests.e2e.ears import MUSIC, until_hears
from tests.e2e.replicas import (
    Company,
    Pair,
    a_pair,
    assert_never_alone,
    company,
    connected,
)
from tests.e2e.switchboard import TENANT, asking
from tests.e2e.watch import Handoffs
from tests.integration.orchestrator.relay import open_relay

pytestmark = [pytest.mark.alone, pytest.mark.asyncio(loop_scope="module")]

__all__ = ["company"]  # the fixture

SOON = 20.0


async def holders(pair: Pair) -> dict[str, list[str]]:
    """Whose calls are whose."""
    stage = pair.board.stage
    return {
        name: [str(call["call_id"]) for call in await stage.calls_of_orchestrator(replica)]
        for name, replica in (("active", pair.active), ("heir", pair.heir))
    }


async def test_a_websocket_that_breaks_gives_no_call_to_the_other_replica(
    company: Company,
) -> None:
    async with (
        open_relay(company.stage.asterisk.http_url) as relay,
        a_pair(company, ari_url=relay.url) as pair,
        pair.board.calling() as scene,
    ):
        pair.board.behave(ring_seconds=3.0)
        watch = await scene.escalate_by_service(asking())
        await watch.until(pb.PHASE_RINGING)
        relay.cut()
        await asyncio.sleep(1.0)
        relay.mend()
        await connected(scene, watch)
        assert await holders(pair) == {"active": [scene.call_id], "heir": []}


async def test_a_caller_who_hangs_up_while_the_websocket_is_away_is_missed_by_nobody(
    company: Company,
) -> None:
    async with (
        open_relay(company.stage.asterisk.http_url) as relay,
        a_pair(company, ari_url=relay.url) as pair,
        pair.board.calling() as scene,
    ):
        pair.board.behave(status=None)
        watch = await scene.escalate_by_service(asking())
        await watch.until(pb.PHASE_RINGING)
        relay.cut()
        await scene.caller.hang_up()
        await asyncio.sleep(0.5)
        relay.mend()
        assert (await watch.final()).outcome == pb.OUTCOME_CALLER_HUNG_UP
        async with asyncio.timeout(SOON):
            while await holders(pair) != {"active": [], "heir": []}:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def test_a_redis_that_forgot_everything_costs_no_handoff(company: Company) -> None:
    async with a_pair(company) as pair, pair.board.calling() as scene:
        pair.board.behave(ring_seconds=6.0)
        watch = await scene.escalate_by_service(asking())
        await watch.until(pb.PHASE_RINGING)
        await company.stage.forget()
        await written_again(company, watch.handoff_id)
        await asyncio.sleep(2.5)  # the heir trusts its Redis again
        await pair.kill(scene)
        await connected(scene, watch)


async def written_again(company: Company, handoff_id: str) -> None:
    store: Any = RedisClient.from_url(company.stage.redis.url, protocol=2)
    async with asyncio.timeout(SOON), store:
        while not await store.exists(f"voicefork:v1:{TENANT}:handoff:{handoff_id}"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_replica_that_dies_with_redis_memory_leaves_no_caller_alone(
    company: Company,
) -> None:
    async with a_pair(company) as pair, pair.board.calling() as scene:
        scene.escalated_ns = time.time_ns()
        pair.active.program.signal(signal.SIGKILL)
        await company.stage.forget()
        await until_hears(scene.caller, MUSIC)  # nobody knows who had their bot
        await company.stage.wait_in_queue()
        await assert_never_alone(scene)


async def holders_of(replica: Any, pair: Pair) -> list[str]:
    calls = await pair.board.stage.calls_of_orchestrator(replica)
    return [str(call["call_id"]) for call in calls]


async def test_a_worker_that_dies_during_an_adopted_handoff_costs_no_handoff(
    company: Company,
) -> None:
    async with a_pair(company) as pair, pair.board.calling() as scene:
        pair.board.behave(ring_seconds=5.0)
        watch = await scene.escalate_by_service(asking())
        await watch.until(pb.PHASE_RINGING)
        await pair.kill(scene)
        worker, pair.board.worker = pair.board.worker, None  # type: ignore[assignment]
        worker.program.signal(signal.SIGKILL)
        await connected(scene, watch)
        await scene.caller.hang_up()
        async with asyncio.timeout(SOON):
            while await holders_of(pair.heir, pair):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await company.stage.forget()  # the dead worker's half of the call


async def place(address: str, request_id: str) -> str:
    async with grpc.aio.insecure_channel(address) as channel:
        request = pb.PlaceCallRequest(request_id=request_id, to="+14155550123")
        answer: Any = Handoffs(channel).PlaceCall(request)
        return str((await answer).call_id)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "told to end"])
async def test_a_placed_call_rings_on_and_is_answered_at_the_heir(
    company: Company, end: signal.Signals
) -> None:
    async with a_pair(company) as pair:
        phone, request_id = company.phones["agent-2"], f"p-{time.time_ns()}"
        before = len(phone.calls)
        pair.board.behave("agent-2", ring_seconds=4.0)
        async with asyncio.TaskGroup() as work:
            first = work.create_task(lost(place(pair.address, request_id)))
            while len(phone.calls) == before:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            pair.active.program.signal(end)
            await first
        async with asyncio.timeout(SOON):
            call_id = await place(pair.heir.addresses["grpc"], request_id)
        assert await place(pair.heir.addresses["grpc"], request_id) == call_id
        assert len(phone.calls) == before + 1
        async with asyncio.timeout(SOON):
            while await holders_of(pair.heir, pair) != [call_id]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await phone.calls[-1].hang_up()


async def lost(asked: Any) -> None:
    with suppress(grpc.aio.AioRpcError):
        await asked


async def test_a_node_that_restarts_ends_its_calls_and_leaves_nothing(company: Company) -> None:
    stage, asterisk = company.stage, company.stage.asterisk
    async with AsyncExitStack() as again, a_pair(company) as pair:
        with suppress(BaseExceptionGroup, AssertionError, TimeoutError):  # everybody is cut off
            async with pair.board.calling() as scene:
                pair.board.behave(status=None)
                watch = await scene.escalate_by_service(asking())
                await watch.until(pb.PHASE_RINGING)
                asterisk.program.signal(signal.SIGKILL)
                await asterisk.program.wait()
                argv = [asterisk.installation.binary, "-C", asterisk.etc / "asterisk.conf", "-fn"]
                await again.enter_async_context(stage.lab.program("asterisk-again", argv))
                final = await watch.final()
        assert final.phase == pb.PHASE_FAILED
        assert final.outcome in {pb.OUTCOME_PBX_UNREACHABLE, pb.OUTCOME_CALLER_HUNG_UP}
        await stage.wait_empty(pair.active)
        store: Any = RedisClient.from_url(stage.redis.url, protocol=2)
        async with asyncio.timeout(SOON), store:
            while await keys_of_calls(store):  # noqa: ASYNC110
                await asyncio.sleep(0.1)


async def keys_of_calls(store: Any) -> list[bytes]:
    patterns = ("calls:*", "owner:*", "placing:*", "*:caller-of:*")
    return [key for each in patterns for key in await store.keys(f"voicefork:v1:{each}")]
