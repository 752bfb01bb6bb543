"""AgentServer on a loopback port, with a worker's stream on the other end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import grpc
import pytest
from grpc_health.v1 import health_pb2
from voicefork.agent.v1 import agent_pb2 as pb
from voicefork.agent.v1 import agent_pb2_grpc
from voicefork.handoff.v1 import handoff_pb2
from voicefork_sdk.call import Call
from voicefork_sdk.errors import Frozen
from voicefork_sdk.events import Audio, Close, Event, Freeze, Gap, HandoffUpdate, PlayState, Resumed
from voicefork_sdk.model import CloseReason, GapCause, Phase, PlayStatus
from voicefork_sdk.options import AgentOptions
from voicefork_sdk.server import AgentServer, OnCall

from tests.fakes.worker_peer import WorkerPeer, dial, opening

SECOND = b"\x01\x00" * 8000
LIMIT_SECONDS = 20.0


@asynccontextmanager
async def talking(on_call: OnCall, **options: object) -> AsyncIterator[WorkerPeer]:
    """A server with this agent, and an opened call on it."""
    chosen = AgentOptions(**options)  # type: ignore[arg-type]
    async with AgentServer(on_call, options=chosen) as server, dial(server.address) as peer:
        await peer.open(opening())
        yield peer


class Listener:
    """An agent that only keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.ended = asyncio.Event()

    async def __call__(self, call: Call) -> None:
        async for event in call.events():
            self.events.append(event)
        self.ended.set()

    def of(self, kind: type) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


