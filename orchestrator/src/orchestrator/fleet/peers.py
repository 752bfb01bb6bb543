"""The other replicas, as gRPC: whether they live, and reports that are theirs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import grpc
from grpc_health.v1 import health_pb2
from voicefork.worker.v1 import worker_pb2, worker_pb2_grpc

from orchestrator.errors import PeerError
from orchestrator.fleet.channels import Dialling, KeptChannels

ALIVE_SECONDS = 0.3
REPORT_SECONDS = 0.7  # below the second after which a worker helps itself (its ari_escape)
GRACE_SECONDS = 1.0  # for what is under way to a replica that seems dead
FORWARDED = (("voicefork-forwarded", "1"),)
"""Metadata of what another replica passed on: it is dealt with there, whatever comes."""

_HEALTH = "/grpc.health.v1.Health/Check"
_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
)


class Peers:
    """Channels by address, dialled when needed; closed when nobody answers there any more.

    Made by `open_peers`.
    """

    def __init__(self, dialling: Dialling, work: asyncio.TaskGroup) -> None:
        self._channels = KeptChannels(dialling, _OPTIONS)
        self._work = work

    def __len__(self) -> int:
        """How many replicas we have channels to."""
        return len(self._channels)

    def channel(self, address: str) -> grpc.aio.Channel:
        return self._channels.to(address)

    async def alive(self, address: str) -> bool:
        """Whether anything answers there; serving or not. Never raises."""
        if not address:
            return False
        await self._channels.close_surplus()
        answers = await self._answers(address)
        if not answers and (channel := self._channels.let_go(address)) is not None:
            self._work.create_task(channel.close(GRACE_SECONDS))
        return answers

    async def _answers(self, address: str) -> bool:
        check = self.channel(address).unary_unary(
            _HEALTH,
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            async with asyncio.timeout(2 * ALIVE_SECONDS):
                await check(health_pb2.HealthCheckRequest(), timeout=ALIVE_SECONDS)
        except grpc.aio.AioRpcError as error:
            dead = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
            return error.code() not in dead
        except TimeoutError:
            return False
        return True

    async def report(self, address: str, report: worker_pb2.ReportRequest) -> str:
        """Passes a worker's report on; its refusal, if any. Raises PeerError."""
        stub = worker_pb2_grpc.CallEventsStub(self.channel(address))
        try:
            async with asyncio.timeout(REPORT_SECONDS):
                stream: Any = cast(Any, stub.Report)(_one(report), metadata=FORWARDED)
                async for answer in stream:
                    return str(answer.escalation_error)
        except grpc.aio.AioRpcError as error:
            raise PeerError(f"replica at {address}: {error.code().name}") from error
        except TimeoutError as error:
            raise PeerError(f"replica at {address} does not answer") from error
        raise PeerError(f"replica at {address} did not acknowledge")

    async def aclose(self) -> None:
        await self._channels.aclose()


async def _one(report: worker_pb2.ReportRequest) -> AsyncIterator[worker_pb2.ReportRequest]:
    yield report


@asynccontextmanager
async def open_peers(dialling: Dialling) -> AsyncIterator[Peers]:
    async with asyncio.TaskGroup() as work:
        peers = Peers(dialling, work)
        try:
            yield peers
        finally:
            await peers.aclose()
