"""The worker as a process: forked calls come in, an AI hears them, everybody can look."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import grpc
import pytest
from orchestrator.api.call_events import CallEvents
from orchestrator.telemetry import Metrics
from voicefork.agent.v1 import agent_pb2 as pb
from voicefork.worker.v1 import worker_pb2, worker_pb2_grpc
from voicefork_cli.lab.errors import MissingProgramError
from voicefork_cli.lab.ours import Service, WorkerPlan, open_worker
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.redis import open_redis
from voicefork_cli.sim.endpoint import SipEndpoint, open_sip
from voicefork_cli.sim.fork_media import DirectMedia, open_direct_media
from voicefork_cli.sim.pacer import Pacer, open_pacer
from voicefork_cli.sim.rs_metadata import RecordedCall, marked_party
from voicefork_cli.sim.sdp import audio_lines
from voicefork_cli.sim.source import Mute, Tone
from voicefork_cli.sim.src import ForkState, SiprecClient
from voicefork_cli.sim.src_wire import RECORDING_HEADERS, SrcDialog

from tests.fakes.agent_server import AgentServer, FakeCall, Script, agent_server

CALL = "0192f0c1-7a3b-7c55-8c11-3f1b2a4d5e6f"
SIP_CALL = "carrier-call-1@203.0.113.9"
LIMIT_SECONDS = 20.0
CUSTOMER = marked_party("sip:+14155550100@carrier.example", "Alice", "customer")
PBX = marked_party("sip:+14155550199@pbx.example", "", "pbx")


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        while not await check():  # noqa: ASYNC110 - what is asked is another process
            await asyncio.sleep(0.03)


class Admin:
    """The worker's admin pages."""

    def __init__(self, worker: Service, session: aiohttp.ClientSession) -> None:
        self._address = worker.addresses["admin"]
        self._session = session

    async def get(self, path: str) -> tuple[int, Any]:
        async with self._session.get(f"http://{self._address}{path}") as response:
            if response.content_type == "application/json":
                return response.status, await response.json()
            return response.status, await response.text()

    async def live(self) -> list[dict[str, Any]]:
        return list((await self.get("/calls"))[1]["live"])

    async def until_over(self) -> dict[str, Any]:
        """Waits until no call is left; the last that ended."""

        async def none_is_left() -> bool:
            return not await self.live()

        await until(none_is_left)
        ended: list[dict[str, Any]] = (await self.get("/calls"))[1]["ended"]
        return ended[0]

    async def metric(self, name: str) -> float:
        """The sum over the labels of a figure of /metrics."""
        _, text = await self.get("/metrics")
        lines = [line.split(" ") for line in text.splitlines() if not line.startswith("#")]
        return sum(float(value) for key, value in lines if key.partition("{")[0] == name)


class Scene:
    """A worker with an AI, and the client that forks calls to it."""

    def __init__(self, worker: Service, admin: Admin, endpoint: SipEndpoint, pacer: Pacer) -> None:
        self.worker = worker
        self.admin = admin
        self.endpoint = endpoint
        self.pacer = pacer
        self.uri = f"sip:{worker.addresses['sip']};transport=tcp"

    def client(self, media: DirectMedia) -> SiprecClient:
        return SiprecClient(self.endpoint, media, RecordedCall(SIP_CALL, CUSTOMER, PBX))

    @asynccontextmanager
    async def recording(
        self, call_id: str = CALL, *, muted: bool = False
    ) -> AsyncIterator[SiprecClient]:
        """A fork that the worker took."""
        sources = (Mute(), Mute()) if muted else (Tone(440), Tone(350))
        with open_direct_media(self.pacer, *sources) as media:
            client = self.client(media)
            state = await client.start([self.uri], [("X-Voicefork-Call", call_id)])
            assert state is ForkState.RECORDING, client.reason
            yield client
            await client.stop()


Start = Callable[..., Awaitable[Scene]]


@pytest.fixture
def pacer() -> Iterator[Pacer]:
    with open_pacer() as pacer:
        yield pacer