async def test_describe_tells_formats_and_features() -> None:
    options = AgentOptions(name="bot", version="7", languages=("de-DE",))
    async with (
        AgentServer(Listener(), options=options) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        told = await agent_pb2_grpc.VoiceAgentStub(channel).Describe(pb.DescribeRequest())
    assert (told.name, told.version, list(told.languages)) == ("bot", "7", ["de-DE"])
    assert [one.sample_rate for one in told.uplink] == [8000, 16000]
    assert "resume" in told.features


async def test_audio_is_acknowledged_every_300_ms() -> None:
    async with talking(Listener()) as peer:
        await peer.hear(SECOND)
        await peer.until(lambda: any(one.ack.seq == peer.sent_seq for one in peer.of_kind("ack")))
        assert peer.of_kind("ack")[-1].ack.pts == 8000
        places = [0, *(one.ack.pts for one in peer.of_kind("ack"))]
        assert max(later - sooner for sooner, later in pairwise(places)) <= 300 * 8
        assert len(places) < 25  # and not every chunk


async def test_no_ack_mode_sends_none_and_offers_no_resume() -> None:
    async with talking(Listener(), no_ack=True) as peer:
        assert peer.opened is not None
        assert (peer.opened.no_ack, peer.opened.resume_token) == (True, "")
        await peer.hear(SECOND)
        await peer.close()
        assert await peer.code() is grpc.StatusCode.OK
        assert not peer.of_kind("ack")


async def test_close_is_the_last_event() -> None:
    agent = Listener()
    async with talking(agent) as peer:
        await peer.close(pb.Close.REASON_HUMAN_CONNECTED)
        assert await peer.code() is grpc.StatusCode.OK
        await asyncio.wait_for(agent.ended.wait(), LIMIT_SECONDS)
    assert agent.events[-1] == Close(CloseReason.HUMAN_CONNECTED)


async def test_a_failing_agent_ends_only_its_own_call(caplog: pytest.LogCaptureFixture) -> None:
    async def fail_on_audio(call: Call) -> None:
        async for event in call.events():
            assert not isinstance(event, Audio), "bug"

    async with AgentServer(fail_on_audio) as server:
        async with dial(server.address) as broken, dial(server.address) as sound:
            await broken.open(opening())
            await sound.open(opening())
            await broken.hear(SECOND[:320])
            assert await broken.code() is grpc.StatusCode.INTERNAL
            await sound.close()
            assert await sound.code() is grpc.StatusCode.OK
        assert server.calls_failed == 1
    assert "on_call failed" in caplog.text


async def test_a_spawned_task_that_fails_ends_the_call(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("bug")

    async def on_call(call: Call) -> None:
        call.spawn(fail())
        async for _ in call.events():
            pass

    async with talking(on_call) as peer:
        assert await peer.code() is grpc.StatusCode.INTERNAL
    assert "on_call failed" in caplog.text


async def test_speech_never_overruns_the_playout_buffer() -> None:
    async def say_five_seconds(call: Call) -> None:
        await call.speak("long", SECOND * 5)
        await call.played("long")

    async with AgentServer(say_five_seconds) as server, dial(server.address) as peer:
        peer.plays = False
        await peer.open(opening(limits=pb.Limits(playout_buffer_ms=2200)))
        await peer.until(lambda: len(peer.spoken()) == 2 * len(SECOND))
        await peer.play_state("long", pb.PlayState.STATE_PROGRESS, 1000)
        await peer.until(lambda: len(peer.spoken()) == 3 * len(SECOND))
        await peer.play_state("long", pb.PlayState.STATE_PROGRESS, 3000)
        await peer.until(lambda: len(peer.spoken()) == 5 * len(SECOND))
        assert peer.of_kind("speak")[-1].speak.last
        await peer.play_state("long", pb.PlayState.STATE_FINISHED, 5000)
        assert await peer.code() is grpc.StatusCode.OK


async def test_clear_stops_the_speech_that_is_still_to_be_sent() -> None:
    results: list[object] = []

    async def speak_until_cleared(call: Call) -> None:
        async def speak() -> None:
            results.append(await call.speak("long", SECOND * 10))

        call.spawn(speak())
        async for event in call.events():
            if isinstance(event, Audio):
                call.clear("long")
                results.append((await call.played("long")).status)

    async with AgentServer(speak_until_cleared) as server, dial(server.address) as peer:
        peer.plays = False
        await peer.open(opening(limits=pb.Limits(playout_buffer_ms=2200)))
        await peer.until(lambda: len(peer.spoken()) == 2 * len(SECOND))
        await peer.hear(SECOND[:320])
        cleared = (await peer.expect("clear")).clear
        assert list(cleared.utterance_ids) == ["long"]
        await peer.close()
        await peer.code()
    assert results == [PlayStatus.CUT, False]


async def test_speaking_after_freeze_raises_but_for_the_phrase_named() -> None:
    said: list[str] = []

    async def on_call(call: Call) -> None:
        async for event in call.events():
            if isinstance(event, Freeze):
                await call.speak("transition", SECOND[:320])
                try:
                    await call.speak("other", SECOND[:320])
                except Frozen:
                    said.append("frozen")
            if isinstance(event, HandoffUpdate):
                await call.speak("sorry", SECOND[:320])

    async with talking(on_call) as peer:
        await peer.send(freeze=pb.Freeze(reason="handoff", except_utterance_id="transition"))
        await peer.handoff("r1", handoff_pb2.PHASE_RETURNED, 9)
        await peer.expect("speak", 2)
        assert [one.speak.utterance_id for one in peer.of_kind("speak")] == ["transition", "sorry"]
    assert said == ["frozen"]


async def test_the_human_is_told_something_while_the_bot_is_frozen() -> None:
    async def on_call(call: Call) -> None:
        async for event in call.events():
            if isinstance(event, Freeze):
                assert await call.tell_agent("briefing", SECOND)

    async with talking(on_call) as peer:
        await peer.send(freeze=pb.Freeze(reason="handoff"))
        await peer.until(lambda: len(peer.spoken("briefing")) == len(SECOND))
        pieces = [one.speak for one in peer.of_kind("speak")]
        assert {piece.audience for piece in pieces} == {pb.AUDIENCE_AGENT}
        assert [piece.last for piece in pieces] == [False] * (len(pieces) - 1) + [True]


async def test_a_freeze_does_not_cut_what_the_human_is_being_told() -> None:
    cut: list[bool] = []

    async def on_call(call: Call) -> None:
        await call.tell_agent("briefing", SECOND[:320], last=False)
        async for event in call.events():
            if isinstance(event, Freeze):
                cut.append(not await call.tell_agent("briefing", SECOND[:320]))

    async with talking(on_call) as peer:
        await peer.expect("speak")
        await peer.send(freeze=pb.Freeze(reason="handoff"))
        await peer.until(lambda: len(peer.spoken("briefing")) == 640)
    assert cut == [False]


async def test_an_escalation_larger_than_a_message_is_refused_here() -> None:
    refused: list[str] = []

    async def on_call(call: Call) -> None:
        context = handoff_pb2.Context(briefing_audio=bytes(16_000 * 17))
        try:
            await call.escalate(reason="dispute", context=context)
        except ValueError as error:
            refused.append(str(error))
        await call.escalate(
            reason="dispute", context=handoff_pb2.Context(briefing_audio=bytes(16_000 * 15))
        )

    async with talking(on_call) as peer:
        asked = (await peer.expect("escalate")).escalate
        assert len(asked.context.briefing_audio) == 16_000 * 15
    assert len(refused) == 1


async def test_an_escalation_is_followed_to_its_end() -> None:
    phases: list[Phase] = []

    async def on_call(call: Call) -> None:
        escalation = await call.escalate(reason="dispute", intent="dispute", say_first="bye")
        phases.extend([update.phase async for update in escalation.updates()])

    async with talking(on_call) as peer:
        asked = (await peer.expect("escalate")).escalate
        assert (asked.call_id, asked.intent, asked.say_first) == ("018f-call", "dispute", "bye")
        assert asked.language == "en-US"
        for revision, phase in enumerate(
            (handoff_pb2.PHASE_RECEIVED, handoff_pb2.PHASE_RINGING, handoff_pb2.PHASE_CONNECTED), 1
        ):
            await peer.handoff(asked.request_id, phase, revision)
        assert await peer.code() is grpc.StatusCode.OK
    assert phases == [Phase.RECEIVED, Phase.RINGING, Phase.CONNECTED]


async def test_how_sure_an_agent_is_of_the_intent_is_told_only_if_it_says_so() -> None:
    async def on_call(call: Call) -> None:
        await call.escalate(reason="dispute", intent="dispute", confidence=0.75)
        await call.escalate(reason="dispute", intent="dispute")

    async with talking(on_call) as peer:
        await peer.expect("escalate", 2)
        sure, silent = (one.escalate for one in peer.of_kind("escalate"))
        assert sure.confidence == 0.75
        assert not silent.HasField("confidence")


async def test_a_stalled_agent_loses_the_oldest_audio_and_is_told() -> None:
    resume = asyncio.Event()
    agent = Listener()

    async def stall(call: Call) -> None:
        await resume.wait()
        await agent(call)

    async with talking(stall) as peer:
        await peer.hear(SECOND * 3)
        await peer.until(lambda: any(one.ack.pts >= 16000 for one in peer.of_kind("ack")))
        resume.set()
        await peer.close()
        await asyncio.wait_for(agent.ended.wait(), LIMIT_SECONDS)
    gap = agent.of(Gap)[0]
    assert isinstance(gap, Gap)
    assert (gap.from_pts, gap.to_pts, gap.cause) == (0, 16000, GapCause.SHED)
    assert len(agent.of(Audio)) == 50


async def test_a_broken_stream_is_resumed_without_losing_or_repeating_audio() -> None:
    agent = Listener()
    async with AgentServer(agent) as server:
        async with dial(server.address) as first:
            token = (await first.open(opening())).resume_token
            await first.hear(SECOND)
            await first.until(lambda: any(one.ack.pts == 8000 for one in first.of_kind("ack")))
        async with dial(server.address) as second:
            assert (await second.open(opening(resume_token=token))).resumed
            await second.hear(SECOND * 2)  # the first of them is a replay
            await second.close()
            await asyncio.wait_for(agent.ended.wait(), LIMIT_SECONDS)
        assert server.calls_taken == 1
    heard = [event.pts for event in agent.of(Audio) if isinstance(event, Audio)]
    assert heard == list(range(0, 16000, 160))
    assert len(agent.of(Resumed)) == 1


async def test_a_broken_stream_that_nobody_resumes_ends_the_call() -> None:
    agent = Listener()
    async with AgentServer(agent, options=AgentOptions(resume_seconds=0.1)) as server:
        async with dial(server.address) as peer:
            await peer.open(opening())
        await asyncio.wait_for(agent.ended.wait(), LIMIT_SECONDS)
    assert agent.events[-1] == Close(CloseReason.FORK_LOST, "the stream was lost")


async def test_an_agent_that_ignores_close_is_cancelled() -> None:
    async def sleep_on(_call: Call) -> None:
        await asyncio.sleep(3600)

    options = AgentOptions(close_seconds=0.1)
    async with AgentServer(sleep_on, options=options) as server, dial(server.address) as peer:
        await peer.open(opening())
        await peer.close()
        assert await peer.code() is grpc.StatusCode.OK
        assert await server.drain(LIMIT_SECONDS)


async def test_calls_beyond_the_limit_are_refused() -> None:
    options = AgentOptions(max_calls=1)
    async with (
        AgentServer(Listener(), options=options) as server,
        dial(server.address) as first,
        dial(server.address) as second,
    ):
        await first.open(opening())
        await second.send(open=opening())
        assert await second.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_an_unknown_downlink_is_refused() -> None:
    async with AgentServer(Listener()) as server, dial(server.address) as peer:
        await peer.send(open=opening(downlinks=(44100,)))
        assert await peer.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_stream_that_does_not_begin_with_open_is_refused() -> None:
    async with AgentServer(Listener()) as server, dial(server.address) as peer:
        await peer.answer()
        assert await peer.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_draining_waits_for_calls_and_takes_no_new_ones() -> None:
    async with (
        AgentServer(Listener()) as server,
        dial(server.address) as old,
        dial(server.address) as new,
        asyncio.TaskGroup() as tasks,
    ):
        await old.open(opening())
        draining = tasks.create_task(server.drain(LIMIT_SECONDS))
        async with grpc.aio.insecure_channel(server.address) as channel:
            check = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            answer = await check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
        await new.send(open=opening())
        assert await new.code() is grpc.StatusCode.UNAVAILABLE
        await old.close()
        assert await draining


async def test_playing_is_reported_to_the_agent() -> None:
    states: list[PlayStatus] = []

    async def on_call(call: Call) -> None:
        await call.speak("hello", SECOND[:320])
        call.mark("here")
        async for event in call.events():
            if isinstance(event, PlayState):
                states.append(event.status)
            if event == PlayState("", PlayStatus.MARK, mark="here"):
                call.hang_up("done")

    async with talking(on_call) as peer:
        assert (await peer.expect("hang_up")).hang_up.reason == "done"
    assert states == [PlayStatus.STARTED, PlayStatus.FINISHED, PlayStatus.MARK]
