"""The worker's HTTP/2 sender against grpclib's server: another implementation of gRPC."""

from __future__ import annotations

import asyncio

from siprec_worker.session import model as m
from siprec_worker.sinks.catalogue import connector_for
from voicefork.agent.v1 import agent_pb2 as pb

from tests.fakes.grpclib_agent import GrpclibAgent, serving
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

CHUNKS = 100


async def converse(
    port: int, names: list[str], limits: dict[str, m.Limits], stalled: frozenset[str] = frozenset()
) -> list[Session]:
    """All calls at once, 20 ms of both legs per tick; ends those that are not stalled."""
    connector = connector_for(f"grpc://127.0.0.1:{port}", PATIENT)
    sessions = [Session() for _ in names]
    async with ticking(connector):
        streams = [
            connector.connect(opening(name, limits=limits.get(name, m.Limits())), session)
            for name, session in zip(names, sessions, strict=True)
        ]
        for session in sessions:
            await session.opened()
        for number in range(CHUNKS):
            for salt, stream in enumerate(streams):
                stream.send_audio(number * CHUNK, chunk(number, salt))
            await asyncio.sleep(0.02)
        for name, stream in zip(names, streams, strict=True):
            if name not in stalled:  # nobody would hear it
                goodbye(stream)
    return sessions


def check(agent: GrpclibAgent, names: list[str], salt: int) -> None:
    requests = agent.calls[names[salt]]
    assert [one.seq for one in requests] == list(range(1, len(requests) + 1))
    assert not [one for one in requests if one.HasField("gap")]
    audio = [one.audio for one in requests if one.HasField("audio")]
    got = {leg: b"".join(one.legs[leg].data for one in audio) for leg in (0, 1)}
    sent = [chunk(number, salt) for number in range(CHUNKS)]
    assert got == {leg: b"".join(legs[leg].data for legs in sent) for leg in (0, 1)}
    assert audio[0].pts == 0
    assert requests[-1].close.reason == pb.Close.REASON_CALL_ENDED


async def test_a_hundred_calls_arrive_whole_and_in_order() -> None:
    agent, names = GrpclibAgent(), [f"c{number}" for number in range(100)]
    async with serving(agent) as port:
        await converse(port, names, {})
        await eventually(lambda: len(agent.half_closed) == 100)
    for salt in range(100):
        check(agent, names, salt)


async def test_one_stalled_call_among_a_hundred_costs_the_others_nothing() -> None:
    names = [f"c{number}" for number in range(100)]
    stalled = frozenset({"c50"})
    agent = GrpclibAgent(stalled)
    async with serving(agent) as port:
        sessions = await converse(port, names, {"c50": m.Limits(200, 200)}, stalled)
        await eventually(lambda: len(agent.half_closed) == 99)
    for salt in set(range(100)) - {50}:
        check(agent, names, salt)
    assert all(isinstance(session.heard[0], m.Opened) for session in sessions)
