"""A worker that hears and says nothing: it acknowledges all that an orchestrator tells it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from voicefork.worker.v1 import worker_pb2, worker_pb2_grpc


class SilentWorker(worker_pb2_grpc.WorkerControlServicer):
    """Every method the orchestrator uses with a hosted bot; its witness sees nothing."""

    async def SetCallState(self, request: Any, context: Any) -> Any:  # noqa: N802
        return worker_pb2.SetCallStateResponse()

    async def SetParty(self, request: Any, context: Any) -> Any:  # noqa: N802
        return worker_pb2.SetPartyResponse()

    async def DetachTalkback(self, request: Any, context: Any) -> Any:  # noqa: N802
        return worker_pb2.DetachTalkbackResponse()

    async def Freeze(self, request: Any, context: Any) -> Any:  # noqa: N802
        return worker_pb2.FreezeResponse()

    async def Unfreeze(self, request: Any, context: Any) -> Any:  # noqa: N802
        return worker_pb2.UnfreezeResponse()

    async def NotifyHandoff(self, request: Any, context: Any) -> Any:  # noqa: N802
        return worker_pb2.NotifyHandoffResponse()

    async def StartWitness(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        reports: tuple[Any, ...] = ()
        for report in reports:
            yield report

    async def StopWitness(self, request: Any, context: Any) -> Any:  # noqa: N802
        return worker_pb2.StopWitnessResponse()


@asynccontextmanager
async def open_silent_worker() -> AsyncIterator[str]:
    """Serves on loopback while the block runs; its HOST:PORT."""
    server = grpc.aio.server()
    worker_pb2_grpc.add_WorkerControlServicer_to_server(SilentWorker(), server)  # type: ignore[abstract]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
