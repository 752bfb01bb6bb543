"""A call through the edge: real rtpengine between a caller and a phone, forked to a recorder."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID

import pytest
from voicefork_cli.lab.rtpengine import Rtpengine
from voicefork_cli.measure.heard import hear
from voicefork_cli.measure.packets import Packet
from voicefork_cli.measure.tones import share_of
from voicefork_cli.sim.caller import CarrierCaller, Identity, open_caller
from voicefork_cli.sim.edge import Edge, open_edge
from voicefork_cli.sim.edge_call import EdgePlan
from voicefork_cli.sim.endpoint import open_sip
from voicefork_cli.sim.errors import CallRefused, CallTimeout
from voicefork_cli.sim.pacer import Pacer
from voicefork_cli.sim.phone import AgentPhone, Behaviour, open_phone
from voicefork_cli.sim.sdp import audio_lines
from voicefork_cli.sim.source import Mute, Tone
from voicefork_cli.sim.src import ForkState

from tests.integration.sim.recorder import Recorder

CALLER, AGENT = 440, 600
BOTH = (440.0, 600.0)


class Scene:
    """Caller, edge, phone."""

    def __init__(self, caller: CarrierCaller, edge: Edge, phone: AgentPhone) -> None:
        self.caller = caller
        self.edge = edge
        self.phone = phone

    async def dial(self, **more: str) -> None:
        uri = self.edge.uri.replace("sip:", "sip:+14155550199@")
        await self.caller.dial(uri, Tone(CALLER), headers=more)


@pytest.fixture
async def scene(rtpengine: Rtpengine, recorder: Recorder, pacer: Pacer) -> AsyncIterator[Scene]:
    async with opened(rtpengine, [recorder.uri()], pacer) as scene:
        yield scene


@asynccontextmanager
async def opened(
    rtpengine: Rtpengine,
    workers: list[str],
    pacer: Pacer,
    *,
    name: str = "Alice",
    as_shipped: bool = True,
) -> AsyncIterator[Scene]:
    """`as_shipped`: as our OpenSIPS script does it, else as OpenSIPS does it when told nothing."""

    async def pick() -> list[str]:
        return workers

    async with (
        open_phone(pacer=pacer) as phone,
        open_edge(
            EdgePlan(
                phone.uri,
                pick,
                tenant="t42",
                allow_transcoding=as_shipped,
                plain_metadata=not as_shipped,
            ),
            (rtpengine.host, rtpengine.port),
        ) as edge,
        open_caller(Identity(name=name), pacer=pacer) as caller,
    ):
        yield Scene(caller, edge, phone)


def tail(packets: list[Packet], seconds: float) -> list[Packet]:
    begin = time.time_ns() - int(seconds * 1e9)
    return [packet for packet in packets if packet.arrival_ns > begin]


async def test_both_parties_hear_each_other_without_dead_air(scene: Scene) -> None:
    await scene.dial()
    call = await scene.phone.next_call()
    await asyncio.sleep(0.3)
    began = time.time_ns()
    await asyncio.sleep(1.0)
    ended = time.time_ns()
    assert share_of(tail(scene.caller.heard, 1), AGENT, BOTH) == 1
    assert share_of(tail(call.heard, 1), CALLER, BOTH) == 1
    assert hear(scene.caller.heard, began, ended).silent_ms == 0


async def test_each_leg_arrives_on_its_own_label(scene: Scene, recorder: Recorder) -> None:
    await scene.dial()
    recording = await recorder.recording()
    await asyncio.sleep(1.0)
    assert share_of(tail(recording.heard("1"), 0.6), CALLER, BOTH) == 1
    assert share_of(tail(recording.heard("0"), 0.6), AGENT, BOTH) == 1
    assert share_of(tail(recording.heard("1"), 0.6), AGENT, BOTH) == 0
    assert len(tail(recording.heard("0"), 0.6)) > 20


async def test_pbx_and_recorder_learn_the_same_identity(scene: Scene, recorder: Recorder) -> None:
    await scene.dial(**{"X-Voicefork-Call": "forged", "X-Voicefork-Fork": "no"})
    invite = (await recorder.recording()).invite
    call = await scene.phone.next_call()
    identity = invite.get("X-Voicefork-Call")
    assert UUID(identity).version == 7
    assert call.invite.get("X-Voicefork-Call") == identity
    assert call.invite.get("X-Voicefork-Direction") == invite.get("X-Voicefork-Direction") == "in"
    assert invite.get("X-Voicefork-Tenant") == "t42"
    assert invite.get("X-Voicefork-DID") == "+14155550199"
    assert list(scene.edge.forks) == [identity]


async def test_the_recorder_gets_bye_when_the_caller_hangs_up(
    scene: Scene, recorder: Recorder
) -> None:
    await scene.dial()
    recording = await recorder.recording()
    call = await scene.phone.next_call()
    await asyncio.sleep(0.2)
    await scene.caller.hang_up()
    async with asyncio.timeout(3):
        await recording.over.wait()
        await call.ended.wait()
    assert recording.methods == ["INVITE", "ACK", "BYE"]
    assert recording.requests[-1].cseq == 3
    assert scene.edge.calls[scene.caller.call_id].errors == []


async def test_the_recorder_gets_bye_when_the_agent_hangs_up(
    scene: Scene, recorder: Recorder
) -> None:
    scene.phone.behaviour = Behaviour(hang_up_after_seconds=0.3)
    await scene.dial()
    recording = await recorder.recording()
    async with asyncio.timeout(3):
        await scene.caller.ended.wait()
        await recording.over.wait()


async def test_hold_and_resume_reinvite_the_recorder_without_the_identity(
    scene: Scene, recorder: Recorder
) -> None:
    await scene.dial()
    recording = await recorder.recording()
    await asyncio.sleep(0.2)
    await scene.caller.hold()
    await asyncio.sleep(0.2)
    await scene.caller.resume()
    await asyncio.sleep(0.5)
    invites = [request for request in recording.requests if request.method == "INVITE"]
    assert [invite.cseq for invite in invites] == [2, 3, 4]
    assert [invite.get("X-Voicefork-Call") != "" for invite in invites] == [True, False, False]
    sessions = [invite.body.split(b"session_id=")[1][:26] for invite in invites]
    assert sessions[0] == sessions[1] == sessions[2]
    assert share_of(tail(recording.heard("1"), 0.2), CALLER, BOTH) == 1


async def test_a_leg_that_is_held_is_offered_inactive(scene: Scene, recorder: Recorder) -> None:
    await scene.dial()
    recording = await recorder.recording()
    await asyncio.sleep(0.2)
    await scene.caller.hold()
    await asyncio.sleep(0.3)
    lines = audio_lines(recording.requests[-2].body)
    assert [(line.label, line.direction) for line in lines] == [
        ("1", "sendonly"),
        ("0", "inactive"),
    ]
    assert [line.port for line in lines] == [
        line.port for line in audio_lines(recording.invite.body)
    ]


async def test_early_media_starts_the_fork_before_the_answer(
    scene: Scene, recorder: Recorder
) -> None:
    scene.phone.behaviour = Behaviour(ring_seconds=1.0, early_media=True)
    uri = scene.edge.uri.replace("sip:", "sip:+14155550199@")
    await scene.caller.start(uri, Tone(CALLER))
    recording = await recorder.recording()
    assert scene.caller.answered_ns is None
    await scene.caller.until_answered(5)
    await asyncio.sleep(0.2)
    assert recording.methods == ["INVITE", "ACK"]  # nothing tells the recorder of the answer


async def test_a_cancelled_early_call_ends_the_fork(scene: Scene, recorder: Recorder) -> None:
    scene.phone.behaviour = Behaviour(status=None, early_media=True)
    uri = scene.edge.uri.replace("sip:", "sip:+14155550199@")
    await scene.caller.start(uri, Tone(CALLER))
    recording = await recorder.recording()
    await asyncio.sleep(0.1)
    await scene.caller.cancel()
    async with asyncio.timeout(3):
        await recording.over.wait()
    assert (await scene.phone.next_call()).cancelled
    assert scene.caller.progress[-1] == 487


@pytest.mark.parametrize("status", [486, 603])
async def test_a_refusal_reaches_the_caller_and_nothing_is_forked(
    scene: Scene, recorder: Recorder, status: int
) -> None:
    scene.phone.behaviour = Behaviour(status=status)
    with pytest.raises(CallRefused, match=str(status)):
        await scene.dial()
    assert recorder.recordings == []


async def test_an_unanswered_call_is_cancelled(scene: Scene) -> None:
    scene.phone.behaviour = Behaviour(status=None)
    uri = scene.edge.uri.replace("sip:", "sip:1@")
    with pytest.raises(CallTimeout):
        await scene.caller.dial(uri, Mute(), limit_seconds=0.5)
    assert (await scene.phone.next_call()).cancelled


async def test_keys_arrive_as_events_at_phone_and_recorder(
    scene: Scene, recorder: Recorder
) -> None:
    await scene.dial()
    recording = await recorder.recording()
    call = await scene.phone.next_call()
    await asyncio.sleep(0.2)
    await scene.caller.press("5#")
    await asyncio.sleep(0.1)
    for packets in (call.heard, recording.heard("1")):
        events = [packet.payload[0] for packet in packets if packet.payload_type == 101]
        assert list(dict.fromkeys(events)) == [5, 11]


async def test_the_next_worker_gets_the_fork_when_the_first_refuses(
    rtpengine: Rtpengine, recorder: Recorder, pacer: Pacer
) -> None:
    nobody = "sip:127.0.0.1:9;transport=tcp"
    async with opened(rtpengine, [nobody, recorder.uri("udp")], pacer) as scene:
        await scene.dial()
        recording = await recorder.recording()
        (fork,) = scene.edge.calls[scene.caller.call_id].forks
        await asyncio.sleep(0.3)
        assert fork.tried == [nobody, recorder.uri("udp")]
        assert fork.state is ForkState.RECORDING
        assert share_of(recording.heard("1"), CALLER, BOTH) > 0.9


async def test_without_transcoding_an_answer_of_fewer_codecs_ends_in_bye_at_once(
    rtpengine: Rtpengine, recorder: Recorder, pacer: Pacer
) -> None:
    recorder.manners = replace(recorder.manners, leave_out="telephone-event")
    async with opened(rtpengine, [recorder.uri()], pacer, as_shipped=False) as scene:
        await scene.dial()
        recording = await recorder.recording()
        async with asyncio.timeout(2):
            await recording.over.wait()
        (fork,) = scene.edge.calls[scene.caller.call_id].forks
        assert fork.state is ForkState.REFUSED
        assert recording.methods == ["INVITE", "ACK", "BYE"]
        assert not scene.caller.ended.is_set()


async def test_with_transcoding_fewer_codecs_are_enough(scene: Scene, recorder: Recorder) -> None:
    recorder.manners = replace(recorder.manners, leave_out="telephone-event")
    await scene.dial()
    recording = await recorder.recording()
    await asyncio.sleep(0.4)
    assert recording.methods == ["INVITE", "ACK"]
    assert share_of(tail(recording.heard("1"), 0.2), CALLER, BOTH) == 1


async def test_a_call_goes_on_when_no_recorder_takes_it(scene: Scene, recorder: Recorder) -> None:
    recorder.manners = replace(recorder.manners, status=503)
    await scene.dial()
    await asyncio.sleep(0.4)
    (fork,) = scene.edge.calls[scene.caller.call_id].forks
    assert fork.state is ForkState.REFUSED
    assert share_of(tail(scene.caller.heard, 0.2), AGENT, BOTH) == 1


async def test_the_recorder_moves_the_audio_by_its_own_reinvite(
    scene: Scene, recorder: Recorder
) -> None:
    await scene.dial()
    recording = await recorder.recording()
    await asyncio.sleep(0.3)
    before = dict(recording.ports)
    recording.ports.clear()
    answer = await recorder.reinvite(recording)
    assert answer.status == 200
    assert answer.get("Contact").startswith("<<sip:")
    await asyncio.sleep(0.4)
    assert share_of(tail(recording.heard("1"), 0.2), CALLER, BOTH) == 1
    assert tail(before["1"].heard, 0.2) == []


async def test_a_callers_name_goes_unescaped_into_plain_metadata(
    rtpengine: Rtpengine, recorder: Recorder, pacer: Pacer
) -> None:
    async with opened(
        rtpengine, [recorder.uri()], pacer, name="A&B <x>", as_shipped=False
    ) as scene:
        await scene.dial()
        body = (await recorder.recording()).invite.body
        assert b"<name>A&B <x></name>" in body


@pytest.mark.parametrize(("fork", "forked"), [("", True), ("no", False)])
async def test_a_call_of_the_pbx_keeps_its_identity_and_may_refuse_the_fork(
    rtpengine: Rtpengine, recorder: Recorder, pacer: Pacer, fork: str, forked: bool
) -> None:
    async def pick() -> list[str]:
        return [recorder.uri()]

    async with open_sip() as pbx, open_phone("carrier", pacer=pacer) as carrier:
        plan = EdgePlan(pbx.uri(), pick, carrier=carrier.uri)
        async with (
            open_edge(plan, (rtpengine.host, rtpengine.port)) as edge,
            open_caller(pacer=pacer, endpoint=pbx) as caller,
        ):
            told = {"X-Voicefork-Call": "placed-1"} | ({"X-Voicefork-Fork": fork} if fork else {})
            uri = edge.uri.replace("sip:", "sip:+14155550123@")
            await caller.dial(uri, Tone(CALLER), headers=told)
            await asyncio.sleep(0.3)
            call = await carrier.next_call()
            assert call.invite.uri.startswith("sip:+14155550123@")
            assert call.invite.get("X-Voicefork-Call") == "placed-1"
            assert call.invite.get("X-Voicefork-Direction") == "out"
            assert len(recorder.recordings) == forked
            if forked:
                invite = recorder.recordings[0].invite
                assert invite.get("X-Voicefork-Direction") == "out"
                assert invite.body.index(b"kind='pbx'") < invite.body.index(b"kind='customer'")
            assert share_of(tail(call.heard, 0.2), CALLER, BOTH) == 1
