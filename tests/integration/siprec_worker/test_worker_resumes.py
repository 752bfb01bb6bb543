"""An AI's stream breaks under a worker's call: it is gone on with, and /metrics says so."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest
from siprec_worker.protocol.sdp import parse_sdp
from voicefork.agent.v1 import agent_pb2 as pb

from tests.builders.rtp import rtp
from tests.builders.sdp import audio_line, sdp
from tests.fakes.agent_server import AgentServer, Script
from tests.integration.interop.caller import Caller
from tests.integration.interop.client import connected_peer
from tests.integration.interop.worker import RunningWorker, running_worker
from tests.integration.siprec_worker.media_calls import HOST, Source

PACKETS = 60


@pytest.fixture
def source() -> Iterator[Source]:
    source = Source()
    yield source
    source.close()


async def figure(worker: RunningWorker, name: str) -> float:
    found = re.search(rf"^voicefork_worker_{name} (\S+)$", await worker.metrics(), re.M)
    assert found, name
    return float(found[1])


@pytest.mark.parametrize("known", [True, False])
async def test_a_stream_that_breaks_is_counted_with_what_it_cost(
    source: Source, known: bool
) -> None:
    broken = Script(opened=pb.Opened(resume_token="t"), abort_after=20)
    whole = Script(opened=pb.Opened(resume_token="t", resumed=known), ack_every=5)
    agent = AgentServer(broken)
    scripts = [broken, whole]
    agent.script_for = lambda _: scripts.pop(0) if len(scripts) > 1 else whole
    await agent.start()
    try:
        async with (
            running_worker(agent=f"grpc://{HOST}:{agent.port}", dial="fork") as worker,
            connected_peer("tcp", worker.host, worker.port) as peer,
        ):
            offer = sdp(audio_line(port=source.port), host=HOST)
            caller = Caller(peer)
            answer = await caller.ask(body=offer, headers=[("Content-Type", "application/sdp")])
            port = parse_sdp(answer.body).media[0].port
            await source.stream([rtp(number) for number in range(PACKETS)], port)
            how = "resumed" if known else "anew"
            while not await figure(worker, f'agent_resumes_total{{how="{how}"}}'):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            assert await figure(worker, f'agent_resumes_total{{how="{how}"}}') == 1
            assert await figure(worker, 'agent_resumes_total{how="failed"}') == 0
            replayed = await figure(worker, "agent_replayed_ms_total")
            missed = await figure(worker, "agent_missed_ms_total")
    finally:
        await agent.stop()
    assert (replayed > 0, missed > 0) == (known, not known)
    assert len(agent.calls) == 2
