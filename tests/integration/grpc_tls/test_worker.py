"""A worker's gRPC with certificates: who is let in, and files that change while it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2
from voicefork_cli.grpc_channel import PLAINTEXT, channel_to
from voicefork_cli.lab.ours import WorkerPlan, open_worker
from voicefork_cli.lab.processes import Lab

from tests.builders.certificates import Authority
from tests.integration.grpc_tls.conftest import (
    ORCHESTRATOR,
    WORKER,
    Issued,
    answers,
    check,
    der,
    shown,
)


@pytest.fixture
async def control(lab: Lab, issued: Issued) -> AsyncIterator[str]:
    plan = WorkerPlan("discard:", options=issued.options(issued.worker))
    async with open_worker(lab, plan) as worker:
        yield worker.addresses["control"]


async def test_a_peer_with_a_certificate_is_served(control: str, issued: Issued) -> None:
    assert await answers(control, issued.dialling(WORKER))


async def test_a_peer_without_a_certificate_is_refused(control: str, issued: Issued) -> None:
    assert not await answers(control, replace(issued.dialling(WORKER), cert=None, key=None))


async def test_a_peer_without_tls_is_refused(control: str) -> None:
    assert not await answers(control, PLAINTEXT)


async def test_a_peer_of_another_authority_is_refused(
    control: str, issued: Issued, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger").sign("someone")
    dialling = replace(issued.dialling(WORKER), cert=stranger.certificate, key=stranger.key)

    assert not await answers(control, dialling)


async def test_a_worker_does_not_pass_for_an_orchestrator(control: str, issued: Issued) -> None:
    assert not await answers(control, issued.dialling(ORCHESTRATOR))


async def test_new_files_are_shown_from_the_next_connection_on_and_open_ones_go_on(
    control: str, issued: Issued
) -> None:
    dialling = issued.dialling(WORKER)
    before = der(issued.worker.certificate)
    assert await shown(control, dialling) == before
    async with channel_to(control, dialling) as channel:
        assert await check(channel) == health_pb2.HealthCheckResponse.SERVING
        issued.authority.sign(WORKER, into=issued.worker, names=f"DNS:{WORKER}")

        assert await shown(control, dialling) == der(issued.worker.certificate) != before
        assert await check(channel) == health_pb2.HealthCheckResponse.SERVING
        assert channel.get_state() is grpc.ChannelConnectivity.READY


async def test_a_key_that_does_not_fit_leaves_the_certificate_before_in_use(
    control: str, issued: Issued
) -> None:
    dialling, key = issued.dialling(WORKER), issued.worker.key.read_bytes()
    before = der(issued.worker.certificate)
    issued.worker.key.write_bytes(issued.client.key.read_bytes())
    assert await shown(control, dialling) == before

    issued.worker.key.write_bytes(key)
    assert await answers(control, dialling)


async def test_another_authority_is_trusted_once_its_file_says_so(
    control: str, issued: Issued, tmp_path: Path
) -> None:
    successor = Authority(tmp_path, "successor")
    theirs = successor.sign("theirs")
    dialling = replace(issued.dialling(WORKER), cert=theirs.certificate, key=theirs.key)
    assert not await answers(control, dialling)
    both = issued.ca.read_bytes() + successor.certificate.read_bytes()
    issued.ca.write_bytes(both)

    assert await answers(control, dialling)
    assert await answers(control, issued.dialling(WORKER))

    issued.ca.write_bytes(successor.certificate.read_bytes())
    trusting = replace(dialling, ca=issued.authority.certificate)
    assert await answers(control, trusting)
    old = replace(issued.dialling(WORKER), ca=issued.authority.certificate)
    assert not await answers(control, old)
