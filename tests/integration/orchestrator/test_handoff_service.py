"""HandoffService over gRPC, on a real Redis and a PBX in memory."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status  # type: ignore[import-untyped]
from orchestrator.api.desk import Desk, Listed, Stories
from orchestrator.api.handoff_service import HandoffService
from orchestrator.api.server import OPTIONS
from orchestrator.bus.handoff_store import RedisHandoffStore
from orchestrator.bus.outbox import Outbox
from orchestrator.bus.outcome_reports import RedisOutcomeReports
from orchestrator.bus.placed import RedisLedger
from orchestrator.bus.redis_stream import RedisStream
from orchestrator.fleet.placing import Dialling, Placing
from orchestrator.model import Queue, QueueState
from redis.asyncio import Redis
from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork.handoff.v1 import handoff_pb2_grpc

from tests.builders.handoffs import ALICE
from tests.builders.running import CALL, Lab, running
from tests.builders.virtual_time import LoopClock, eventually
from tests.fakes.handoff_ports import Counts
from tests.fakes.telephony import Phone

TENANT = "acme"
RINGS_ON = Phone(answers=False)


@dataclass
class Carrier:
    """Dials at once; `sip_status` 0 = answers."""

    sip_status: int = 0
    dialled: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.placing: Placing | None = None

    async def call_out(
        self,
        channel_id: str,
        endpoint: str,
        *,
        caller_id: str,
        ring_seconds: int,
        variables: Mapping[str, str],
    ) -> None:
        assert self.placing is not None
        self.dialled.append(endpoint)
        if self.sip_status:
            self.placing.ended(channel_id, self.sip_status, 0)
        else:
            self.placing.answered(channel_id)

    async def begin(self, channel_id: str) -> bool:
        return True

    async def hang_up(self, channel_id: str) -> None:
        pass


def desk_of(redis: Redis, carrier: Carrier, counted: list[bool]) -> Desk:
    dialling = Dialling("PJSIP/${EXT}@carrier", "voicefork-0")
    carrier.placing = Placing(
        carrier, RedisLedger(redis), dialling, lambda to, _: to.startswith("+1")
    )
    return Desk(
        targets=lambda _: (Listed(Queue("support"), languages=("en",)),),
        queues=lambda: {"support": QueueState("support", members=1, waiting=2)},
        reports=RedisOutcomeReports(redis),
        counted=counted.append,
        placer=carrier.placing,
        stories=Stories(),
    )


@dataclass
class Scene:
    lab: Lab
    stub: Any
    channel: grpc.aio.Channel
    redis: Redis
    carrier: Carrier
    counted: list[bool]

    def ask(self, request_id: str = "r1", **fields: Any) -> pb.EscalateRequest:
        story = pb.Context(summary="disputes a charge")
        story.slots["account"] = "4092"
        return pb.EscalateRequest(
            **{"request_id": request_id, "call_id": CALL, "context": story, **fields}
        )

    async def escalate(self, request_id: str = "r1", **fields: Any) -> pb.Handoff:
        response = await self.stub.Escalate(self.ask(request_id, **fields))
        handoff: pb.Handoff = response.handoff
        return handoff

    async def views(self, handoff: pb.Handoff, after: int = 0) -> list[pb.Handoff]:
        request = pb.WatchHandoffRequest(handoff_id=handoff.handoff_id, from_revision=after)
        return [response.handoff async for response in self.stub.WatchHandoff(request)]

    async def until(self, handoff: pb.Handoff, phase: int) -> None:
        request = pb.WatchHandoffRequest(handoff_id=handoff.handoff_id)
        watching = self.stub.WatchHandoff(request)
        async for response in watching:
            if response.handoff.phase == phase:
                watching.cancel()
                return


@asynccontextmanager
async def serving(redis_url: str, *, flush: bool = True) -> AsyncIterator[Scene]:
    redis: Redis = Redis.from_url(redis_url, protocol=2)
    store = RedisHandoffStore(redis, secrets.token_hex(4))
    outbox = Outbox(RedisStream(redis), LoopClock(), Counts())
    server = grpc.aio.server(options=OPTIONS)
    port = server.add_insecure_port("127.0.0.1:0")
    prefix = f"h{secrets.token_hex(4)}-"
    async with redis, running(store, outbox, prefix) as lab:
        if flush:
            await redis.flushall()
        carrier, counted = Carrier(), list[bool]()
        service = HandoffService(lab.registry, TENANT, desk_of(redis, carrier, counted))
        handoff_pb2_grpc.add_HandoffServiceServicer_to_server(service, server)
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                stub = handoff_pb2_grpc.HandoffServiceStub(channel)
                yield Scene(lab, stub, channel, redis, carrier, counted)
        finally:
            await server.stop(0)


@pytest.fixture
async def scene(redis_url: str) -> AsyncIterator[Scene]:
    async with serving(redis_url) as scene:
        yield scene


def reason(error: grpc.aio.AioRpcError) -> str:
    """ErrorInfo's, of domain voicefork."""
    info = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(_Answered(error))
    assert status is not None
    assert any(detail.Unpack(info) for detail in status.details)
    assert info.domain == "voicefork"
    found: str = info.reason
    return found


