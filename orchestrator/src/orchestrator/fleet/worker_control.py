"""Speaks WorkerControl to the workers: one kept channel per worker, a limit on every call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

import grpc
from grpc_health.v1 import health_pb2
from voicefork.agent.v1 import agent_pb2
from voicefork.worker.v1 import worker_pb2, worker_pb2_grpc

from orchestrator.errors import CallUnknown, WorkerUnreachable
from orchestrator.fleet.call import EnteredCall, ForkHalf, RtpAddress
from orchestrator.fleet.channels import Dialling, KeptChannels
from orchestrator.fleet.effects import Farewell, Party
from orchestrator.model import CallId

_CODECS = {
    "ulaw": worker_pb2.TALKBACK_CODEC_PCMU,
    "alaw": worker_pb2.TALKBACK_CODEC_PCMA,
    "g722": worker_pb2.TALKBACK_CODEC_G722,
}
_MOST_STUBS = 256
_OPTIONS = (
    # A worker that comes back is dialled again soon: a call has two seconds, not gRPC's default.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


class WorkerControls:
    """All workers, by control address. Implements fleet.ports.Workers."""

    def __init__(self, node: str, limit_seconds: float, dialling: Dialling) -> None:
        self._node = node
        self._limit = limit_seconds
        self._channels = KeptChannels(dialling, _OPTIONS)
        self._stubs: dict[str, tuple[grpc.aio.Channel, worker_pb2_grpc.WorkerControlAsyncStub]] = {}

    async def attach(
        self, fork: ForkHalf, call: EnteredCall, address: RtpAddress, *, answered: bool
    ) -> None:
        state = agent_pb2.CallState
        request = worker_pb2.AttachTalkbackRequest(
            call_id=call.call_id,
            remote=worker_pb2.RtpAddress(host=address.host, port=address.port),
            codec=_CODECS[call.codec],
            call_state=state.STATE_ANSWERED if answered else state.STATE_EARLY,
            channel_id=call.channel_id,
            ari_node=call.node or self._node,
        )
        stub = self.stub(fork)
        await self.within_limit(fork, stub.AttachTalkback(request, timeout=self._limit))
        await self._channels.close_surplus()

    async def tell_answered(self, fork: ForkHalf, call_id: CallId) -> None:
        request = worker_pb2.SetCallStateRequest(
            call_id=call_id, state=agent_pb2.CallState.STATE_ANSWERED
        )
        stub = self.stub(fork)
        await self.within_limit(fork, stub.SetCallState(request, timeout=self._limit))

    async def tell_party(self, fork: ForkHalf, call_id: CallId, party: Party) -> None:
        request = worker_pb2.SetPartyRequest(
            call_id=call_id, party=agent_pb2.PartyChange.Party.ValueType(party.value)
        )
        stub = self.stub(fork)
        await self.within_limit(fork, stub.SetParty(request, timeout=self._limit))

    async def detach(self, fork: ForkHalf, call_id: CallId, farewell: Farewell) -> None:
        request = worker_pb2.DetachTalkbackRequest(
            call_id=call_id, reason=agent_pb2.Close.Reason.ValueType(farewell.value)
        )
        stub = self.stub(fork)
        await self.within_limit(fork, stub.DetachTalkback(request, timeout=self._limit))

    async def alive(self, fork: ForkHalf) -> bool:
        """Whether the worker answers at all; a worker without a health service is alive, too."""
        check = self._channels.to(fork.control).unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            async with asyncio.timeout(2 * self._limit):
                await check(health_pb2.HealthCheckRequest(), timeout=self._limit)
        except grpc.aio.AioRpcError as error:
            dead = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
            return error.code() not in dead
        except TimeoutError:
            return False
        return True

    def stub(self, fork: ForkHalf) -> worker_pb2_grpc.WorkerControlAsyncStub:
        """The worker's control service; kept, as making one costs as much as a call."""
        channel = self._channels.to(fork.control)
        made_on, stub = self._stubs.get(fork.control, (None, None))
        if stub is None or made_on is not channel:
            if len(self._stubs) >= _MOST_STUBS:
                self._stubs.clear()
            stub = worker_pb2_grpc.WorkerControlStub(channel)
            self._stubs[fork.control] = channel, stub
        return stub

    async def aclose(self) -> None:
        await self._channels.aclose()

    async def within_limit(self, fork: ForkHalf, reply: Awaitable[object]) -> None:
        """Awaits a worker's answer. Raises CallUnknown, WorkerUnreachable."""
        try:
            # gRPC's own timeout answers first; this one holds even if it does not.
            async with asyncio.timeout(2 * self._limit):
                await reply
        except grpc.aio.AioRpcError as error:
            text = f"worker {fork.worker_id} at {fork.control}: {error.details()}"
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise CallUnknown(text) from error
            raise WorkerUnreachable(f"{text} ({error.code().name})") from error
        except TimeoutError as error:
            raise WorkerUnreachable(f"worker {fork.worker_id} at {fork.control}") from error


@asynccontextmanager
async def open_worker_controls(
    node: str, *, limit_seconds: float = 1.0, dialling: Dialling | None = None
) -> AsyncIterator[WorkerControls]:
    """Dials workers when they are first needed. `node`: our PBX's name, as workers know it."""
    controls = WorkerControls(node, limit_seconds, dialling or Dialling())
    try:
        yield controls
    finally:
        await controls.aclose()
