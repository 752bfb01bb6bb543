"""Channels to other replicas: kept while they live, closed once nobody answers there."""

from __future__ import annotations

import grpc
import pytest
from grpc_health.v1 import health, health_pb2_grpc
from orchestrator.fleet.channels import Dialling
from orchestrator.fleet.peers import open_peers

from tests.integration.orchestrator.conftest import FAILURE_SECONDS

NOWHERE = "127.0.0.1:9"


async def test_a_replica_that_lives_has_one_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.fleet.peers.ALIVE_SECONDS", FAILURE_SECONDS)
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    async with open_peers(Dialling()) as peers:
        assert [await peers.alive(address) for _ in range(3)] == [True] * 3
        assert len(peers) == 1
        await server.stop(None)
        assert not await peers.alive(address)
        assert len(peers) == 0


async def test_nobody_is_dialled_for_ever() -> None:
    async with open_peers(Dialling()) as peers:
        assert not await peers.alive(NOWHERE)
        assert len(peers) == 0


async def test_a_replica_that_seemed_dead_is_dialled_anew() -> None:
    async with open_peers(Dialling()) as peers:
        before = peers.channel(NOWHERE)
        assert not await peers.alive(NOWHERE)
        assert peers.channel(NOWHERE) is not before
