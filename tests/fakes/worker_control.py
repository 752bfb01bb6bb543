"""A worker without media: a real WorkerControl server that keeps what it was told, and a stream of
reports to the orchestrator."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
from google.protobuf.message import Message
from voicefork.worker.v1 import worker_pb2, worker_pb2_grpc


class FakeWorker(worker_pb2_grpc.WorkerControlServicer):
    """`told` is every request in order; methods without an answer of their own answer empty."""

    def __init__(self, worker_id: str, talkback: socket.socket) -> None:
        self.worker_id = worker_id
        self.control = ""  # HOST:PORT
        self.told: list[Message] = []
        self.acknowledged: list[worker_pb2.ReportResponse] = []
        self.refuse_attach: grpc.StatusCode | None = None
        self.die: Callable[[], Awaitable[None]]  # stops answering for good
        self._talkback = talkback
        self._changed = asyncio.Condition()
        self._reports: asyncio.Queue[worker_pb2.ReportRequest | None] = asyncio.Queue(1000)
        self._number = 0

    @property
    def talkback(self) -> tuple[str, int]:
        """Where this worker takes what Asterisk sends to the bot's leg."""
        host, port = self._talkback.getsockname()
        return host, port

    # --- WorkerControl ----------------------------------------------------------------------

    async def AttachTalkback(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._keep(request)
        if self.refuse_attach is not None:
            await context.abort(self.refuse_attach, "told to refuse")
        return worker_pb2.AttachTalkbackResponse()

    async def DetachTalkback(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._keep(request)
        return worker_pb2.DetachTalkbackResponse()

    async def SetCallState(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._keep(request)
        return worker_pb2.SetCallStateResponse()

    async def SetParty(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._keep(request)
        return worker_pb2.SetPartyResponse()

    async def Freeze(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._keep(request)
        return worker_pb2.FreezeResponse()

    async def Unfreeze(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._keep(request)
        return worker_pb2.UnfreezeResponse()

    async def NotifyHandoff(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._keep(request)
        return worker_pb2.NotifyHandoffResponse()

    async def StartWitness(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        await self._keep(request)
        yield worker_pb2.StartWitnessResponse()
        stop = worker_pb2.StopWitnessRequest
        await self.wait_told(stop, within=60.0, handoff_id=request.handoff_id)

    async def StopWitness(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._keep(request)
        return worker_pb2.StopWitnessResponse(report=worker_pb2.WitnessReport(final=True))

    async def _keep(self, request: Message) -> None:
        async with self._changed:
            self.told.append(request)
            self._changed.notify_all()

    async def wait_told(self, kind: type[Message], within: float = 20.0, **fields: object) -> Any:
        """The first request of that kind with those fields, now or within so many seconds."""

        def found() -> Message | None:
            for request in self.told:
                if isinstance(request, kind) and all(
                    getattr(request, name) == value for name, value in fields.items()
                ):
                    return request
            return None

        async with asyncio.timeout(within), self._changed:
            await self._changed.wait_for(lambda: found() is not None)
            return found()

    # --- CallEvents -------------------------------------------------------------------------

    def report(self, call_id: str, **event: Message) -> None:
        """Reports one event: `report("c1", bot_speaks=worker_pb2.BotSpeaks())`."""
        self._number += 1
        request = worker_pb2.ReportRequest(
            number=self._number,
            worker_id=self.worker_id,
            call_id=call_id,
            **event,  # type: ignore[arg-type]
        )
        request.at.GetCurrentTime()
        self._reports.put_nowait(request)

    async def report_to(self, orchestrator: str) -> None:
        """Keeps one stream of reports open to `orchestrator` (HOST:PORT), until cancelled."""
        async with grpc.aio.insecure_channel(orchestrator) as channel:
            stub = worker_pb2_grpc.CallEventsStub(channel)
            with suppress(grpc.aio.AioRpcError):
                async for response in stub.Report(self._queued()):
                    self.acknowledged.append(response)

    async def _queued(self) -> AsyncIterator[worker_pb2.ReportRequest]:
        while (report := await self._reports.get()) is not None:
            yield report

    # --- the bot's voice --------------------------------------------------------------------

    async def speak(self, to: tuple[str, int], frames: Iterable[bytes]) -> None:
        """Sends PCMU frames of 20 ms, one every 20 ms, from the talk-back socket."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        for number, frame in enumerate(frames):
            header = struct.pack("!BBHII", 0x80, 0, number & 0xFFFF, number * len(frame), 0x0B07)
            await loop.sock_sendto(self._talkback, header + frame, to)
            due += 0.02
            await asyncio.sleep(max(due - loop.time(), 0))


@asynccontextmanager
async def open_fake_worker(worker_id: str = "worker-1") -> AsyncIterator[FakeWorker]:
    """A worker on loopback; it reports to nobody until `report_to` runs."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talkback:
        talkback.bind(("127.0.0.1", 0))
        talkback.setblocking(False)
        # What is not answered here is UNIMPLEMENTED, as the generated class has it.
        worker = FakeWorker(worker_id, talkback)  # type: ignore[abstract]
        server = grpc.aio.server()
        worker_pb2_grpc.add_WorkerControlServicer_to_server(worker, server)
        worker.control = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        worker.die = lambda: server.stop(None)
        try:
            yield worker
        finally:
            await server.stop(None)