class _Answered:
    """What grpc_status reads of a failed call."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self._error = error

    def trailing_metadata(self) -> Any:
        return tuple(self._error.trailing_metadata() or ())

    def code(self) -> grpc.StatusCode:
        return self._error.code()

    def details(self) -> str:
        return self._error.details() or ""


async def refused(request: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await request
    return error.value


async def test_an_escalation_is_durable_before_it_is_answered(scene: Scene) -> None:
    handoff = await scene.escalate()
    assert handoff.phase == pb.PHASE_RECEIVED
    assert await scene.redis.exists(f"voicefork:v1:acme:handoff:{handoff.handoff_id}")


async def test_a_watcher_sees_every_revision_up_to_the_final_timing(scene: Scene) -> None:
    handoff = await scene.escalate()
    views = await scene.views(handoff)
    assert [seen.revision for seen in views] == list(range(1, len(views) + 1))
    assert views[-1].outcome == pb.OUTCOME_CONNECTED
    assert views[-1].timing.dead_air_ms == 20
    assert views[-1].target.endpoint == "PJSIP/alice"


async def test_a_handoff_that_is_over_is_watched_from_the_store(scene: Scene) -> None:
    handoff = await scene.escalate()
    first = await scene.views(handoff)
    scene.lab.pbx.caller_hangs_up(scene.lab.place)
    await eventually(lambda: not scene.lab.registry.in_progress(CALL))
    again = await scene.views(handoff)
    assert [seen.revision for seen in again] == [seen.revision for seen in first]


async def test_the_context_is_in_the_stream_before_the_merge(scene: Scene) -> None:
    await scene.views(await scene.escalate(intent="dispute"))
    stream = RedisStream(scene.redis)
    async with aclosing(stream.follow(TENANT, "0")) as following:
        _, envelope = await anext(following)
    assert (envelope.intent, envelope.context.summary) == ("dispute", "disputes a charge")


async def test_what_is_got_is_the_handoff_with_its_context(scene: Scene) -> None:
    handoff = await scene.escalate()
    for which in (
        pb.GetHandoffRequest(handoff_id=handoff.handoff_id),
        pb.GetHandoffRequest(call_id=CALL),
    ):
        got = await scene.stub.GetHandoff(which)
        assert got.handoff.handoff_id == handoff.handoff_id
        assert got.context.slots["account"] == "4092"


@pytest.mark.parametrize(
    "target",
    [
        pb.Target(sip_uri="sip:+900123456@premium.example"),
        pb.Target(extension="0900123456"),
        pb.Target(endpoint="PJSIP/900123456@trunk"),
        pb.Target(queue="anothers"),
    ],
)
async def test_somebody_whom_the_routes_do_not_name_is_not_dialled(
    scene: Scene, target: pb.Target
) -> None:
    error = await refused(scene.stub.Escalate(scene.ask(target=target)))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert reason(error) == "DESTINATION_NOT_ALLOWED"
    assert "destinations.allow" in str(error.details())
    assert not scene.lab.registry.in_progress(CALL)


async def test_the_same_request_gets_the_same_handoff(scene: Scene) -> None:
    first = await scene.escalate()
    assert (await scene.escalate()).handoff_id == first.handoff_id


async def test_a_new_process_knows_the_requests_of_the_old(redis_url: str) -> None:
    async with serving(redis_url) as scene:
        first = await scene.escalate()
    async with serving(redis_url, flush=False) as scene:
        assert (await scene.escalate()).handoff_id == first.handoff_id
        error = await refused(scene.stub.Escalate(scene.ask(reason="another")))
        assert error.code() is grpc.StatusCode.ALREADY_EXISTS


async def test_another_body_is_refused(scene: Scene) -> None:
    await scene.escalate()
    error = await refused(scene.stub.Escalate(scene.ask(reason="another")))
    assert error.code() is grpc.StatusCode.ALREADY_EXISTS
    assert reason(error) == "REQUEST_ID_REUSED"


async def test_a_second_handoff_is_aborted(scene: Scene) -> None:
    scene.lab.pbx.phones[ALICE] = RINGS_ON
    await scene.escalate()
    error = await refused(scene.stub.Escalate(scene.ask("r2")))
    assert error.code() is grpc.StatusCode.ABORTED
    assert reason(error) == "HANDOFF_IN_PROGRESS"


async def test_superseding_ends_the_first(scene: Scene) -> None:
    scene.lab.pbx.phones[ALICE] = RINGS_ON
    first = await scene.escalate()
    await scene.until(first, pb.PHASE_RINGING)
    await scene.escalate("r2", supersede=True)
    assert (await scene.views(first))[-1].outcome == pb.OUTCOME_SUPERSEDED


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"request_id": ""}, "request_id"),
        ({"call_id": ""}, "call_id"),
        ({"context": pb.Context(summary="x" * 2001)}, "context.summary"),
        ({"context": pb.Context(transcript_tail=[pb.TranscriptLine()] * 51)}, "transcript_tail"),
        ({"give_up_after": Duration(seconds=-1)}, "give_up_after"),
        ({"target": pb.Target(queue="")}, "target"),
    ],
)
async def test_a_wrong_field_is_named(scene: Scene, fields: Any, wrong: str) -> None:
    error = await refused(scene.stub.Escalate(scene.ask(**fields)))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert wrong in (error.details() or "")


async def test_a_call_that_is_not_here_is_not_found(scene: Scene) -> None:
    error = await refused(scene.stub.Escalate(scene.ask(call_id="elsewhere")))
    assert (error.code(), reason(error)) == (grpc.StatusCode.NOT_FOUND, "UNKNOWN_CALL")


async def test_a_handoff_that_never_was_is_not_found(scene: Scene) -> None:
    asked = (
        scene.stub.GetHandoff(pb.GetHandoffRequest(handoff_id="h")),
        scene.stub.CancelHandoff(pb.CancelHandoffRequest(handoff_id="h")),
        scene.stub.PatchContext(pb.PatchContextRequest(handoff_id="h")),
        scene.views(pb.Handoff(handoff_id="h")),
    )
    for request in asked:
        assert (await refused(request)).code() is grpc.StatusCode.NOT_FOUND


async def test_a_cancel_gives_the_caller_back_to_the_bot(scene: Scene) -> None:
    scene.lab.pbx.phones[ALICE] = RINGS_ON
    handoff = await scene.escalate()
    await scene.until(handoff, pb.PHASE_RINGING)
    await scene.stub.CancelHandoff(pb.CancelHandoffRequest(handoff_id=handoff.handoff_id))
    last = (await scene.views(handoff))[-1]
    assert (last.phase, last.outcome) == (pb.PHASE_CANCELLED, pb.OUTCOME_CANCELLED)


async def test_a_cancel_after_the_merge_is_too_late(scene: Scene) -> None:
    handoff = await scene.escalate()
    await scene.until(handoff, pb.PHASE_CONNECTED)
    request = pb.CancelHandoffRequest(handoff_id=handoff.handoff_id)
    error = await refused(scene.stub.CancelHandoff(request))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_patch_counts_the_contexts_revision(scene: Scene) -> None:
    scene.lab.pbx.phones[ALICE] = RINGS_ON
    handoff = await scene.escalate()
    request = pb.PatchContextRequest(
        handoff_id=handoff.handoff_id, expected_revision=1, context=pb.Context(sentiment="angry")
    )
    patched = await scene.stub.PatchContext(request)
    assert patched.handoff.context_revision == 2
    error = await refused(scene.stub.PatchContext(request))
    assert (error.code(), reason(error)) == (grpc.StatusCode.ABORTED, "CONTEXT_REVISION")
    got = await scene.stub.GetHandoff(pb.GetHandoffRequest(handoff_id=handoff.handoff_id))
    assert (got.context.summary, got.context.sentiment) == ("disputes a charge", "angry")


async def test_a_caller_reaches_a_human_while_redis_is_away() -> None:
    async with serving_without_redis() as scene:
        handoff = await scene.escalate()
        await scene.until(handoff, pb.PHASE_CONNECTED)
        assert scene.lab.counts["handoff_creates_unstored"] == 1


@asynccontextmanager
async def serving_without_redis() -> AsyncIterator[Scene]:
    away: Redis = Redis.from_url("redis://127.0.0.1:1", protocol=2)
    outbox = Outbox(RedisStream(away), LoopClock(), Counts())
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    async with away, running(RedisHandoffStore(away, "a"), outbox) as lab:
        carrier, counted = Carrier(), list[bool]()
        service = HandoffService(lab.registry, TENANT, desk_of(away, carrier, counted))
        handoff_pb2_grpc.add_HandoffServiceServicer_to_server(service, server)
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                stub = handoff_pb2_grpc.HandoffServiceStub(channel)
                yield Scene(lab, stub, channel, away, carrier, counted)
        finally:
            await server.stop(0)


async def test_targets_are_told_with_their_waits(scene: Scene) -> None:
    (found,) = (await scene.stub.ListTargets(pb.ListTargetsRequest(language="en"))).targets
    assert (found.target.queue, found.open, found.waiting) == ("support", True, 2)


async def test_a_report_is_kept_with_its_handoff_and_counted_once(scene: Scene) -> None:
    handoff = await scene.escalate()
    request = pb.ReportOutcomeRequest(handoff_id=handoff.handoff_id, repeated_information=True)
    for _ in range(2):
        await scene.stub.ReportOutcome(request)
    assert scene.counted == [True]
    kept = await scene.redis.get(f"voicefork:v1:acme:handoff:{handoff.handoff_id}:report")
    assert json.loads(kept or b"{}")["repeated"] is True
    request.repeated_information = False
    assert reason(await refused(scene.stub.ReportOutcome(request))) == "REPORTED_BEFORE"


async def test_a_report_of_no_handoff_is_refused(scene: Scene) -> None:
    request = pb.ReportOutcomeRequest(handoff_id="nowhere")
    assert (await refused(scene.stub.ReportOutcome(request))).code() is grpc.StatusCode.NOT_FOUND


async def test_a_call_is_placed_once_however_often_it_is_asked_for(scene: Scene) -> None:
    request = pb.PlaceCallRequest(request_id="p1", to="+14155550100")
    first, again = await asyncio.gather(*(scene.stub.PlaceCall(request) for _ in range(2)))
    assert first.call_id == again.call_id == (await scene.stub.PlaceCall(request)).call_id
    assert len(scene.carrier.dialled) == 1


async def test_a_call_that_nobody_takes_is_a_typed_failure_also_when_asked_again(
    scene: Scene,
) -> None:
    scene.carrier.sip_status = 486
    request = pb.PlaceCallRequest(request_id="p2", to="+14155550100")
    for _ in range(2):
        assert reason(await refused(scene.stub.PlaceCall(request))) == "BUSY"
    assert len(scene.carrier.dialled) == 1


async def test_who_is_on_no_list_is_not_called(scene: Scene) -> None:
    request = pb.PlaceCallRequest(request_id="p3", to="+900123")
    error = await refused(scene.stub.PlaceCall(request))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert scene.carrier.dialled == []


async def test_without_redis_nobody_is_called() -> None:
    async with serving_without_redis() as scene:
        request = pb.PlaceCallRequest(request_id="p4", to="+14155550100")
        error = await refused(scene.stub.PlaceCall(request))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert scene.carrier.dialled == []
