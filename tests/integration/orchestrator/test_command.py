"""The command itself: its servers, its signals, its exit codes."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from pathlib import Path

import aiohttp
import grpc
from grpc_health.v1 import health_pb2

from tests.integration.orchestrator.conftest import FAILURE_SECONDS, Start

START_SECONDS = 50.0  # a process, from nothing to its end, on a machine that others use
NOBODY = "http://127.0.0.1:9"


async def command(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "orchestrator", "--grpc", "127.0.0.1:0", "--admin", "127.0.0.1:0"),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def test_the_admin_page_tells_readiness_and_metrics(start: Start) -> None:
    admin = (await start()).addresses["admin"]
    async with aiohttp.ClientSession(f"http://{admin}") as session:
        async with session.get("/healthz") as response:
            assert response.status == 200
        async with session.get("/readyz") as response:
            assert await response.json() == {"ready": True, "missing": []}
        async with session.get("/metrics") as response:
            assert "voicefork_ari_connected 1.0" in await response.text()


async def test_the_admin_page_tells_which_routes_are_in_force(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "routing.yaml"
    _put(file, "rules: [{name: first}]")
    admin = (await start("--routing", str(file))).addresses["admin"]
    async with aiohttp.ClientSession(f"http://{admin}") as session:

        async def routes() -> dict[str, object]:
            async with session.get("/routes") as response:
                told: dict[str, object] = await response.json()
                return told

        assert (await routes())["rules"] == ["first"]
        _put(file, "rules: [{name: second}]")
        async with asyncio.timeout(FAILURE_SECONDS):
            while (await routes())["rules"] != ["second"]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        _put(file, "rules: {}")
        async with asyncio.timeout(FAILURE_SECONDS):
            while (await routes())["error"] is None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert (await routes())["rules"] == ["second"]
        async with session.get("/metrics") as response:
            assert "voicefork_routes_stale 1.0" in await response.text()


def _put(file: Path, text: str) -> None:
    file.write_text(text)


async def test_health_is_served_by_grpc(start: Start) -> None:
    orchestrator = await start("--dev")
    async with grpc.aio.insecure_channel(orchestrator.addresses["grpc"]) as channel:
        request = health_pb2.HealthCheckRequest(service="voicefork.worker.v1.CallEvents")
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        answer = await check(request, timeout=FAILURE_SECONDS)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_term_while_asterisk_is_waited_for_ends_it_at_once() -> None:
    process = await command("--ari", NOBODY, "--redis", "redis://127.0.0.1:9/0", "--log", "json")
    assert process.stdout is not None
    async with asyncio.timeout(START_SECONDS):
        line = json.loads(await process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        output, _ = await process.communicate()
    assert line["level"] == "warning"
    assert process.returncode == 0, output.decode()


async def test_an_address_in_use_is_told_and_ends_with_2() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = await command("--ari", NOBODY, "--admin", f"127.0.0.1:{port}")
        async with asyncio.timeout(START_SECONDS):
            output, _ = await process.communicate()
    assert process.returncode == 2
    assert f"--admin 127.0.0.1:{port}: cannot listen" in output.decode()


async def test_a_wrong_setting_is_told_and_ends_with_2() -> None:
    process = await command("--waiting", "silence")
    output, _ = await process.communicate()
    assert process.returncode == 2
    assert "waiting" in output.decode()
