"""What the grpc.aio sink keeps of a stream between its end and the moment that it is told."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from siprec_worker.media.model import Dtmf
from siprec_worker.session import model as m
from siprec_worker.sinks.grpc_aio import GrpcAioConnector
from siprec_worker.sinks.target import Target
from siprec_worker.sinks.waiting_audio import Backlog, Chunk
from voicefork.agent.v1 import agent_pb2 as pb

from tests.fakes.agent_server import Script, agent_server
from tests.integration.siprec_worker.sink_calls import (
    CHUNK,
    PATIENT,
    Session,
    chunk,
    opening,
    ticking,
)

BOUNDLESS = m.Limits(max_unacked_ms=10**9, replay_ms=10**9)


async def test_what_is_said_while_a_stream_breaks_is_in_its_backlog() -> None:
    options = replace(PATIENT, silence_seconds=10**6, max_queued_events=10**6)
    script = Script(opened=pb.Opened(resume_token="token"), abort_after=3)
    legs, said, left = chunk(0), 0, list[Backlog | None]()
    async with agent_server(script) as server:
        connector = GrpcAioConnector(Target("127.0.0.1", server.port, tls=False), options)
        session = Session()

        def receive(message: m.FromAgent) -> None:
            session(message)
            if isinstance(message, m.AgentLost):
                left.append(stream.backlog())

        async with ticking(connector):
            stream = connector.connect(opening(limits=BOUNDLESS), receive)
            await session.opened()
            while not left:  # something in every turn of the loop
                stream.send_audio(said * CHUNK, legs)
                stream.send(Dtmf(1, "5", 100, said * CHUNK))
                said += 1
                await asyncio.sleep(0)
    (backlog,) = left
    assert backlog is not None
    kept = [item.pts for item in backlog.items if isinstance(item, Chunk)]
    assert kept == [number * CHUNK for number in range(said)]
    assert [item.pts for item in backlog.items if isinstance(item, Dtmf)] == kept
