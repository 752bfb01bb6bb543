"""Both gRPC connectors against a real grpcio server: the same calls, the same expectations."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from siprec_worker.media.model import Dtmf, Gap, GapCause
from siprec_worker.session import model as m
from siprec_worker.sinks.options import AgentOptions
from voicefork.agent.v1 import agent_pb2 as pb
from voicefork.handoff.v1 import handoff_pb2 as handoff_pb

from tests.fakes.agent_server import AgentServer, Script, agent_server
from tests.integration.siprec_worker.sink_calls import (
    CHUNK,
    Session,
    chunk,
    connected,
    eventually,
    goodbye,
    opening,
    talk,
)


@pytest.fixture(params=["grpc", "grpc+aio"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_audio_arrives_whole_and_in_order(scheme: str) -> None:
    async with agent_server(Script(ack_every=10)) as server, connected(scheme, server) as agent:
        session = Session()
        stream = agent.connect(opening(), session)
        await session.opened()
        await talk(stream, range(100), unacked_ms=400)
        goodbye(stream)
        await eventually(lambda: bool(server.calls))
        call = server.calls[0]
        await call.ended.wait()
    assert [one.seq for one in call.requests] == list(range(1, len(call.requests) + 1))
    assert [one.pts for one in call.audio] == [number * CHUNK for number in range(100)]
    sent = [[leg.data for leg in chunk(number)] for number in range(100)]
    assert [[leg.data for leg in one.legs] for one in call.audio] == sent
    assert [leg.handle for leg in call.audio[0].legs] == [1, 2]
    assert call.requests[-1].close.reason == pb.Close.REASON_CALL_ENDED
    assert call.half_closed


async def test_the_opening_reaches_the_agent(scheme: str) -> None:
    async with agent_server() as server, connected(scheme, server) as agent:
        session = Session()
        agent.connect(opening(headers={"X-DID": "4711"}, tenant="acme"), session)
        opened = await session.opened()
        told = server.calls[0].open
    assert (told.call_id, told.tenant, dict(told.headers)) == ("call-1", "acme", {"X-DID": "4711"})
    assert [leg.kind for leg in told.legs] == [pb.LEG_KIND_CUSTOMER, pb.LEG_KIND_PBX]
    assert opened == m.Opened(m.NARROWBAND, 20, m.NARROWBAND)


async def test_metadata_of_the_call_is_sent(scheme: str) -> None:
    options = AgentOptions(metadata=lambda call: [("authorization", f"Bearer {call.call_id}")])
    async with agent_server() as server, connected(scheme, server, options) as agent:
        session = Session()
        agent.connect(opening(), session)
        await session.opened()
    assert server.calls[0].metadata["authorization"] == "Bearer call-1"


async def test_what_the_agent_says_is_delivered_in_order(scheme: str) -> None:
    escalate = handoff_pb.EscalateRequest(request_id="r1", say_first="u1", freeze_bot=True)
    said = (
        pb.ConverseResponse(speak=pb.Speak(utterance_id="u1", data=b"\1\2" * 160, last=True)),
        pb.ConverseResponse(clear=pb.Clear(utterance_ids=["u1"], fade_ms=20)),
        pb.ConverseResponse(mark=pb.Mark(name="here")),
        pb.ConverseResponse(),  # a member of a later contract
        pb.ConverseResponse(escalate=escalate),
    )
    async with agent_server(Script(say=said)) as server, connected(scheme, server) as agent:
        session = Session()
        agent.connect(opening(), session)
        await session.until(lambda heard: len(heard) == 5)
    assert session.heard[1:5] == [
        m.Speak("u1", b"\1\2" * 160, last=True),
        m.Clear(("u1",), 20),
        m.Mark("here"),
        m.Escalate("r1", "u1", freeze_bot=True, wire=escalate.SerializeToString()),
    ]


async def test_events_keep_their_place_among_the_audio(scheme: str) -> None:
    async with agent_server() as server, connected(scheme, server) as agent:
        session = Session()
        stream = agent.connect(opening(), session)
        await session.opened()
        stream.send_audio(0, chunk(0))
        stream.send(Dtmf(1, "5", 100, 80))
        stream.send_audio(CHUNK, chunk(1))
        stream.send(Gap(1, 2 * CHUNK, 3 * CHUNK, GapCause.NETWORK_LOSS, 1))
        await eventually(lambda: len(server.calls[0].requests) == 5)
        kinds = [one.WhichOneof("message") for one in server.calls[0].requests]
    assert kinds == ["open", "audio", "dtmf", "audio", "gap"]


async def test_audio_before_opened_is_kept(scheme: str) -> None:
    script = Script(open_after=0.3)
    async with agent_server(script) as server, connected(scheme, server) as agent:
        session = Session()
        stream = agent.connect(opening(), session)
        for number in range(10):
            stream.send_audio(number * CHUNK, chunk(number))
        await session.opened()
        await eventually(lambda: len(server.calls[0].audio) == 10)
    assert [one.pts for one in server.calls[0].audio] == [n * CHUNK for n in range(10)]


async def test_a_primary_is_not_sent_what_it_says_itself_before_it_opened(scheme: str) -> None:
    script = Script(open_after=0.2)
    async with agent_server(script) as server, connected(scheme, server) as agent:
        session = Session()
        stream = agent.connect(opening(role=m.Role.PRIMARY), session)
        stream.send_audio(0, chunk(0))
        await session.opened()
        await eventually(lambda: len(server.calls[0].audio) == 1)
    assert [leg.handle for leg in server.calls[0].audio[0].legs] == [1]


async def test_an_agent_that_never_opens_is_lost_within_the_limit(scheme: str) -> None:
    options = AgentOptions(opening_seconds=0.7)
    async with (
        agent_server(Script(open_after=None)) as server,
        connected(scheme, server, options) as agent,
    ):
        session = Session()
        agent.connect(opening(), session)
        lost = await session.lost()
    assert session.heard == [lost]
    assert "within 0.7 s" in lost.reason


async def test_our_acks_follow_what_the_agent_said(scheme: str) -> None:
    script = Script(echo=True)
    async with agent_server(script) as server, connected(scheme, server) as agent:
        session = Session()
        stream = agent.connect(opening(), session)
        await session.opened()
        for number in range(20):
            stream.send_audio(number * CHUNK, chunk(number))
        await session.until(lambda heard: len(heard) == 41)
        acks = server.calls[0]
        await eventually(lambda: any(one.ack.seq == 41 for one in acks.of_kind("ack")))
        assert len(acks.of_kind("ack")) <= 5


async def test_a_slow_reader_costs_audio_and_is_told_where(scheme: str) -> None:
    script = Script(seconds_per_message=0.01, ack_every=5)
    limits = m.Limits(max_unacked_ms=200, replay_ms=200)
    async with agent_server(script) as server, connected(scheme, server) as agent:
        session = Session()
        stream = agent.connect(opening(limits=limits), session)
        await session.opened()
        for number in range(200):
            stream.send_audio(number * CHUNK, chunk(number))
        await eventually(lambda: stream.outstanding[1] < 100)  # it acks every fifth
        stream.send_audio(200 * CHUNK, chunk(200))
        goodbye(stream)
        await server.calls[0].ended.wait()
    call = server.calls[0]
    told = [
        (gap.from_pts, gap.to_pts)
        for gap in (one.gap for one in call.of_kind("gap"))
        if gap.leg == 1 and gap.cause == pb.GAP_CAUSE_SHED
    ]
    got = [(one.pts, one.pts + CHUNK) for one in call.audio]
    spans = sorted(told + got)
    assert told
    assert spans[0][0] == 0
    assert all(left[1] == right[0] for left, right in pairwise(spans))


async def test_a_stalled_call_leaves_the_others_alone(scheme: str) -> None:
    async with agent_server() as server, connected(scheme, server) as agent:
        server.script_for = lambda told: (
            Script(stall_after=3) if told.call_id == "stalled" else Script(ack_every=5)
        )
        sessions = {name: Session() for name in ("stalled", "one", "two")}
        streams = {name: agent.connect(opening(name), it) for name, it in sessions.items()}
        for session in sessions.values():
            await session.opened()
        for number in range(200):
            for salt, stream in enumerate(streams.values()):
                stream.send_audio(number * CHUNK, chunk(number, salt))
            while max(streams[name].outstanding[1] for name in ("one", "two")) > 400:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
        for stream in (streams["one"], streams["two"]):
            goodbye(stream)
        for name in ("one", "two"):
            await server.call(name).ended.wait()
    for name in ("one", "two"):
        assert len(server.call(name).audio) == 200
        assert not server.call(name).of_kind("gap")
    assert streams["stalled"].stats.shed_ms > 0  # type: ignore[attr-defined]


async def test_an_aborted_stream_is_lost_and_worth_another_try(scheme: str) -> None:
    async with agent_server(Script(abort_after=1)) as server, connected(scheme, server) as agent:
        session = Session()
        stream = agent.connect(opening(), session)
        stream.send_audio(0, chunk(0))
        lost = await session.lost()
    assert lost == m.AgentLost("INTERNAL: as the script says", retryable=True)


async def test_an_agent_that_leaves_is_not_called_back(scheme: str) -> None:
    async with agent_server(Script(leave_after=1)) as server, connected(scheme, server) as agent:
        session = Session()
        stream = agent.connect(opening(), session)
        stream.send_audio(0, chunk(0))
        lost = await session.lost()
    assert lost == m.AgentLost("the AI ended the stream", retryable=False)


async def test_garbage_ends_the_stream_alone(scheme: str) -> None:
    async with agent_server() as server, connected(scheme, server) as agent:
        server.script_for = lambda told: (
            Script(garbage_after=1) if told.call_id == "bad" else Script(echo=True)
        )
        bad, good = Session(), Session()
        agent.connect(opening("bad"), bad).send_audio(0, chunk(0))
        stream = agent.connect(opening("good"), good)
        lost = await bad.lost()
        stream.send_audio(0, chunk(0))
        await good.until(lambda heard: len(heard) == 3)
    assert not lost.retryable
    assert "no ConverseResponse" in lost.reason


async def test_a_silent_agent_is_lost_while_audio_flows(scheme: str) -> None:
    options = AgentOptions(silence_seconds=1.0)
    async with agent_server() as server, connected(scheme, server, options) as agent:
        session = Session()
        stream = agent.connect(opening(), session)
        await session.opened()
        for number in range(60):  # 1.2 s of audio, at once: time is what was offered
            stream.send_audio(number * CHUNK, chunk(number))
        lost = await session.lost()
    assert "nothing from the AI for 1 s" in lost.reason
    assert lost.retryable


async def test_nothing_is_delivered_after_close(scheme: str) -> None:
    async with agent_server(Script(echo=True)) as server, connected(scheme, server) as agent:
        session = Session()
        stream = agent.connect(opening(), session)
        await session.opened()
        for number in range(10):
            stream.send_audio(number * CHUNK, chunk(number))
        goodbye(stream)
        stream.send_audio(10 * CHUNK, chunk(10))
        await server.calls[0].ended.wait()
    assert len(session.heard) == 1
    assert len(server.calls[0].audio) == 10


async def test_a_server_that_is_gone_and_back_takes_new_calls(scheme: str) -> None:
    options = AgentOptions(backoff_seconds=0.05, backoff_max_seconds=0.2, opening_seconds=20)
    async with agent_server() as server, connected(scheme, server, options) as agent:
        first, second, third = Session(), Session(), Session()
        agent.connect(opening("first"), first)
        await first.opened()
        await server.stop()
        assert (await first.lost()).retryable
        agent.connect(opening("second"), second)
        await asyncio.sleep(0.2)  # it dials in vain
        await server.start(server.port)
        await second.opened()
        agent.connect(opening("third"), third)
        await third.opened()


async def test_no_server_at_all_is_told_within_the_opening_limit(scheme: str) -> None:
    async with agent_server() as server:
        await server.stop()
        async with connected(scheme, server, AgentOptions(opening_seconds=1.0)) as agent:
            session = Session()
            agent.connect(opening(), session)
            lost = await session.lost()
    assert lost.retryable
    assert session.heard == [lost]


async def test_a_server_that_shuts_down_lets_its_calls_finish(scheme: str) -> None:
    script = Script(echo=True)
    async with agent_server(script) as old, connected(scheme, old) as agent:
        before, after = Session(), Session()
        stream = agent.connect(opening("before"), before)
        await before.opened()
        stopping = asyncio.ensure_future(old.stop(grace=5))
        new = AgentServer(script)
        await asyncio.sleep(0.1)
        await new.start(old.port)
        try:
            agent.connect(opening("after"), after)
            await after.opened()
            stream.send_audio(0, chunk(0))
            await before.until(lambda heard: len(heard) == 3)
            goodbye(stream)
            await stopping
        finally:
            await new.stop()
    assert [call.open.call_id for call in new.calls] == ["after"]
    assert [call.open.call_id for call in old.calls] == ["before"]


async def test_what_is_sent_after_the_loss_goes_nowhere(scheme: str) -> None:
    async with agent_server(Script(leave_after=0)) as server, connected(scheme, server) as agent:
        session = Session()
        stream = agent.connect(opening(), session)
        lost = await session.lost()
        for number in range(1000):
            stream.send_audio(number * CHUNK, chunk(number))
            stream.send(m.CallState(m.CallStatus.ANSWERED))
        goodbye(stream)
        await asyncio.sleep(0.05)
    assert session.heard[-1] is lost
    assert [type(one) for one in session.heard] == [m.Opened, m.AgentLost]
