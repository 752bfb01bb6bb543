"""A handoff speaks to the worker of its call, also when the call is no longer ours."""

from __future__ import annotations

import asyncio

from orchestrator.fleet import events as on
from orchestrator.fleet.call import EnteredCall, ForkHalf, RtpAddress, Tenant
from orchestrator.fleet.handoffs import HandoffWorkers
from orchestrator.fleet.worker_control import open_worker_controls
from orchestrator.handoff.effects import Release
from orchestrator.model import CallId, HandoffId
from voicefork.worker.v1 import worker_pb2

from tests.fakes.worker_control import FakeWorker, open_fake_worker
from tests.unit.orchestrator.fleet.surroundings import Stage, open_stage

C1, H1 = CallId("c1"), HandoffId("h1")
CALL = EnteredCall(C1, Tenant("default"), "ch1", "ulaw")


def fork_of(worker: FakeWorker) -> ForkHalf:
    return ForkHalf(worker.worker_id, worker.control, RtpAddress(*worker.talkback))


async def gone_to_the_queue(stage: Stage) -> None:
    stage.calls.post(C1, on.CallerLeft())
    await stage.until_empty()


async def test_the_witness_of_a_caller_in_the_queue_gives_its_final_report() -> None:
    async with (
        open_fake_worker() as worker,
        open_stage(fork=fork_of(worker)) as stage,
        open_worker_controls("lab") as controls,
    ):
        workers = HandoffWorkers(stage.calls, controls)
        stage.calls.enter(CALL)
        await stage.workers.attached.get()
        watching = asyncio.ensure_future(anext(workers.watch(C1, H1)))
        await worker.wait_told(worker_pb2.StartWitnessRequest)
        await gone_to_the_queue(stage)
        assert (await workers.stop_watching(C1, H1)).final
        await watching


async def test_a_bot_whose_call_is_over_needs_no_farewell_from_the_handoff() -> None:
    async with (
        open_fake_worker() as worker,
        open_stage(fork=fork_of(worker)) as stage,
        open_worker_controls("lab") as controls,
    ):
        stage.calls.enter(CALL)
        await stage.workers.attached.get()
        await gone_to_the_queue(stage)
        await HandoffWorkers(stage.calls, controls).drop_bot(C1, Release.LEFT_BOT)
        assert not [told for told in worker.told if isinstance(told, worker_pb2.SetPartyRequest)]
