"""A caller meets the bot: real SIP and RTP, real Asterisk, real Redis; the worker is a fake."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import aiohttp
import grpc
import pytest
from redis.asyncio import Redis
from voicefork.agent.v1 import agent_pb2
from voicefork.handoff.v1 import handoff_pb2
from voicefork.worker.v1 import worker_pb2
from voicefork_cli.lab.ours import Service
from voicefork_cli.measure.tones import share_of
from voicefork_cli.sim.caller import CarrierCaller, open_caller
from voicefork_cli.sim.source import Tone

from tests.builders.virtual_time import eventually
from tests.fakes.worker_control import FakeWorker
from tests.integration.orchestrator.conftest import FAILURE_SECONDS, Pbx, Start
from tests.integration.orchestrator.relay import open_relay

MUSIC, RINGING, BOT = 350, 600, 1000
HEARD = (MUSIC, RINGING, BOT)
FRAMES = 15  # 0.3 s of one tone is a tone
CallState = agent_pb2.CallState
Close = agent_pb2.Close


@dataclass
class Scene:
    """One call: who takes part, and what they do."""

    pbx: Pbx
    worker: FakeWorker
    redis: Redis
    caller: CarrierCaller
    call_id: str
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    reporting: asyncio.Task[None] = field(init=False)

    @property
    def key(self) -> str:
        return f"voicefork:v1:default:call:{self.call_id}"

    async def ring(self, headers: Mapping[str, str] | None = None) -> None:
        given = {"X-Voicefork-Call": self.call_id} if headers is None else headers
        uri = f"sip:+14155550199@{self.pbx.asterisk.sip}"
        await self.caller.start(uri, Tone(440), headers=given)

    async def hears(self, hz: int) -> None:
        """Waits until the newest audio is that tone."""
        async with asyncio.timeout(FAILURE_SECONDS):
            while True:
                newest = list(self.caller.heard)[-FRAMES:]
                if len(newest) == FRAMES and share_of(newest, hz, HEARD) > 0.9:
                    return
                await asyncio.sleep(0.02)

    async def fork(self) -> None:
        """What a worker writes when a fork arrives."""
        host, port = self.worker.talkback
        half = {
            "worker_id": self.worker.worker_id,
            "control": self.worker.control,
            "talkback_host": host,
            "talkback_port": port,
        }
        async with self.redis.pipeline(transaction=True) as pipe:
            pipe.hset(self.key, "fork", json.dumps(half))
            pipe.publish("voicefork:v1:joined", self.call_id)
            await pipe.execute()

    async def attached(self) -> worker_pb2.AttachTalkbackRequest:
        kind = worker_pb2.AttachTalkbackRequest
        request: worker_pb2.AttachTalkbackRequest = await self.worker.wait_told(
            kind, call_id=self.call_id
        )
        return request

    async def detached(self) -> int:
        """Waits for the talk-back's end; returns what the AI is told."""
        kind = worker_pb2.DetachTalkbackRequest
        request = await self.worker.wait_told(kind, call_id=self.call_id)
        return int(request.reason)

    async def talk(self, orchestrator: Service) -> None:
        """The bot speaks its tone from its attachment on, and the worker says so."""
        attached = await self.attached()
        self.report_to(orchestrator)
        self.worker.report(self.call_id, bot_speaks=worker_pb2.BotSpeaks(utterance_id="u1"))
        tone = Tone(BOT)
        frames = (tone.payload("PCMU") or b"" for _ in itertools.count())
        remote = (attached.remote.host, attached.remote.port)
        self.tasks.append(asyncio.create_task(self.worker.speak(remote, frames)))

    async def talks(self, orchestrator: Service) -> None:
        """Waits until the orchestrator says so."""
        async with asyncio.timeout(FAILURE_SECONDS):
            while await state_of(orchestrator, self.call_id) != "talking":  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    def report_to(self, orchestrator: Service) -> None:
        address = orchestrator.addresses["grpc"]
        self.reporting = asyncio.create_task(self.worker.report_to(address))
        self.tasks.append(self.reporting)

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@pytest.fixture
async def scene(pbx: Pbx, worker: FakeWorker, redis_url: str, call_id: str) -> AsyncIterator[Scene]:
    redis: Redis = Redis.from_url(redis_url, protocol=2)
    async with open_caller() as caller:
        scene = Scene(pbx, worker, redis, caller, call_id)
        yield scene
        await scene.stop()
    await redis.aclose()


