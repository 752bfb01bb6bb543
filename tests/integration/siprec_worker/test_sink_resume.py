"""Streams that break, or have to leave their server, under a call that goes on: real servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise

import pytest
from siprec_worker.media.model import AudioFlag, Dtmf
from siprec_worker.session import model as m
from siprec_worker.sinks.catalogue import connector_for
from voicefork.agent.v1 import agent_pb2 as pb
from voicefork_sdk.call import Call
from voicefork_sdk.events import Audio, Event, Gap, Resumed
from voicefork_sdk.server import AgentServer as SdkServer

from tests.fakes.agent_server import AgentServer, Script, agent_server
from tests.integration.siprec_worker.sink_calls import (
    CHUNK,
    PATIENT,
    Session,
    chunk,
    connected,
    eventually,
    goodbye,
    opening,
    talk,
    ticking,
)

RESUMING = pb.Opened(resume_token="token")
OPTIONS = replace(PATIENT, backoff_seconds=0.05, backoff_max_seconds=0.2, resume_seconds=40.0)


@pytest.fixture(params=["grpc", "grpc+aio"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def breaking(first: Script, *later: Script) -> AgentServer:
    """Every stream of the call follows the next script, the last one for ever."""
    scripts = [first, *later]
    server = AgentServer(first)
    server.script_for = lambda _: scripts.pop(0) if len(scripts) > 1 else scripts[0]
    return server


@asynccontextmanager
async def serving(server: AgentServer) -> AsyncIterator[AgentServer]:
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def spans(server: AgentServer) -> list[tuple[int, int]]:
    """What the AI has of leg 1, by all its streams: audio once, and Gaps."""
    got = {
        (one.pts, one.pts + len(one.legs[0].data) // 2)  # 16 bits a sample
        for call in server.calls
        for one in call.audio
    }
    gaps = {
        (one.gap.from_pts, one.gap.to_pts)
        for call in server.calls
        for one in call.of_kind("gap")
        if one.gap.leg == 1
    }
    return sorted(got | gaps)


def whole(spans: list[tuple[int, int]], chunks: int) -> bool:
    """They follow each other without a hole or an overlap."""
    joined = all(left[1] == right[0] for left, right in pairwise(spans))
    return joined and (spans[0][0], spans[-1][1]) == (0, chunks * CHUNK)


async def test_a_broken_stream_is_resumed_and_no_sample_is_missing(scheme: str) -> None:
    broken = Script(opened=RESUMING, ack_every=5, abort_after=33)
    resumed = Script(opened=pb.Opened(resume_token="token", resumed=True), ack_every=5)
    async with (
        serving(breaking(broken, resumed)) as server,
        connected(scheme, server, OPTIONS) as agent,
    ):
        session = Session()
        stream = agent.connect(opening(), session)
        await session.opened()
        await talk(stream, range(100))
        goodbye(stream)
        await eventually(lambda: len(server.calls) == 2)
        await server.calls[1].ended.wait()
    first, second = server.calls
    acked = first.requests[30].seq  # the sixth Ack
    begun = next(one.audio.pts for one in first.requests if one.seq > acked and one.audio.legs)
    assert second.open.resume == pb.Resume(token="token", acked_seq=acked)
    assert whole(spans(server), 100)
    late = [one.pts for one in second.audio if one.legs[0].flags & AudioFlag.LATE]
    assert len(late) >= 3
    assert [one.pts for one in second.audio] == list(range(begun, 100 * CHUNK, CHUNK))
    assert late == [one.pts for one in second.audio][: len(late)]
    for one in second.audio:
        assert [leg.data for leg in one.legs] == [x.data for x in chunk(one.pts // CHUNK)]
    assert [type(one) for one in session.heard] == [m.Opened]


async def test_events_that_were_not_acked_come_again(scheme: str) -> None:
    broken = Script(opened=RESUMING, abort_after=2)
    resumed = Script(opened=pb.Opened(resume_token="token", resumed=True))
    async with (
        serving(breaking(broken, resumed)) as server,
        connected(scheme, server, OPTIONS) as agent,
    ):
        session = Session()
        stream = agent.connect(opening(), session)
        await session.opened()
        stream.send_audio(0, chunk(0))
        stream.send(Dtmf(1, "5", 100, 80))
        stream.send_audio(CHUNK, chunk(1))
        await eventually(lambda: len(server.calls) == 2 and len(server.calls[1].audio) == 2)
        kinds = [one.WhichOneof("message") for one in server.calls[1].requests]
    assert kinds == ["open", "audio", "dtmf", "audio"]


async def test_an_ai_that_has_forgotten_the_call_is_told_what_it_missed(scheme: str) -> None:
    broken = Script(opened=RESUMING, ack_every=5, abort_after=34)
    anew = Script(opened=RESUMING, ack_every=5)
    async with (
        serving(breaking(broken, anew)) as server,
        connected(scheme, server, OPTIONS) as agent,
    ):
        session = Session()
        stream = agent.connect(opening(), session)
        await session.opened()
        stream.send(m.CallState(m.CallStatus.ANSWERED))
        await talk(stream, range(100))
        goodbye(stream)
        await eventually(lambda: len(server.calls) == 2)
        await server.calls[1].ended.wait()
    second = server.calls[1]
    told = [one.gap for one in second.of_kind("gap") if one.gap.leg == 1]
    assert [gap.cause for gap in told] == [pb.GAP_CAUSE_RESUME_TOO_OLD]
    acked = second.open.resume.acked_seq
    first = server.calls[0]
    missed = next(one.audio.pts for one in first.requests if one.seq > acked and one.audio.legs)
    assert (told[0].from_pts, told[0].to_pts) == (missed, second.audio[0].pts)
    assert second.audio[-1].pts == 99 * CHUNK
    assert second.of_kind("call_state")[0].call_state.state == pb.CallState.STATE_ANSWERED
    assert [type(one) for one in session.heard] == [m.Opened]


async def test_what_is_too_old_to_be_replayed_is_told(scheme: str) -> None:
    broken = Script(opened=RESUMING, ack_every=5, abort_after=30)
    resumed = pb.Opened(resume_token="token", resumed=True)
    slow = Script(open_when=asyncio.Event(), opened=resumed, ack_every=5)
    assert slow.open_when is not None
    limits = m.Limits(max_unacked_ms=400, replay_ms=400)
    async with (
        serving(breaking(broken, slow)) as server,
        connected(scheme, server, OPTIONS) as agent,
    ):
        session = Session()
        stream = agent.connect(opening(limits=limits), session)
        await session.opened()
        await talk(stream, range(30))
        await eventually(lambda: len(server.calls) == 2)
        for number in range(30, 80):
            stream.send_audio(number * CHUNK, chunk(number))
        slow.open_when.set()
        await talk(stream, range(80, 90))
        goodbye(stream)
        await server.calls[1].ended.wait()
    causes = {one.gap.cause for one in server.calls[1].of_kind("gap")}
    assert causes == {pb.GAP_CAUSE_RESUME_TOO_OLD}
    assert whole(spans(server), 90)


async def test_a_call_that_cannot_be_resumed_in_time_is_lost(scheme: str) -> None:
    broken = Script(opened=RESUMING, abort_after=5)
    refused = Script(open_after=None)
    options = replace(OPTIONS, resume_seconds=0.6)  # nothing else ends it: opening has 20 s
    async with (
        serving(breaking(broken, refused)) as server,
        connected(scheme, server, options) as agent,
    ):
        session = Session()
        stream = agent.connect(opening(), session)
        await session.opened()
        await talk(stream, range(5))
        lost = await session.lost()
    assert lost == m.AgentLost("INTERNAL: as the script says", retryable=True)
    assert len(server.calls) == 2
    assert [type(one) for one in session.heard] == [m.Opened, m.AgentLost]


async def test_tries_are_counted_over_streams_that_break_at_once(scheme: str) -> None:
    resumed = pb.Opened(resume_token="token", resumed=True)
    breaks = Script(opened=resumed, abort_after=1)
    options = replace(OPTIONS, resume_tries=3)
    async with serving(breaking(breaks)) as server, connected(scheme, server, options) as agent:
        session = Session()
        stream = agent.connect(opening(), session)
        await session.opened()
        stream.send_audio(0, chunk(0))
        await session.lost()
    assert len(server.calls) == 4


async def test_a_server_that_is_gone_for_a_moment_costs_no_sample(scheme: str) -> None:
    async with agent_server() as server, connected(scheme, server, OPTIONS) as agent:
        server.script_for = lambda told: Script(
            opened=pb.Opened(resume_token="token", resumed=bool(told.resume.token)), ack_every=5
        )
        session = Session()
        stream = agent.connect(opening(), session)
        await session.opened()
        await talk(stream, range(40))
        await server.stop()
        await talk(stream, range(40, 80), unacked_ms=None)
        await server.start(server.port)
        await talk(stream, range(80, 120))
        await eventually(lambda: len(server.calls) == 2 and whole(spans(server), 120))
        goodbye(stream)
        await server.calls[1].ended.wait()
    assert [type(one) for one in session.heard] == [m.Opened]


async def test_calls_leave_a_server_that_is_going_away() -> None:
    age = (("grpc.max_connection_age_ms", 300), ("grpc.max_connection_age_grace_ms", 60_000))
    options = replace(OPTIONS, resume_settled_seconds=0.0)  # it goes away again and again
    async with agent_server(options=age) as server, connected("grpc", server, options) as agent:
        server.script_for = lambda told: Script(
            opened=pb.Opened(resume_token="token", resumed=bool(told.resume.token)), ack_every=5
        )
        sessions = [Session() for _ in range(5)]
        streams = [agent.connect(opening(f"c{n}"), it) for n, it in enumerate(sessions)]
        for session in sessions:
            await session.opened()
        for number in range(100):
            for stream in streams:
                stream.send_audio(number * CHUNK, chunk(number))
            await asyncio.sleep(0.008)
        await eventually(lambda: all(moved(server, n) for n in range(5)))
        await eventually(lambda: all(whole(of_call(server, n), 100) for n in range(5)))
        for stream in streams:
            goodbye(stream)
    assert all([type(one) for one in session.heard] == [m.Opened] for session in sessions)


def moved(server: AgentServer, number: int) -> bool:
    """The call has been on two connections."""
    return len({call.peer for call in server.calls if call.open.call_id == f"c{number}"}) >= 2


def of_call(server: AgentServer, number: int) -> list[tuple[int, int]]:
    only = AgentServer(Script())
    only.calls = [call for call in server.calls if call.open.call_id == f"c{number}"]
    return spans(only)


async def test_a_call_that_only_its_old_server_knows_stays_there() -> None:
    age = (("grpc.max_connection_age_ms", 200), ("grpc.max_connection_age_grace_ms", 60_000))
    async with agent_server(options=age) as server, connected("grpc", server, OPTIONS) as agent:
        server.script_for = lambda told: Script(opened=RESUMING, ack_every=5)
        session = Session()
        stream = agent.connect(opening(), session)
        await session.opened()
        await talk(stream, range(60))
        await eventually(lambda: len(server.calls) >= 2 and server.calls[1].ended.is_set())
        await talk(stream, range(60, 120))
        goodbye(stream)
        await server.calls[0].ended.wait()
    assert len(server.calls[0].audio) == 120
    assert [type(one) for one in session.heard] == [m.Opened]


class Wire:
    """A TCP relay to the agent that can be cut."""

    def __init__(self, address: str) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._open: set[asyncio.StreamWriter] = set()

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._host, self._port)
        self._open |= {writer, back}
        await asyncio.gather(_pour(reader, back), _pour(there, writer))

    def cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


def resumed(heard: list[Event]) -> int:
    return sum(isinstance(one, Resumed) for one in heard)


async def test_an_agents_coroutine_outlives_two_breaks_and_misses_nothing() -> None:
    heard: list[Event] = []

    async def on_call(call: Call) -> None:
        async for event in call.events():
            heard.append(event)

    async with SdkServer(on_call) as agent:
        wire = Wire(agent.address)
        server = await asyncio.start_server(wire.relay, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            connector = connector_for(f"grpc://127.0.0.1:{port}", OPTIONS)
            async with ticking(connector):
                session = Session()
                stream = connector.connect(opening(), session)
                await session.opened()
                await talk(stream, range(60), unacked_ms=600)
                for part in (1, 2):
                    wire.cut()
                    await talk(stream, range(part * 60, part * 60 + 30), unacked_ms=None)
                    await eventually(lambda part=part: resumed(heard) == part)  # type: ignore[misc]
                    await talk(stream, range(part * 60 + 30, part * 60 + 60), unacked_ms=600)
                goodbye(stream)
                assert await agent.drain(20)
    audio = [one for one in heard if isinstance(one, Audio)]
    assert [one.pts for one in audio] == [number * CHUNK for number in range(180)]
    assert not any(isinstance(one, Gap) for one in heard)
    assert resumed(heard) == 2
    assert (agent.calls_taken, agent.calls_failed) == (1, 0)
    assert [type(one) for one in session.heard] == [m.Opened]
