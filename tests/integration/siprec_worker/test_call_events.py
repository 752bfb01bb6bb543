"""A worker's cries for a human, and the orchestrator's own service that acknowledges them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
from orchestrator.api.call_events import CallEvents
from orchestrator.api.server import OPTIONS
from orchestrator.telemetry import Metrics as OrchestratorMetrics
from siprec_worker.net.call_events import SPEECH_BYTES, CallEventsClient
from siprec_worker.net.grpc_tls import dial_orchestrator
from siprec_worker.session import effects as fx
from siprec_worker.session.model import Escalate
from siprec_worker.telemetry import Metrics
from voicefork.handoff.v1 import handoff_pb2
from voicefork.worker.v1 import worker_pb2, worker_pb2_grpc
from voicefork_cli.lab.ports import HOST
from voicefork_cli.lab.processes import Lab

from tests.builders.stalling_path import open_stalling_path

LIMIT_SECONDS = 40.0


@dataclass
class Desk:
    """The orchestrator's end: what it was told, and how it deals with it."""

    reports: list[worker_pb2.ReportRequest] = field(default_factory=list)
    refusal: str = ""
    awake: asyncio.Event = field(default_factory=asyncio.Event)

    def worker_connected(self, worker_id: str) -> None: ...

    def worker_disconnected(self, worker_id: str) -> None: ...

    async def report(self, report: worker_pb2.ReportRequest) -> str:
        self.reports.append(report)
        await self.awake.wait()
        return self.refusal if report.HasField("escalate") else ""

    async def forwarded(self, report: worker_pb2.ReportRequest) -> str:
        raise AssertionError("there is one replica")

    def kinds(self) -> list[str | None]:
        return [report.WhichOneof("event") for report in self.reports]


@dataclass
class Line:
    """The worker's end."""

    client: CallEventsClient
    acknowledged: list[tuple[str, str]] = field(default_factory=list)
    refused: list[tuple[str, str, str]] = field(default_factory=list)

    def escalate(self, request_id: str = "r1", call_id: str = "c1") -> None:
        wire = handoff_pb2.EscalateRequest(request_id=request_id).SerializeToString()
        self.client.report(call_id, Escalate(request_id, "", False, wire))


@asynccontextmanager
async def open_line(port: int) -> AsyncIterator[Line]:
    refused: list[tuple[str, str, str]] = []
    client = CallEventsClient(
        f"{HOST}:{port}",
        "worker-1",
        "",
        Metrics(),
        lambda call, request, error: refused.append((call, request, error)),
        dial_orchestrator(None),
    )
    line = Line(client, refused=refused)
    client.on_acknowledged = lambda call, request: line.acknowledged.append((call, request))
    running = asyncio.create_task(client.run())
    try:
        yield line
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def open_desk(port: int, *, awake: bool = True) -> AsyncIterator[Desk]:
    desk = Desk()
    if awake:
        desk.awake.set()
    server = grpc.aio.server(options=OPTIONS)
    events = CallEvents(desk, OrchestratorMetrics())
    worker_pb2_grpc.add_CallEventsServicer_to_server(events, server)
    server.add_insecure_port(f"{HOST}:{port}")
    await server.start()
    try:
        yield desk
    finally:
        await server.stop(grace=None)


