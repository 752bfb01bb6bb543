"""The worker's HTTP/2 sender against grpc-js's server, where node and the package are there."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from siprec_worker.sinks.catalogue import connector_for
from voicefork.agent.v1 import agent_pb2 as pb

from tests.integration.siprec_worker.sink_calls import (
    CHUNK,
    PATIENT,
    Session,
    chunk,
    eventually,
    goodbye,
    opening,
    ticking,
)

FOLDER = Path(__file__).parents[2] / "fakes/grpc_js_server"
CALLS, CHUNKS = 100, 100

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="no node"),
    pytest.mark.skipif(
        not (FOLDER / "node_modules/@grpc/grpc-js").exists(),
        reason="grpc-js is not installed: `npm install` in tests/fakes/grpc_js_server",
    ),
]


@asynccontextmanager
async def grpc_js(folder: Path) -> AsyncIterator[int]:
    """The port of a server that leaves what it heard in `folder`; it ends with its stdin."""
    opened = pb.ConverseResponse(seq=1, opened=pb.Opened()).SerializeToString().hex()
    process = await asyncio.create_subprocess_exec(
        "node",
        str(FOLDER / "server.js"),
        str(folder),
        opened,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline())
    finally:
        process.stdin.close()
        await process.wait()


def requests_of(file: Path) -> list[pb.ConverseRequest]:
    data, requests = file.read_bytes(), []
    while data:
        end = 4 + int.from_bytes(data[:4], "big")
        requests.append(pb.ConverseRequest.FromString(data[4:end]))
        data = data[end:]
    return requests


async def test_a_hundred_calls_arrive_whole_and_in_order(tmp_path: Path) -> None:
    async with grpc_js(tmp_path) as port:
        connector = connector_for(f"grpc://127.0.0.1:{port}", PATIENT)
        async with ticking(connector):
            sessions = [Session() for _ in range(CALLS)]
            streams = [connector.connect(opening(f"{n}"), it) for n, it in enumerate(sessions)]
            for session in sessions:
                await session.opened()
            for number in range(CHUNKS):
                for salt, stream in enumerate(streams):
                    stream.send_audio(number * CHUNK, chunk(number, salt))
                await asyncio.sleep(0.02)
            for stream in streams:
                goodbye(stream)
        await eventually(lambda: len(list(tmp_path.glob("*.bin"))) == CALLS)
    for number in range(CALLS):
        requests = requests_of(tmp_path / f"{number}.bin")
        salt = int(requests[0].open.call_id)
        assert [one.seq for one in requests] == list(range(1, len(requests) + 1))
        audio = [one.audio for one in requests if one.HasField("audio")]
        sent = [chunk(number, salt) for number in range(CHUNKS)]
        got = {leg: b"".join(one.legs[leg].data for one in audio) for leg in (0, 1)}
        assert got == {leg: b"".join(legs[leg].data for legs in sent) for leg in (0, 1)}
        assert requests[-1].close.reason == pb.Close.REASON_CALL_ENDED
