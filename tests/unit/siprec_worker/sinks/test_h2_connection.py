"""One HTTP/2 connection against h2's own server side, in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, PingAckReceived, StreamReset
from h2.settings import SettingCodes
from hypothesis import given
from hypothesis import strategies as st
from siprec_worker.session import model as m
from siprec_worker.sinks.message_framing import prefixed
from siprec_worker.sinks.options import AgentOptions
from voicefork.agent.v1 import agent_pb2 as pb

from tests.unit.siprec_worker.sinks.h2_peer import ACCEPTED, Peer, audio

CLOSE = m.Close(m.CloseReason.CALL_ENDED)


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    peer = Peer()
    yield peer
    peer.connection.connection_lost(None)


async def test_a_connection_is_ready_once_the_peer_has_said_its_settings(peer: Peer) -> None:
    assert peer.connection.ready.done()
    assert peer.connection.usable


async def test_everything_of_a_tick_leaves_in_one_write(peer: Peer) -> None:
    streams = [peer.opened_stream(f"call-{n}") for n in range(10)]
    writes = len(peer.transport.writes)
    for stream in streams:
        audio(stream, 1)
        stream.send(m.CallState(m.CallStatus.ANSWERED))
    assert len(peer.transport.writes) == writes
    peer.connection.flush()
    assert len(peer.transport.writes) == writes + 1
    peer.settle()
    for stream in streams:
        assert peer.kinds(stream) == ["open", "audio", "call_state"]


@pytest.mark.parametrize("grant", [1, 7, 100, 331, 5000])
async def test_a_message_larger_than_the_window_goes_in_pieces(grant: int) -> None:
    peer = Peer({SettingCodes.INITIAL_WINDOW_SIZE: 600})
    stream = peer.opened_stream()
    sent = [audio(stream, number) for number in range(4)]
    peer.settle()
    assert len(peer.bytes[stream.stream_id]) == 600
    while len(peer.kinds(stream)) < 5:
        peer.grant(grant, stream)
    assert [one.audio.legs[0].data for one in peer.requests(stream)[1:]] == sent
    assert stream.stats.window_stalls >= 1
    peer.connection.connection_lost(None)


async def test_the_connections_window_is_shared_in_turn(peer: Peer) -> None:
    one, two = peer.opened_stream("one"), peer.opened_stream("two")
    number = 0
    while one.free or two.free:
        for stream in (one, two):
            audio(stream, number)
        number += 1
    for stream in (one, two):
        for later in range(number, number + 20):
            audio(stream, later)
    peer.settle()
    before = len(peer.requests(one)), len(peer.requests(two))
    for _ in range(10):
        peer.grant(700)
    grown = [len(peer.requests(s)) - old for s, old in zip((one, two), before, strict=True)]
    assert min(grown) >= 4


async def test_a_smaller_window_of_the_peer_is_honoured_below_zero(peer: Peer) -> None:
    stream = peer.opened_stream()
    audio(stream, 0)
    peer.settle()
    peer.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 100})
    peer.settle()
    audio(stream, 1)
    peer.settle()
    assert peer.kinds(stream) == ["open", "audio"]
    peer.grant(1000, stream)
    assert peer.kinds(stream) == ["open", "audio", "audio"]


async def test_a_stalled_stream_sheds_and_tells() -> None:
    peer = Peer({SettingCodes.INITIAL_WINDOW_SIZE: 200})
    stalled = peer.opened_stream("stalled", m.Limits(max_unacked_ms=100, replay_ms=100))
    for number in range(20):
        audio(stalled, number)
        assert stalled.unacked_ms <= 100
    peer.grant(10_000, stalled)
    assert peer.kinds(stalled) == ["open", "audio", "pressure", "gap"] + ["audio"] * 4
    assert peer.requests(stalled)[2].pressure.level == pb.Pressure.LEVEL_SHEDDING
    told = peer.requests(stalled)[3].gap
    assert (told.from_pts, told.to_pts) == (160, 16 * 160)
    assert told.cause == pb.GAP_CAUSE_SHED
    assert stalled.stats.shed_ms == 300
    peer.connection.connection_lost(None)


async def test_a_full_socket_holds_audio_with_its_call(peer: Peer) -> None:
    stream = peer.opened_stream("call", m.Limits(max_unacked_ms=100, replay_ms=100))
    peer.connection.pause_writing()
    for number in range(20):
        audio(stream, number)
    peer.settle()
    assert peer.kinds(stream) == ["open"]
    peer.connection.resume_writing()
    peer.settle()
    assert peer.kinds(stream)[1:] == ["audio", "pressure", "gap"] + ["audio"] * 4


async def test_goaway_loses_what_never_began_and_lets_the_rest_finish(peer: Peer) -> None:
    first, second = peer.opened_stream("first"), peer.opened_stream("second")
    goaway = b"\0\0\x08\x07\0\0\0\0\0" + first.stream_id.to_bytes(4, "big") + bytes(4)
    peer.connection.data_received(goaway)
    assert peer.heard["second"][-1] == m.AgentLost("the AI is going away: NO_ERROR")
    assert not peer.connection.usable
    assert peer.connection.room == 0
    audio(first, 1)
    peer.settle()
    assert peer.kinds(first) == ["open", "audio"]
    first.close(CLOSE)
    peer.settle()
    peer.h2.send_headers(first.stream_id, [("grpc-status", "0")], end_stream=True)
    peer.settle()
    assert peer.transport.ended == "closed"
    assert second in peer.owner.over


async def test_a_reset_stream_is_lost_alone(peer: Peer) -> None:
    one, two = peer.opened_stream("one"), peer.opened_stream("two")
    peer.h2.reset_stream(one.stream_id, ErrorCodes.REFUSED_STREAM)
    peer.settle()
    assert peer.heard["one"][-1] == m.AgentLost("stream reset: REFUSED_STREAM")
    audio(one, 1)
    audio(two, 1)
    peer.settle()
    assert peer.kinds(two) == ["open", "audio"]
    assert peer.owner.over == [one]


async def test_trailers_end_the_stream_with_their_status(peer: Peer) -> None:
    stream = peer.opened_stream()
    trailers = [("grpc-status", "14"), ("grpc-message", "going%20down")]
    peer.h2.send_headers(stream.stream_id, trailers, end_stream=True)
    peer.settle()
    assert peer.heard["call"][-1] == m.AgentLost("UNAVAILABLE: going down")
    assert any(isinstance(event, StreamReset) for event in peer.events)


async def test_a_refusal_in_the_first_header_block_is_read(peer: Peer) -> None:
    stream = peer.stream()
    peer.h2.send_headers(stream.stream_id, [*ACCEPTED, ("grpc-status", "16")], end_stream=True)
    peer.settle()
    assert peer.heard["call"] == [m.AgentLost("UNAUTHENTICATED", retryable=False)]


async def test_an_end_without_trailers_is_a_loss(peer: Peer) -> None:
    stream = peer.opened_stream()
    peer.h2.end_stream(stream.stream_id)
    peer.settle()
    assert peer.heard["call"][-1] == m.AgentLost("the stream ended without a grpc-status")


async def test_close_says_goodbye_then_ends_our_side(peer: Peer) -> None:
    stream = peer.opened_stream()
    audio(stream, 0)
    stream.close(CLOSE)
    peer.settle()
    assert peer.kinds(stream) == ["open", "audio", "close"]
    assert peer.half_closed(stream)
    assert peer.owner.over == []
    peer.h2.send_headers(stream.stream_id, [("grpc-status", "0")], end_stream=True)
    peer.settle()
    assert peer.owner.over == [stream]
    assert len(peer.heard["call"]) == 1
    assert peer.connection.idle


async def test_an_ai_that_does_not_end_its_side_is_reset_in_time() -> None:
    peer = Peer(options=AgentOptions(close_seconds=0.0))
    stream = peer.opened_stream()
    stream.close(CLOSE)
    await peer.owner.somebody
    peer.settle()
    assert any(isinstance(event, StreamReset) for event in peer.events)
    assert len(peer.heard["call"]) == 1
    peer.connection.connection_lost(None)


async def test_pings_are_answered(peer: Peer) -> None:
    peer.h2.ping(b"12345678")
    peer.settle()
    assert any(isinstance(event, PingAckReceived) for event in peer.events)


async def test_the_peers_limit_of_streams_is_kept() -> None:
    peer = Peer({SettingCodes.MAX_CONCURRENT_STREAMS: 3})
    assert peer.connection.room == 3
    peer.opened_stream()
    assert peer.connection.room == 2
    peer.connection.connection_lost(None)


async def test_a_larger_connection_window_takes_more_calls(peer: Peer) -> None:
    assert peer.connection.room == 80
    peer.grant(65_535)
    assert peer.connection.room == 160
    peer.grant(100 << 20)
    assert peer.connection.room == 320


async def test_a_message_over_the_limit_loses_the_call_alone(peer: Peer) -> None:
    stream, other = peer.opened_stream("call"), peer.opened_stream("other")
    peer.h2.send_data(stream.stream_id, b"\0\0\x04\0\1")  # 262,145 bytes to come
    peer.settle()
    lost = peer.heard["call"][-1]
    assert isinstance(lost, m.AgentLost)
    assert (lost.retryable, "over 262144" in lost.reason) == (False, True)
    assert any(isinstance(event, StreamReset) for event in peer.events)
    peer.say(other, pb.ConverseResponse(mark=pb.Mark(name="x")))
    assert peer.heard["other"][-1] == m.Mark("x")


async def test_large_messages_are_taken_as_they_come(peer: Peer) -> None:
    stream = peer.opened_stream()
    speak = pb.Speak(utterance_id="u", data=b"\1\2" * 60_000)
    wire = prefixed(pb.ConverseResponse(speak=speak).SerializeToString())
    for _ in range(40):  # 4.8 MB: more than any window
        for at in range(0, len(wire), 16_384):
            peer.h2.send_data(stream.stream_id, wire[at : at + 16_384])
        peer.settle()
    assert len(peer.heard["call"]) == 41


async def test_something_else_than_http2_ends_the_connection(peer: Peer) -> None:
    peer.opened_stream()
    peer.connection.data_received(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    lost = peer.heard["call"][-1]
    assert isinstance(lost, m.AgentLost)
    assert "broke HTTP/2" in lost.reason
    assert peer.transport.ended == "aborted"


async def test_a_window_beyond_the_maximum_ends_the_connection(peer: Peer) -> None:
    peer.opened_stream()
    update = b"\0\0\4\x08\0\0\0\0\0\x7f\xff\xff\xff"
    peer.connection.data_received(update)
    assert peer.transport.ended == "aborted"
    assert isinstance(peer.heard["call"][-1], m.AgentLost)


async def test_a_lost_connection_loses_its_calls_as_worth_another_try(peer: Peer) -> None:
    peer.opened_stream("one")
    peer.opened_stream("two")
    peer.connection.connection_lost(OSError("reset by peer"))
    lost = m.AgentLost("connection lost: reset by peer", retryable=True)
    assert (peer.heard["one"][-1], peer.heard["two"][-1]) == (lost, lost)
    assert not peer.connection.usable


async def test_a_receiver_that_fails_costs_nobody_else(peer: Peer) -> None:
    def fail(_: m.FromAgent) -> None:
        raise RuntimeError("a bug of ours")

    bad, good = peer.opened_stream("bad", receiver=fail), peer.opened_stream("good")
    peer.say(bad, pb.ConverseResponse(mark=pb.Mark(name="x")))
    peer.say(good, pb.ConverseResponse(mark=pb.Mark(name="y")))
    assert peer.heard["good"][-1] == m.Mark("y")


async def test_a_closed_connection_says_goaway(peer: Peer) -> None:
    peer.connection.close()
    peer.settle()
    assert any(isinstance(event, ConnectionTerminated) for event in peer.events)
    assert peer.transport.ended == "closed"


async def test_a_call_that_never_opened_on_a_dead_path_retires_the_connection() -> None:
    peer = Peer(options=AgentOptions(opening_seconds=0.001))
    peer.connection.heard_at = 0.0
    stream = peer.stream()
    peer.connection.heard_at = 0.0
    await peer.owner.somebody
    assert peer.heard["call"] == [m.AgentLost("not opened within 0.001 s")]
    assert not peer.connection.usable
    assert stream.connection is peer.connection
    peer.connection.connection_lost(None)


frames = st.builds(
    lambda kind, flags, stream, body: (
        len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body
    ),
    st.integers(0, 12),
    st.sampled_from([0, 1, 4, 5, 8, 0x20, 0xFF]),
    st.sampled_from([0, 1, 2, 3, 5, 2**31 - 1]),
    st.one_of(st.binary(max_size=40), st.sampled_from([b"\x88", b"\x80\0\0\0", bytes(8)])),
)


@given(st.lists(st.one_of(frames, st.binary(max_size=30)), max_size=8))
def test_any_bytes_are_taken_or_end_the_connection(chunks: list[bytes]) -> None:
    async def play() -> None:
        peer = Peer()
        peer.opened_stream()
        for data in chunks:
            if not peer.transport.ended:
                peer.connection.data_received(data)
        peer.connection.connection_lost(None)
        assert isinstance(peer.heard["call"][-1], m.AgentLost)

    asyncio.run(play())