@pytest.fixture
async def agent() -> AsyncIterator[AgentServer]:
    async with agent_server(Script(ack_every=10)) as agent:
        yield agent


@pytest.fixture
async def start(lab: Lab, agent: AgentServer, pacer: Pacer) -> AsyncIterator[Start]:
    """`await start("--max-calls", "1", redis=...)`: a ready worker."""
    async with AsyncExitStack() as opened:
        session = await opened.enter_async_context(aiohttp.ClientSession())
        endpoint = await opened.enter_async_context(open_sip("127.0.0.1"))

        async def start(*options: str, redis: str = "", orchestrator: str = "") -> Scene:
            plan = WorkerPlan(
                f"grpc://127.0.0.1:{agent.port}", redis, orchestrator, options=options
            )
            worker = await opened.enter_async_context(open_worker(lab, plan))
            return Scene(worker, Admin(worker, session), endpoint, pacer)

        yield start


async def heard(agent: AgentServer, packets: int = 10) -> FakeCall:
    """The AI's first call, once so much audio has come."""

    async def enough() -> bool:
        return bool(agent.calls) and len(agent.calls[0].audio) >= packets

    await until(enough)
    return agent.calls[0]


async def asked(client: SiprecClient, *methods: str) -> None:
    """Until the worker has asked the client for so much, and no more."""

    async def all_came() -> bool:
        return len(client.requests) >= len(methods)

    await until(all_came)
    assert [request.method for request in client.requests] == [*methods]


# --- alone ------------------------------------------------------------------------------------


async def test_a_worker_alone_dials_its_ai_as_soon_as_the_call_is_forked(
    start: Start, agent: AgentServer
) -> None:
    scene = await start()
    async with scene.recording():
        call = await heard(agent)
    assert call.open.call_id == CALL
    assert call.open.role == pb.ROLE_PRIMARY
    assert [leg.kind for leg in call.open.legs] == [pb.LEG_KIND_CUSTOMER, pb.LEG_KIND_PBX]
    heard_legs = {leg.handle for audio in call.audio for leg in audio.legs}
    assert heard_legs == {call.open.legs[0].handle}  # a bot does not hear itself
    async with asyncio.timeout(LIMIT_SECONDS):
        await call.ended.wait()
    assert [one.close.reason for one in call.of_kind("close")] == [pb.Close.REASON_CALL_ENDED]


async def test_with_a_registry_the_ai_waits_until_the_pbx_gives_it_a_voice(
    lab: Lab, start: Start, agent: AgentServer
) -> None:
    async with redis_or_skip(lab) as url:
        scene = await start(redis=url)
        async with scene.recording():
            await asyncio.sleep(0.5)
            assert agent.calls == []
            async with control(scene) as stub:
                await stub.AttachTalkback(attachment())
                await heard(agent)


async def test_a_reinvite_keeps_the_ports_and_the_audio(start: Start, agent: AgentServer) -> None:
    scene = await start()
    async with scene.recording() as client:
        call = await heard(agent)
        ports = [line.port for line in audio_lines(client.answer)]
        assert await client.refresh() == 200
        assert [line.port for line in audio_lines(client.answer)] == ports
        before = len(call.audio)
        await heard(agent, before + 20)
        assert len(await scene.admin.live()) == 1
    assert len(agent.calls) == 1


async def test_a_call_without_rtp_is_ended_after_the_limit(start: Start) -> None:
    scene = await start("--rtp-silence-seconds", "0.5")
    async with scene.recording(muted=True) as client:
        ended = await scene.admin.until_over()
        assert ended["ended_reason"] == "rtp silence"
        await asked(client, "BYE")