async def state_of(orchestrator: Service, call_id: str) -> str:
    url = f"http://{orchestrator.addresses['admin']}/calls"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        calls = (await response.json())["calls"]
        return next((call["state"] for call in calls if call["call_id"] == call_id), "")


async def test_the_caller_hears_music_then_the_bot_and_nothing_is_left_after_the_hang_up(
    start: Start, scene: Scene
) -> None:
    orchestrator = await start()
    await scene.ring()
    await scene.hears(MUSIC)
    await scene.fork()
    await scene.talk(orchestrator)
    await scene.hears(BOT)
    await scene.talks(orchestrator)
    await scene.caller.hang_up()
    assert await scene.detached() == Close.REASON_CALL_ENDED
    await scene.pbx.wait_empty()


async def test_a_fork_that_came_first_is_met_at_once(start: Start, scene: Scene) -> None:
    await start()
    await scene.fork()
    await scene.ring()
    attached = await scene.attached()
    assert attached.codec == worker_pb2.TALKBACK_CODEC_PCMU
    assert attached.call_state == CallState.STATE_ANSWERED
    assert attached.ari_node == scene.pbx.asterisk.name
    assert attached.channel_id
    await scene.hears(MUSIC)


async def test_a_worker_can_say_itself_that_the_fork_is_there(start: Start, scene: Scene) -> None:
    orchestrator = await start()
    host, port = scene.worker.talkback
    talkback = worker_pb2.RtpAddress(host=host, port=port)
    started = worker_pb2.ForkStarted(control=scene.worker.control, talkback=talkback)
    scene.worker.report(scene.call_id, fork_started=started)
    scene.report_to(orchestrator)
    await scene.ring()
    await scene.attached()


async def test_a_fork_that_never_comes_sends_the_caller_to_the_queue_with_music_all_the_way(
    start: Start, scene: Scene
) -> None:
    await start("--rendezvous-deadline", "0.5")
    await scene.ring()
    await scene.hears(MUSIC)
    await scene.pbx.wait_in_queue()
    await scene.hears(MUSIC)
    assert share_of(list(scene.caller.heard)[3:], MUSIC, HEARD) > 0.97


async def test_a_bot_that_never_speaks_loses_the_caller_to_the_queue(
    start: Start, scene: Scene
) -> None:
    await start("--bot-speaks-deadline", "0.5")
    await scene.fork()
    await scene.ring()
    await scene.pbx.wait_in_queue()
    assert await scene.detached() == Close.REASON_LEFT_BOT


async def test_a_worker_that_refuses_the_voice_loses_the_caller_to_the_queue(
    start: Start, scene: Scene
) -> None:
    await start()
    scene.worker.refuse_attach = grpc.StatusCode.NOT_FOUND
    await scene.fork()
    await scene.ring()
    await scene.pbx.wait_in_queue()


async def test_a_bot_that_fails_in_conversation_loses_the_caller_to_the_queue(
    start: Start, scene: Scene
) -> None:
    orchestrator = await start()
    await scene.fork()
    await scene.ring()
    await scene.talk(orchestrator)
    await scene.hears(BOT)
    scene.worker.report(scene.call_id, bot_failed=worker_pb2.BotFailed(reason="test"))
    await scene.pbx.wait_in_queue()
    await scene.hears(MUSIC)


async def test_a_bot_that_hangs_up_ends_the_call(start: Start, scene: Scene) -> None:
    orchestrator = await start()
    await scene.fork()
    await scene.ring()
    await scene.talk(orchestrator)
    await scene.hears(BOT)
    scene.worker.report(scene.call_id, hang_up=agent_pb2.HangUp(reason="done"))
    async with asyncio.timeout(FAILURE_SECONDS):
        await scene.caller.ended.wait()
    await scene.pbx.wait_empty()