async def until(check: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        while not check():  # noqa: ASYNC110 - what is waited for happens behind a socket
            await asyncio.sleep(0.01)


async def test_a_connection_that_went_dead_without_a_word_is_replaced_within_seconds(
    lab: Lab,
) -> None:
    port = lab.ports.single()
    async with (
        open_desk(port) as desk,
        open_stalling_path(f"{HOST}:{port}") as (path, here),
        open_line(int(here.rpartition(":")[2])) as line,
    ):
        line.escalate("r1")
        await until(lambda: line.acknowledged)
        path.stall()
        line.escalate("r2")
        await until(lambda: len(line.acknowledged) == 2)
    assert desk.kinds() == ["escalate", "escalate"]


async def test_a_quiet_line_stays_open_and_is_replaced_as_soon(lab: Lab) -> None:
    port = lab.ports.single()
    async with (
        open_desk(port),
        open_stalling_path(f"{HOST}:{port}") as (path, here),
        open_line(int(here.rpartition(":")[2])) as line,
    ):
        line.escalate("r1")
        await until(lambda: line.acknowledged)
        await asyncio.sleep(7.0)
        assert path.accepted == 1
        path.stall()
        await until(lambda: path.accepted == 2)


async def test_each_cry_is_acknowledged_by_its_call_and_request(lab: Lab) -> None:
    port = lab.ports.single()
    async with open_desk(port), open_line(port) as line:
        line.client.report("c1", fx.BotSpeaks("u1"))
        line.escalate("r1", "c1")
        line.client.report("c2", fx.BotFailed("lost"))
        line.escalate("r2", "c2")
        await until(lambda: len(line.acknowledged) == 3)
    assert line.acknowledged == [("c1", "r1"), ("c2", ""), ("c2", "r2")]
    assert line.client.waiting == 0


async def test_a_refusal_is_an_acknowledgement_too(lab: Lab) -> None:
    port = lab.ports.single()
    async with open_desk(port) as desk, open_line(port) as line:
        desk.refusal = "no such queue"
        line.escalate()
        await until(lambda: line.acknowledged)
    assert line.refused == [("c1", "r1", "no such queue")]


async def test_an_orchestrator_that_hears_but_does_not_deal_acknowledges_nothing(lab: Lab) -> None:
    port = lab.ports.single()
    async with open_desk(port, awake=False) as desk, open_line(port) as line:
        line.escalate()
        await until(lambda: desk.reports)
        await asyncio.sleep(0.1)
        assert line.acknowledged == []
        desk.awake.set()
        await until(lambda: line.acknowledged)


async def test_a_cry_nobody_heard_is_told_to_the_next_orchestrator(lab: Lab) -> None:
    port = lab.ports.single()
    async with open_line(port) as line:
        line.escalate()
        async with open_desk(port) as desk:
            await until(lambda: line.acknowledged)
    assert desk.kinds() == ["escalate"]


async def test_a_cry_that_was_withdrawn_is_told_to_nobody(lab: Lab) -> None:
    port = lab.ports.single()
    async with open_line(port) as line:
        line.escalate("r1", "c1")
        line.client.report("c1", fx.BotFailed("lost"))
        line.escalate("r2", "c2")
        line.client.fork_ended("c1", "default", "bye")
        line.client.withdraw("c1")
        async with open_desk(port) as desk:
            await until(lambda: len(desk.reports) == 2)
    assert [(report.call_id, report.WhichOneof("event")) for report in desk.reports] == [
        ("c2", "escalate"),
        ("c1", "fork_ended"),
    ]


def aside(position: int, pcm: bytes = bytes(320)) -> fx.AgentSpeech:
    return fx.AgentSpeech(1, "u", pcm, 8000, position, last=False)


async def test_what_is_for_the_human_alone_comes_in_order_with_the_cries(lab: Lab) -> None:
    port = lab.ports.single()
    async with open_desk(port) as desk, open_line(port) as line:
        line.escalate()
        line.client.report("c1", aside(0))
        line.client.report("c1", aside(160))
        line.client.report("c1", fx.AgentSpeechCleared(1, ("u",)))
        await until(lambda: len(desk.reports) == 4)
    assert desk.kinds() == ["escalate", *["agent_speech"] * 2, "agent_speech_cleared"]
    spoken = [report.agent_speech for report in desk.reports[1:3]]
    assert [(each.seat, each.position, len(each.pcm)) for each in spoken] == [
        (1, 0, 320),
        (1, 160, 320),
    ]


async def test_sound_that_nobody_takes_is_bounded_and_cries_are_not_lost_over_it(lab: Lab) -> None:
    port = lab.ports.single()
    piece = 64 * 1024
    async with open_line(port) as line:
        line.escalate()
        for number in range(2 * SPEECH_BYTES // piece):
            line.client.report("c1", aside(number * piece // 2, bytes(piece)))
        assert line.client.waiting == 1 + SPEECH_BYTES // piece
        async with open_desk(port) as desk:
            await until(lambda: line.client.waiting == 0)
        for number in range(2 * SPEECH_BYTES // piece):
            line.client.report("c1", aside(number * piece // 2, bytes(piece)))
        assert line.client.waiting == SPEECH_BYTES // piece  # there is room again
    assert desk.kinds()[0] == "escalate"