async def test_a_full_worker_refuses_and_says_when_to_come_back(start: Start) -> None:
    scene = await start("--max-calls", "1")
    async with scene.recording():
        with open_direct_media(scene.pacer, Mute(), Mute()) as media:
            second = scene.client(media)
            assert await second.start([scene.uri]) is ForkState.REFUSED
            assert second.reason.startswith("503")
        dialog = SrcDialog(
            scene.uri, scene.uri, scene.endpoint.uri(), f"TCP 127.0.0.1:{scene.endpoint.port}"
        )
        request = dialog.request("INVITE", headers=RECORDING_HEADERS)
        flow = await scene.endpoint.flow_to(scene.uri)
        answer = await scene.endpoint.begin(request, flow).final(LIMIT_SECONDS)
        assert (answer.status, int(answer.get("Retry-After")) > 0) == (503, True)
    await scene.admin.until_over()
    async with scene.recording("another-call"):
        assert len(await scene.admin.live()) == 1


async def test_sigterm_says_goodbye_to_the_client_and_to_the_ai(
    start: Start, agent: AgentServer
) -> None:
    scene = await start()
    async with scene.recording() as client:
        call = await heard(agent)
        scene.worker.program.signal(signal.SIGTERM)
        async with asyncio.timeout(LIMIT_SECONDS):
            assert await scene.worker.program.wait() == 0
            await call.ended.wait()
        await asked(client, "BYE")
    assert call.of_kind("close")


# --- what can be seen -------------------------------------------------------------------------


async def test_a_call_is_shown_with_parties_legs_and_counters_and_still_after_its_end(
    start: Start, agent: AgentServer
) -> None:
    scene = await start()
    async with scene.recording() as client:
        await heard(agent)
        status, shown = await scene.admin.get(f"/calls/{CALL}")
        assert (status, shown["state"]) == (200, "recording")
        by_sip = await scene.admin.get(f"/calls/by-call-id/{client.call_id}")
        assert by_sip[1]["call_id"] == CALL
    await scene.admin.until_over()
    for path in (f"/calls/{CALL}", f"/calls/by-call-id/{client.call_id}"):
        status, shown = await scene.admin.get(path)
        assert (status, shown["state"], shown["ended_reason"]) == (200, "ended", "BYE")
    customer, pbx = shown["legs"]
    assert (customer["kind"], customer["aor"], customer["name"]) == (
        "customer",
        "sip:+14155550100@carrier.example",
        "Alice",
    )
    assert pbx["kind"] == "pbx"
    assert customer["counters"]["packets"] >= 10
    assert shown["metadata"]["sessions"][0]["sip_session_id"] == SIP_CALL
    assert len(shown["metadata"]["participants"]) == 2


@pytest.mark.parametrize("path", ["/calls/nobody", "/calls/by-call-id/nobody@nowhere"])
async def test_an_unknown_call_is_not_found(start: Start, path: str) -> None:
    scene = await start()
    assert (await scene.admin.get(path))[0] == 404


async def test_metrics_count_calls_and_packets(start: Start, agent: AgentServer) -> None:
    scene = await start()
    async with scene.recording():
        await heard(agent)
        assert await scene.admin.metric("voicefork_worker_calls") == 1
    await scene.admin.until_over()
    assert await scene.admin.metric("voicefork_worker_calls") == 0
    assert await scene.admin.metric("voicefork_worker_calls_started_total") == 1
    assert await scene.admin.metric("voicefork_worker_calls_ended_total") == 1
    assert await scene.admin.metric("voicefork_worker_rtp_packets_total") >= 20
    assert await scene.admin.metric("voicefork_worker_tick_seconds_count") >= 10


async def test_a_worker_whose_redis_is_gone_is_alive_and_not_ready(lab: Lab, start: Start) -> None:
    async with redis_or_skip(lab) as url:
        scene = await start(redis=url)
        assert (await scene.admin.get("/readyz"))[0] == 200
    status, why = await scene.admin.get("/readyz")
    assert (status, why["ready"]) == (503, False)
    assert "redis" in why["why"]
    assert (await scene.admin.get("/healthz"))[0] == 200


# --- what the orchestrator asks and hears -----------------------------------------------------