async def test_early_media_is_answered_when_the_bot_is_about_to_speak(
    start: Start, scene: Scene
) -> None:
    orchestrator = await start("--answer", "on_bot")
    await scene.fork()
    await scene.ring()
    assert (await scene.attached()).call_state == CallState.STATE_EARLY
    await scene.hears(MUSIC)
    assert scene.caller.answered_ns is None
    await scene.talk(orchestrator)
    kind = worker_pb2.SetCallStateRequest
    await scene.worker.wait_told(kind, state=CallState.STATE_ANSWERED)
    await scene.hears(BOT)
    await eventually(lambda: scene.caller.answered_ns is not None, FAILURE_SECONDS)


async def test_ringing_is_heard_until_the_bot_speaks(start: Start, scene: Scene) -> None:
    orchestrator = await start("--waiting", "ringing", "--ring-tone", f"{RINGING}/2000")
    await scene.fork()
    await scene.ring()
    await scene.hears(RINGING)
    await scene.talk(orchestrator)
    await scene.hears(BOT)


async def test_a_caller_without_a_call_id_goes_to_the_queue(start: Start, scene: Scene) -> None:
    await start()
    await scene.ring(headers={})
    await scene.pbx.wait_in_queue()
    await scene.hears(MUSIC)


async def test_an_escalation_goes_to_the_queue_as_long_as_nothing_better_takes_it(
    start: Start, scene: Scene
) -> None:
    orchestrator = await start()
    await scene.fork()
    await scene.ring()
    await scene.talk(orchestrator)
    await scene.hears(BOT)
    request = handoff_pb2.EscalateRequest(request_id="r1", call_id=scene.call_id)
    scene.worker.report(scene.call_id, escalate=request)
    await scene.pbx.wait_in_queue()
    assert scene.worker.acknowledged[-1].escalation_error == ""


async def test_an_orchestrator_that_is_told_to_end_leaves_its_callers_to_the_queue(
    start: Start, scene: Scene
) -> None:
    orchestrator = await start()
    await scene.fork()
    await scene.ring()
    await scene.talk(orchestrator)
    await scene.hears(BOT)
    orchestrator.program.signal(signal.SIGTERM)
    await scene.pbx.wait_in_queue()
    assert await orchestrator.program.wait() == 0


async def test_a_second_orchestrator_process_takes_up_what_a_killed_one_left(
    start: Start, scene: Scene
) -> None:
    first = await start()
    await scene.fork()
    await scene.ring()
    await scene.talk(first)
    await scene.hears(BOT)
    first.program.signal(signal.SIGKILL)
    await first.program.wait()
    scene.worker.told.clear()
    second = await start()
    await scene.talks(second)
    await scene.hears(BOT)
    assert not scene.worker.told  # nothing had to be made anew
    legs = [c for c in await scene.pbx.listed("channels") if "UnicastRTP" in str(c["name"])]
    assert len(legs) == 1


async def test_a_worker_whose_stream_of_reports_breaks_keeps_its_call(
    start: Start, scene: Scene
) -> None:
    orchestrator = await start()
    await scene.fork()
    await scene.ring()
    await scene.talk(orchestrator)
    await scene.hears(BOT)
    scene.reporting.cancel()
    await asyncio.sleep(1.5)  # longer than a worker's grace
    await scene.hears(BOT)
    assert await state_of(orchestrator, scene.call_id) == "talking"


async def test_a_worker_that_dies_leaves_its_caller_to_music_and_the_queue(
    start: Start, scene: Scene
) -> None:
    orchestrator = await start("--adoption-deadline", "0.5")
    await scene.fork()
    await scene.ring()
    await scene.talk(orchestrator)
    await scene.hears(BOT)
    await scene.worker.die()
    await scene.stop()
    await scene.hears(MUSIC)
    await scene.pbx.wait_in_queue()


async def test_a_caller_who_hangs_up_while_asterisk_is_out_of_reach_is_noticed_afterwards(
    start: Start, scene: Scene
) -> None:
    async with open_relay(scene.pbx.asterisk.http_url) as relay:
        orchestrator = await start("--ari", relay.url)
        await scene.fork()
        await scene.ring()
        await scene.talk(orchestrator)
        await scene.hears(BOT)
        relay.cut()
        await scene.caller.hang_up()
        await asyncio.sleep(0.2)
        relay.mend()
        assert await scene.detached() == Close.REASON_CALL_ENDED
        await scene.pbx.wait_empty()
