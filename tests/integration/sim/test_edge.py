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
from voicefork_cli.measure.tones import first_heard, share_of
from voicefork_cli.sim.caller import CarrierCaller, Identity, open_caller
from voicefork_cli.sim.edge import Edge, open_edge
from voicefork_cli.sim.edge_call import EdgePlan
from voicefork_cli.sim.endpoint import open_sip
from voicefork_cli.sim.errors import CallRefused, CallTimeout
from voicefork_cli.sim.pacer import Pacer
from voicefork_cli.sim.phone import AgentPhone, Behaviour, open_phone
from voicefork_cli.sim.sdp import audio_lines
from voicefork_cli.sim.source import Mute, Tone
from voicefork_cli.sim.src import ForkState, SrcSettings

from tests.builders.virtual_time import eventually
from tests.integration.sim.recorder import FAILURE_SECONDS, Recorder

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
                src=SrcSettings(no_answer_seconds=FAILURE_SECONDS),
            ),
            (rtpengine.host, rtpengine.port),
        ) as edge,
        open_caller(Identity(name=name), pacer=pacer) as caller,
    ):
        yield Scene(caller, edge, phone)


async def heard_from_now(packets: list[Packet], hz: int, count: int = 10) -> list[Packet]:
    """What arrives from the first packet of that tone on, until it is so many."""
    now = time.time_ns()

    def since() -> list[Packet]:
        begun = first_heard(packets, hz, BOTH, now)
        return [packet for packet in packets if begun is not None and packet.arrival_ns >= begun]

    await eventually(lambda: len(since()) >= count, FAILURE_SECONDS)
    return since()


async def test_both_parties_hear_each_other_without_dead_air(scene: Scene) -> None:
    await scene.dial()
    call = await scene.phone.next_call()
    agent, caller = await asyncio.gather(
        heard_from_now(scene.caller.heard, AGENT, 50), heard_from_now(call.heard, CALLER, 50)
    )
    assert share_of(agent, AGENT, BOTH) == 1
    assert share_of(caller, CALLER, BOTH) == 1
    assert hear(agent, agent[0].arrival_ns, agent[-1].arrival_ns).silent_ms == 0


async def test_each_leg_arrives_on_its_own_label(scene: Scene, recorder: Recorder) -> None:
    await scene.dial()
    recording = await recorder.recording()
    caller, agent = await asyncio.gather(
        heard_from_now(recording.heard("1"), CALLER, 20),
        heard_from_now(recording.heard("0"), AGENT, 20),
    )
    assert (share_of(caller, CALLER, BOTH), share_of(caller, AGENT, BOTH)) == (1, 0)
    assert (share_of(agent, AGENT, BOTH), share_of(agent, CALLER, BOTH)) == (1, 0)


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
    await recording.acknowledged()
    await scene.caller.hang_up()
    await recording.ended()
    async with asyncio.timeout(FAILURE_SECONDS):
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
    await recording.ended()
    async with asyncio.timeout(FAILURE_SECONDS):
        await scene.caller.ended.wait()


async def test_who_ends_a_call_that_is_ending_waits_until_the_recorder_has_its_bye(
    scene: Scene, recorder: Recorder
) -> None:
    await scene.dial()
    recording = await recorder.recording()
    await recording.acknowledged()
    call = scene.edge.calls[scene.caller.call_id]
    async with asyncio.TaskGroup() as work:
        ending = work.create_task(call.end())
        await asyncio.sleep(0)
        await call.end()  # as an edge does that closes
        assert ending.done()
    assert recording.methods == ["INVITE", "ACK", "BYE"]


async def test_hold_and_resume_reinvite_the_recorder_without_the_identity(
    scene: Scene, recorder: Recorder
) -> None:
    await scene.dial()
    recording = await recorder.recording()
    await recording.acknowledged()
    await scene.caller.hold()
    await recording.acknowledged(2)
    await scene.caller.resume()
    await recording.acknowledged(3)
    invites = [request for request in recording.requests if request.method == "INVITE"]
    assert [invite.cseq for invite in invites] == [2, 3, 4]
    assert [invite.get("X-Voicefork-Call") != "" for invite in invites] == [True, False, False]
    sessions = [invite.body.split(b"session_id=")[1][:26] for invite in invites]
    assert sessions[0] == sessions[1] == sessions[2]
    assert share_of(await heard_from_now(recording.heard("1"), CALLER), CALLER, BOTH) == 1


