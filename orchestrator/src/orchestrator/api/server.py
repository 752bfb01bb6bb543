"""The gRPC server: the services, health, and reflection where it is wanted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from voicefork.handoff.v1 import handoff_pb2, handoff_pb2_grpc
from voicefork.worker.v1 import worker_pb2, worker_pb2_grpc

from orchestrator.api.call_events import CallEvents
from orchestrator.errors import SetupError
from orchestrator.grpc_tls import GrpcTls

HANDOFF_SERVICE = handoff_pb2.DESCRIPTOR.services_by_name["HandoffService"].full_name
CALL_EVENTS = worker_pb2.DESCRIPTOR.services_by_name["CallEvents"].full_name

_MESSAGE_BYTES = 1024 * 1024  # a context with 30 s of audio in it has half of that
OPTIONS = (
    ("grpc.max_receive_message_length", _MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),
    # Workers ask every two seconds whether we live; gRPC's own limit is one ping in five minutes.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1000),
    ("grpc.http2.max_ping_strikes", 0),
)
_FAREWELL_SECONDS = 1.0


class GrpcServer:
    """Bound, and serving from `serve` on. `port` is the one it got."""

    def __init__(self, server: grpc.aio.Server, port: int) -> None:
        self._server = server
        self._health = health.aio.HealthServicer()
        self.port = port

    async def serve(
        self,
        call_events: CallEvents,
        handoffs: handoff_pb2_grpc.HandoffServiceServicer,
        *,
        reflect: bool = False,
    ) -> None:
        """Starts answering. Health says NOT_SERVING until told otherwise. Raises SetupError."""
        worker_pb2_grpc.add_CallEventsServicer_to_server(call_events, self._server)
        handoff_pb2_grpc.add_HandoffServiceServicer_to_server(handoffs, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if reflect:
            _add_reflection(self._server)
        await self.serving(False)
        await self._server.start()

    async def fall_silent(self) -> None:
        """Breaks every stream off: who reports or asks goes to another replica at once."""
        await self._server.stop(None)

    async def serving(self, serving: bool) -> None:
        """What grpc.health.v1 says of us from here on."""
        status = health_pb2.HealthCheckResponse
        state = status.SERVING if serving else status.NOT_SERVING
        for name in ("", HANDOFF_SERVICE, CALL_EVENTS):
            await self._health.set(name, state)


@asynccontextmanager
async def open_server(
    address: str,
    tls: GrpcTls | None = None,
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
) -> AsyncIterator[GrpcServer]:
    """Binds `address` (HOST:PORT) until the block is left. Raises SetupError."""
    server = grpc.aio.server(options=OPTIONS, interceptors=interceptors)
    try:
        if tls is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, tls.server())
    except RuntimeError as error:
        raise SetupError(f"--grpc {address}: cannot listen ({error})") from error
    try:
        yield GrpcServer(server, port)
    finally:
        await server.stop(_FAREWELL_SECONDS)


def _add_reflection(server: grpc.aio.Server) -> None:
    try:
        from grpc_reflection.v1alpha import reflection  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError as error:
        raise SetupError("--dev needs the package grpcio-reflection") from error
    names = (HANDOFF_SERVICE, CALL_EVENTS, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
