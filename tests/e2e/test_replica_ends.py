"""Replicas that stand still, come back, or die while somebody asks for a human."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status  # type: ignore[import-untyped]
from voicefork.handoff.v1 import handoff_pb2 as pb

from tests.e2e.ears import MUSIC, until_hears
from tests.e2e.replicas import (
    REPLACED,
    Company,
    a_pair,
    a_replica,
    assert_never_alone,
    company,
    connected,
)
from tests.e2e.switchboard import asking
from tests.e2e.watch import Handoffs

pytestmark = pytest.mark.asyncio(loop_scope="module")

__all__ = ["company"]  # the fixture


async def test_a_caller_on_the_way_to_the_queue_gets_there(company: Company) -> None:
    async with a_pair(company) as pair, pair.board.calling() as scene:
        pair.board.behave(status=None)
        watch = await scene.escalate_by_service(asking(pattern=pb.PATTERN_DIALPLAN))
        await pair.stop_for_good(scene)
        assert (await watch.final()).phase == pb.PHASE_QUEUED
        await pair.board.stage.wait_in_queue()
        await until_hears(scene.caller, MUSIC)
        await assert_never_alone(scene)


async def test_a_replica_that_only_stood_still_touches_nothing_when_it_wakes(
    company: Company,
) -> None:
    async with a_pair(company) as pair, pair.board.calling() as scene:
        pair.board.behave(ring_seconds=4.0)
        watch = await scene.escalate_by_service(asking())
        await watch.until(pb.PHASE_RINGING)
        pair.active.program.signal(signal.SIGSTOP)
        await pair.until_adopted(scene)
        pair.active.program.signal(signal.SIGCONT)
        await pair.active.program.wait()
        assert pair.active.program.exit_code == REPLACED
        await connected(scene, watch)


async def test_the_only_replica_goes_on_where_it_was_killed(company: Company) -> None:
    async with (
        a_pair(company, heirs=False) as pair,
        AsyncExitStack() as later,
        pair.board.calling() as scene,
    ):
        pair.board.behave(ring_seconds=6.0)
        scene.escalated_ns = time.time_ns()
        handoff = await scene.ask(asking())
        await scene.call_to()
        await asyncio.sleep(1.0)  # it rings, and that is written down
        pair.active.program.signal(signal.SIGKILL)
        await pair.active.program.wait()
        again = a_replica(company, "voicefork-0", pair.address)
        pair.board.orchestrator = await later.enter_async_context(again)
        await connected(scene, scene.watch(handoff.handoff_id))


async def test_two_escalations_at_two_replicas_make_one_handoff(company: Company) -> None:
    async with a_pair(company) as pair, pair.board.calling() as scene:
        request = asking()
        async with grpc.aio.insecure_channel(pair.active.addresses["grpc"]) as channel:
            asked = pb.EscalateRequest()
            asked.CopyFrom(request)
            asked.call_id = scene.call_id
            scene.escalated_ns = time.time_ns()
            answers: Any = [Handoffs(channel).Escalate(asked), pair.board.service.Escalate(asked)]
            first, second = await asyncio.gather(*answers)
        assert first.handoff.handoff_id == second.handoff.handoff_id
        await connected(scene, scene.watch(first.handoff.handoff_id))


async def test_the_refusal_of_another_replica_is_told_whole(company: Company) -> None:
    async with a_pair(company) as pair, pair.board.calling() as scene:
        nobody = pb.Target(endpoint="PJSIP/agent-9")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await scene.ask(asking(target=nobody))
        info = error_details_pb2.ErrorInfo()
        status = rpc_status.from_call(refused.value)
        assert status is not None
        assert status.details[0].Unpack(info)
        assert info.reason == "DESTINATION_NOT_ALLOWED"


async def test_a_human_is_asked_for_while_the_active_replica_dies(company: Company) -> None:
    async with a_pair(company) as pair, pair.board.calling() as scene:
        pair.active.program.signal(signal.SIGKILL)
        watch = await scene.escalate_by_service(asking())
        await connected(scene, watch)
