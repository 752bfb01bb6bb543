"""A worker that is full, asked by strangers, or told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import pytest
from siprec_worker.protocol.sip.digest import authorization
from siprec_worker.protocol.sip.message import Request, Response
from voicefork.worker.v1 import worker_pb2, worker_pb2_grpc
from voicefork_cli.lab.processes import Lab

from tests.builders.certificates import Authority
from tests.builders.sdp import sdp
from tests.integration.interop.caller import Caller, shown
from tests.integration.interop.client import Peer, connected_peer
from tests.integration.interop.worker import running_worker

OFFER = sdp()
PLAIN = [("Content-Type", "application/sdp")]
USERS = {"edge": "secret"}
LIMIT_SECONDS = 20.0


@asynccontextmanager
async def peer_of(**changed: Any) -> AsyncIterator[tuple[Any, Peer]]:
    async with (
        running_worker(**changed) as worker,
        connected_peer("udp", worker.host, worker.port) as peer,
    ):
        yield worker, peer


# --- full ------------------------------------------------------------------------------------


async def test_a_full_worker_refuses_calls_and_probes_at_once_until_there_is_room() -> None:
    async with peer_of(max_calls=1) as (worker, peer):
        first = Caller(peer, "first")
        assert (await first.ask(body=OFFER, headers=PLAIN)).status == 200
        second = Caller(peer, "second")
        refused = await second.ask(body=OFFER, headers=PLAIN)
        probed = await Caller(peer, "probe").ask("OPTIONS")
        assert [(a.status, a.headers.get("retry-after")) for a in (refused, probed)] == [
            (503, "5"),
            (503, "5"),
        ]
        assert (await first.ask(body=OFFER, headers=PLAIN)).status == 200  # a re-INVITE goes on
        assert 'voicefork_worker_refused_total{status="503"} 1.0' in await worker.metrics()
        assert (await first.ask("BYE")).status == 200
        assert (await Caller(peer, "third").ask(body=OFFER, headers=PLAIN)).status == 200


async def test_no_call_is_taken_that_finds_no_ports(lab: Lab) -> None:
    first = lab.ports.rtp_range(6).first
    async with peer_of(rtp_ports=f"{first}-{first + 5}") as (_, peer):  # three pairs: one call
        assert (await Caller(peer, "first").ask(body=OFFER, headers=PLAIN)).status == 200
        assert (await Caller(peer, "second").ask(body=OFFER, headers=PLAIN)).status == 503


# --- strangers -------------------------------------------------------------------------------


async def test_another_network_is_refused() -> None:
    async with peer_of(sip_allow=(ip_network("192.0.2.0/24"),)) as (_, peer):
        assert (await Caller(peer).ask(body=OFFER, headers=PLAIN)).status == 403
        assert (await Caller(peer, "probe").ask("OPTIONS")).status == 403


async def test_a_user_is_let_in_with_the_right_password(tmp_path: Path) -> None:
    users = tmp_path / "users.yaml"
    users.write_text("edge: secret\n")
    async with peer_of(sip_users_file=users) as (worker, peer):
        caller = Caller(peer)
        asked = await caller.ask(body=OFFER, headers=PLAIN)
        assert asked.status == 401
        for password, status in (("wrong", 401), ("secret", 200)):
            answered = await caller.ask(body=OFFER, headers=[*PLAIN, vouched(asked, password)])
            assert answered.status == status
        assert (await shown(worker, caller))["state"] in ("answered", "recording")


def vouched(challenge: Response, password: str) -> tuple[str, str]:
    value = challenge.headers.all("www-authenticate")[0]
    return "Authorization", authorization(
        value, user="edge", password=password, method="INVITE", uri="sip:srs@127.0.0.1:5090",
        cnonce="abc",
    )  # fmt: skip


# --- told to stop ----------------------------------------------------------------------------


class Process:
    """`python -m siprec_worker` with what it says it listens on."""

    def __init__(self, process: asyncio.subprocess.Process, addresses: dict[str, str]) -> None:
        self.process = process
        self.addresses = addresses

    def at(self, name: str) -> tuple[str, int]:
        host, _, port = self.addresses[name].rpartition(":")
        return host, int(port)

    async def exit_code(self) -> int:
        async with asyncio.timeout(LIMIT_SECONDS):
            return await self.process.wait()


@asynccontextmanager
async def process(*options: str) -> AsyncIterator[Process]:
    any_port = "127.0.0.1:0"
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "siprec_worker",
        *("--sip", any_port, "--admin", any_port, "--control", any_port, *options),
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert started.stderr is not None
    try:
        addresses: dict[str, str] = {}
        async with asyncio.timeout(2 * LIMIT_SECONDS):
            while not addresses:
                line = (await started.stderr.readline()).decode()
                assert line, "it ended"
                if "ready sip=" in line:
                    words = line[line.index("ready sip=") :].replace("'", "").split()[1:]
                    addresses = dict(word.split("=", 1) for word in words)
        yield Process(started, addresses)
    finally:
        with contextlib.suppress(ProcessLookupError):
            started.kill()
        await started.communicate()


async def test_a_draining_worker_takes_no_call_and_ends_with_the_last() -> None:
    async with process() as worker, connected_peer("tcp", *worker.at("sip")) as peer:
        caller = Caller(peer)
        assert (await caller.ask(body=OFFER, headers=PLAIN)).status == 200
        worker.process.send_signal(signal.SIGTERM)
        await until_503(peer)
        assert (await Caller(peer, "late").ask(body=OFFER, headers=PLAIN)).status == 503
        assert (await caller.ask(body=OFFER, headers=PLAIN)).status == 200  # a re-INVITE goes on
        assert (await caller.ask("BYE")).status == 200
        assert await worker.exit_code() == 0


async def test_a_second_signal_ends_it_at_once_with_a_bye() -> None:
    async with process() as worker, connected_peer("tcp", *worker.at("sip")) as peer:
        assert (await Caller(peer).ask(body=OFFER, headers=PLAIN)).status == 200
        worker.process.send_signal(signal.SIGTERM)
        await until_503(peer)
        worker.process.send_signal(signal.SIGTERM)
        bye = await peer.receive()
        assert isinstance(bye, Request)
        assert bye.method == "BYE"
        assert await worker.exit_code() == 0


async def test_calls_that_go_on_for_too_long_are_ended() -> None:
    async with (
        process("--drain-seconds", "0.3") as worker,
        connected_peer("tcp", *worker.at("sip")) as peer,
    ):
        assert (await Caller(peer).ask(body=OFFER, headers=PLAIN)).status == 200
        worker.process.send_signal(signal.SIGTERM)
        bye = await peer.receive()
        assert isinstance(bye, Request)
        assert bye.method == "BYE"
        assert await worker.exit_code() == 0


async def until_503(peer: Peer) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        for number in count():
            if (await Caller(peer, f"probe{number}").ask("OPTIONS")).status == 503:
                return
            await asyncio.sleep(0.01)


# --- TLS -------------------------------------------------------------------------------------


async def test_sighup_brings_new_certificates_into_use(tmp_path: Path) -> None:
    ours = Authority(tmp_path, "first").sign("worker")
    second = Authority(tmp_path, "second")
    options = ("--sip-tls", "127.0.0.1:0", "--sip-tls-certificate", str(ours.certificate))
    async with process(*options, "--sip-tls-key", str(ours.key)) as worker:
        trusted = ssl.create_default_context(cafile=second.certificate)
        with pytest.raises(ssl.SSLCertVerificationError):
            async with connected_peer("tls", *worker.at("sips"), trusted):
                pass
        second.sign("renewed", into=ours)
        os.kill(worker.process.pid, signal.SIGHUP)
        async with connected_peer(
            "tls", *worker.at("sips"), await renewed(worker, trusted)
        ) as peer:
            answer = await Caller(peer).ask(body=OFFER, headers=PLAIN)
        assert "transport=tls" in (answer.headers.get("contact") or "")


async def renewed(worker: Process, trusted: Any) -> Any:
    async with asyncio.timeout(LIMIT_SECONDS):
        while True:
            with contextlib.suppress(ssl.SSLCertVerificationError):
                async with connected_peer("tls", *worker.at("sips"), trusted):
                    return trusted
            await asyncio.sleep(0.02)


# --- what is told on the way out -------------------------------------------------------------


class SlowOrchestrator(worker_pb2_grpc.CallEventsServicer):
    """Acknowledges each report after a while."""

    def __init__(self) -> None:
        self.told: list[str | None] = []

    async def Report(  # noqa: N802 - gRPC's name
        self, reports: AsyncIterator[worker_pb2.ReportRequest], _: object
    ) -> AsyncIterator[worker_pb2.ReportResponse]:
        async for report in reports:
            await asyncio.sleep(0.02)
            self.told.append(report.WhichOneof("event"))
            yield worker_pb2.ReportResponse(number=report.number)


@asynccontextmanager
async def slow_orchestrator() -> AsyncIterator[tuple[SlowOrchestrator, str]]:
    service, server = SlowOrchestrator(), grpc.aio.server()
    worker_pb2_grpc.add_CallEventsServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield service, f"127.0.0.1:{port}"
    finally:
        await server.stop(grace=None)


async def test_the_ends_of_calls_are_told_before_it_is_gone() -> None:
    async with (
        slow_orchestrator() as (orchestrator, address),
        process("--orchestrator", address, "--drain-seconds", "0") as worker,
        connected_peer("tcp", *worker.at("sip")) as peer,
    ):
        for number in range(3):
            caller = Caller(peer, f"call{number}")
            assert (await caller.ask(body=OFFER, headers=PLAIN)).status == 200
        worker.process.send_signal(signal.SIGTERM)
        assert await worker.exit_code() == 0
    assert sorted(kind or "" for kind in orchestrator.told) == [
        *["fork_ended"] * 3, *["fork_started"] * 3,
    ]  # fmt: skip


async def test_an_orchestrator_that_is_away_holds_nobody_up() -> None:
    async with (
        process("--orchestrator", "127.0.0.1:9", "--drain-seconds", "0") as worker,
        connected_peer("tcp", *worker.at("sip")) as peer,
    ):
        assert (await Caller(peer).ask(body=OFFER, headers=PLAIN)).status == 200
        worker.process.send_signal(signal.SIGTERM)
        assert await worker.exit_code() == 0