async def test_control_of_a_call_that_is_not_here_is_not_found(start: Start) -> None:
    scene = await start()
    async with control(scene) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.AttachTalkback(attachment())
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_control_of_a_call_that_is_over_is_not_found(start: Start) -> None:
    scene = await start()
    async with scene.recording():
        pass
    await scene.admin.until_over()
    async with control(scene) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.SetCallState(
                worker_pb2.SetCallStateRequest(call_id=CALL, state=pb.CallState.STATE_ANSWERED)
            )
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    "request_",
    [
        worker_pb2.AttachTalkbackRequest(call_id=CALL, codec=worker_pb2.TALKBACK_CODEC_PCMU),
        worker_pb2.AttachTalkbackRequest(
            call_id=CALL, remote=worker_pb2.RtpAddress(host="127.0.0.1", port=9)
        ),
        worker_pb2.AttachTalkbackRequest(
            call_id=CALL,
            codec=worker_pb2.TALKBACK_CODEC_PCMU,
            remote=worker_pb2.RtpAddress(host="not an address", port=9),
        ),
    ],
    ids=["no remote", "no codec", "no IP address"],
)
async def test_a_talkback_that_makes_no_sense_is_an_invalid_argument(
    start: Start, request_: worker_pb2.AttachTalkbackRequest
) -> None:
    scene = await start()
    request_.call_state = pb.CallState.STATE_ANSWERED
    async with scene.recording(), control(scene) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.AttachTalkback(request_)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_what_the_orchestrator_missed_is_told_when_it_is_back(lab: Lab, start: Start) -> None:
    port = lab.ports.single()
    scene = await start(orchestrator=f"127.0.0.1:{port}")
    first, second = Ledger(), Ledger()
    async with open_ledger(first, port):
        async with scene.recording("call-1"):
            await first.until_told(("call-1", "fork_started"))
        await first.until_told(("call-1", "fork_ended"))
    async with scene.recording("call-2"):
        await asyncio.sleep(0.2)
    async with open_ledger(second, port):
        await second.until_told(("call-2", "fork_ended"))
    assert second.told == [("call-2", "fork_started"), ("call-2", "fork_ended")]


class Ledger:
    """What an orchestrator is told: call and kind, in order (api.call_events.ReportSink)."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str | None]] = []

    def worker_connected(self, worker_id: str) -> None: ...

    def worker_disconnected(self, worker_id: str) -> None: ...

    async def report(self, report: worker_pb2.ReportRequest) -> str:
        self.told.append((report.call_id, report.WhichOneof("event")))
        return ""

    async def forwarded(self, report: worker_pb2.ReportRequest) -> str:
        raise AssertionError("there is one replica")

    async def until_told(self, news: tuple[str, str]) -> None:
        async def told() -> bool:
            return news in self.told

        await until(told)


@asynccontextmanager
async def open_ledger(ledger: Ledger, port: int) -> AsyncIterator[None]:
    """The orchestrator's own service of reports, at a port that stays the same."""
    server = grpc.aio.server()
    worker_pb2_grpc.add_CallEventsServicer_to_server(CallEvents(ledger, Metrics()), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(grace=None)


@asynccontextmanager
async def control(scene: Scene) -> AsyncIterator[worker_pb2_grpc.WorkerControlAsyncStub]:
    async with grpc.aio.insecure_channel(scene.worker.addresses["control"]) as channel:
        yield worker_pb2_grpc.WorkerControlStub(channel)


def attachment() -> worker_pb2.AttachTalkbackRequest:
    return worker_pb2.AttachTalkbackRequest(
        call_id=CALL,
        remote=worker_pb2.RtpAddress(host="127.0.0.1", port=9),
        codec=worker_pb2.TALKBACK_CODEC_PCMU,
        call_state=pb.CallState.STATE_ANSWERED,
    )


@asynccontextmanager
async def redis_or_skip(lab: Lab) -> AsyncIterator[str]:
    try:
        async with open_redis(lab) as redis:
            yield redis.url
    except MissingProgramError as error:
        pytest.skip(str(error))