async def test_a_leg_that_is_held_is_offered_inactive(scene: Scene, recorder: Recorder) -> None:
    await scene.dial()
    recording = await recorder.recording()
    await recording.acknowledged()
    await scene.caller.hold()
    await recording.acknowledged(2)
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
    scene.phone.behaviour = Behaviour(ring_seconds=2.0, early_media=True)
    uri = scene.edge.uri.replace("sip:", "sip:+14155550199@")
    await scene.caller.start(uri, Tone(CALLER))
    recording = await recorder.recording()
    await scene.caller.until_answered(FAILURE_SECONDS)
    assert scene.caller.answered_ns is not None
    assert recording.invited_ns < scene.caller.answered_ns
    await heard_from_now(recording.heard("0"), AGENT)  # the fork has gone on since
    assert recording.methods == ["INVITE", "ACK"]  # nothing tells the recorder of the answer


async def test_a_cancelled_early_call_ends_the_fork(scene: Scene, recorder: Recorder) -> None:
    scene.phone.behaviour = Behaviour(status=None, early_media=True)
    uri = scene.edge.uri.replace("sip:", "sip:+14155550199@")
    await scene.caller.start(uri, Tone(CALLER))
    recording = await recorder.recording()
    await recording.acknowledged()
    await scene.caller.cancel()
    await recording.ended()
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
    await scene.caller.start(scene.edge.uri.replace("sip:", "sip:1@"), Mute())
    call = await scene.phone.next_call(FAILURE_SECONDS)
    with pytest.raises(CallTimeout):
        await scene.caller.until_answered(0.2)
    assert call.cancelled


async def test_keys_arrive_as_events_at_phone_and_recorder(
    scene: Scene, recorder: Recorder
) -> None:
    await scene.dial()
    recording = await recorder.recording()
    call = await scene.phone.next_call()
    ears = (call.heard, recording.heard("1"))
    await asyncio.gather(*(heard_from_now(packets, CALLER) for packets in ears))
    await scene.caller.press("5#")
    await asyncio.gather(*(heard_from_now(packets, CALLER) for packets in ears))
    for packets in ears:
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
        heard = await heard_from_now(recording.heard("1"), CALLER)
        assert fork.tried == [nobody, recorder.uri("udp")]
        assert fork.state is ForkState.RECORDING
        assert share_of(heard, CALLER, BOTH) == 1


async def test_without_transcoding_an_answer_of_fewer_codecs_ends_in_bye_at_once(
    rtpengine: Rtpengine, recorder: Recorder, pacer: Pacer
) -> None:
    recorder.manners = replace(recorder.manners, leave_out="telephone-event")
    async with opened(rtpengine, [recorder.uri()], pacer, as_shipped=False) as scene:
        await scene.dial()
        recording = await recorder.recording()
        await recording.ended()
        (fork,) = scene.edge.calls[scene.caller.call_id].forks
        assert fork.state is ForkState.REFUSED
        assert recording.methods == ["INVITE", "ACK", "BYE"]
        assert not scene.caller.ended.is_set()


async def test_with_transcoding_fewer_codecs_are_enough(scene: Scene, recorder: Recorder) -> None:
    recorder.manners = replace(recorder.manners, leave_out="telephone-event")
    await scene.dial()
    recording = await recorder.recording()
    heard = await heard_from_now(recording.heard("1"), CALLER)
    assert share_of(heard, CALLER, BOTH) == 1
    assert recording.methods == ["INVITE", "ACK"]


async def test_a_call_goes_on_when_no_recorder_takes_it(scene: Scene, recorder: Recorder) -> None:
    recorder.manners = replace(recorder.manners, status=503)
    await scene.dial()
    forks = scene.edge.calls[scene.caller.call_id].forks
    await eventually(lambda: [fork.state for fork in forks] == [ForkState.REFUSED])
    assert share_of(await heard_from_now(scene.caller.heard, AGENT), AGENT, BOTH) == 1


async def test_the_recorder_moves_the_audio_by_its_own_reinvite(
    scene: Scene, recorder: Recorder
) -> None:
    await scene.dial()
    recording = await recorder.recording()
    await heard_from_now(recording.heard("1"), CALLER)
    before = dict(recording.ports)
    recording.ports.clear()
    answer = await recorder.reinvite(recording)
    assert answer.status == 200
    assert answer.get("Contact").startswith("<<sip:")
    moved = await heard_from_now(recording.heard("1"), CALLER)
    assert share_of(moved, CALLER, BOTH) == 1
    assert before["1"].heard[-1].arrival_ns < recording.heard("1")[0].arrival_ns


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
            call = await carrier.next_call()
            if forked:
                await recorder.recording()
            heard = await heard_from_now(call.heard, CALLER)
            assert call.invite.uri.startswith("sip:+14155550123@")
            assert call.invite.get("X-Voicefork-Call") == "placed-1"
            assert call.invite.get("X-Voicefork-Direction") == "out"
            assert len(recorder.recordings) == forked
            if forked:
                invite = recorder.recordings[0].invite
                assert invite.get("X-Voicefork-Direction") == "out"
                assert invite.body.index(b"kind='pbx'") < invite.body.index(b"kind='customer'")
            assert share_of(heard, CALLER, BOTH) == 1
