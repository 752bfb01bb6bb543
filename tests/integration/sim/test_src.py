"""The SIPREC client with its own RTP, against a recorder: OpenSIPS' manners and faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from voicefork_cli.measure.tones import share_of
from voicefork_cli.sim.endpoint import SipEndpoint, open_sip
from voicefork_cli.sim.flows import Flow
from voicefork_cli.sim.fork_media import DirectMedia, open_direct_media
from voicefork_cli.sim.message import Message
from voicefork_cli.sim.pacer import Pacer
from voicefork_cli.sim.rs_metadata import Party, RecordedCall
from voicefork_cli.sim.source import Tone
from voicefork_cli.sim.src import ForkState, SiprecClient, SrcSettings

from tests.builders.virtual_time import eventually
from tests.integration.sim.recorder import FAILURE_SECONDS, Recorder, Recording

CALL = RecordedCall("carrier-call", Party("sip:+1@h", "Alice"), Party("sip:+2@h"))
BOTH = (440.0, 660.0)
PATIENT = SrcSettings(no_answer_seconds=FAILURE_SECONDS)
TOO_EARLY = replace(PATIENT, drops_answers_before_ms=60_000)  # whatever comes


@pytest.fixture
async def endpoint() -> AsyncIterator[SipEndpoint]:
    async with open_sip() as endpoint:
        yield endpoint


@pytest.fixture
async def media(pacer: Pacer) -> AsyncIterator[DirectMedia]:
    with open_direct_media(pacer, Tone(440), Tone(660)) as media:
        yield media


async def begin_reinvite(recorder: Recorder, recording: Recording) -> Message:
    recording.ports.clear()
    return await recorder.reinvite(recording)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_each_leg_is_sent_to_the_port_of_its_label(
    endpoint: SipEndpoint, media: DirectMedia, recorder: Recorder, transport: str
) -> None:
    client = SiprecClient(endpoint, media, CALL, PATIENT)
    assert await client.start([recorder.uri(transport)]) is ForkState.RECORDING
    recording = await recorder.recording()
    await eventually(lambda: min(len(recording.heard(label)) for label in "10") >= 15)
    await client.stop()
    assert share_of(recording.heard("1"), 440, BOTH) == 1
    assert share_of(recording.heard("0"), 660, BOTH) == 1
    assert recording.methods == ["INVITE", "ACK", "BYE"]
    assert client.state is ForkState.STOPPED


async def test_an_answer_that_comes_too_early_is_lost_without_a_word(
    endpoint: SipEndpoint, media: DirectMedia, recorder: Recorder
) -> None:
    recorder.manners = replace(recorder.manners, after_seconds=0.0)
    client = SiprecClient(endpoint, media, CALL, TOO_EARLY)
    assert await client.start([recorder.uri()]) is ForkState.LOST
    await asyncio.sleep(0.2)
    recording = await recorder.recording()
    assert recording.methods == ["INVITE"]
    await client.stop()
    assert recording.methods == ["INVITE"]
    assert recording.heard("1") == []


async def test_a_lost_fork_is_rescued_by_a_reinvite_and_ends_without_bye(
    endpoint: SipEndpoint, media: DirectMedia, recorder: Recorder
) -> None:
    recorder.manners = replace(recorder.manners, after_seconds=0.0)
    client = SiprecClient(endpoint, media, CALL, TOO_EARLY)
    await client.start([recorder.uri()])
    recording = await recorder.recording()
    assert (await begin_reinvite(recorder, recording)).status == 200
    await eventually(lambda: len(recording.heard("1")) >= 5)
    assert share_of(recording.heard("1"), 440, BOTH) == 1
    assert client.state is ForkState.RECORDING
    await client.stop()
    assert "BYE" not in recording.methods


async def test_an_answer_later_than_the_fault_is_taken(
    endpoint: SipEndpoint, media: DirectMedia, recorder: Recorder
) -> None:
    settings = replace(PATIENT, drops_answers_before_ms=25)  # it answers after 30
    client = SiprecClient(endpoint, media, CALL, settings)
    assert await client.start([recorder.uri()]) is ForkState.RECORDING
    await client.stop()


async def test_a_reinvite_can_be_refused_and_the_audio_stays(
    endpoint: SipEndpoint, media: DirectMedia, recorder: Recorder
) -> None:
    client = SiprecClient(endpoint, media, CALL, replace(PATIENT, reinvite_status=488))
    await client.start([recorder.uri()])
    recording = await recorder.recording()
    before = media.caller.remote
    assert (await begin_reinvite(recorder, recording)).status == 488
    assert media.caller.remote == before
    assert client.state is ForkState.RECORDING
    await client.stop()


async def test_a_reinvite_without_a_codec_is_refused(
    endpoint: SipEndpoint, media: DirectMedia, recorder: Recorder
) -> None:
    client = SiprecClient(endpoint, media, CALL, PATIENT)
    await client.start([recorder.uri()])
    recording = await recorder.recording()
    recorder.manners = replace(recorder.manners, leave_out="telephone-event")
    assert (await begin_reinvite(recorder, recording)).status == 488
    await client.stop()


async def test_bye_of_the_recorder_is_405_and_the_fork_goes_on(
    endpoint: SipEndpoint, media: DirectMedia, recorder: Recorder
) -> None:
    client = SiprecClient(endpoint, media, CALL, PATIENT)
    await client.start([recorder.uri("udp")])
    recording = await recorder.recording()
    answer = await recorder.request(recording, "BYE")
    assert (answer.status, answer.get("Contact")[:2]) == (405, "<<")
    assert client.state is ForkState.RECORDING
    await client.stop()


async def test_a_silent_recorder_is_left_for_the_next(
    endpoint: SipEndpoint, media: DirectMedia, recorder: Recorder, pacer: Pacer
) -> None:
    async with open_sip() as silent:
        silent.on_request = lambda request, flow: None
        settings = SrcSettings(no_answer_seconds=1.5)  # the other one's, too
        client = SiprecClient(endpoint, media, CALL, settings)
        uris = [silent.uri("srs"), recorder.uri()]
        assert await client.start(uris) is ForkState.RECORDING
        assert client.tried == uris
        await client.stop()


async def test_each_recorder_tried_gets_a_call_id_of_its_own(
    endpoint: SipEndpoint, media: DirectMedia, recorder: Recorder
) -> None:
    recorder.manners = replace(recorder.manners, status=503)
    client = SiprecClient(endpoint, media, CALL, PATIENT)
    first = await client.start([recorder.uri(), recorder.uri("udp")])
    assert first is ForkState.REFUSED
    assert client.reason == "503 No"
    assert len({invite.call_id for invite in recorder.invites}) == 2
    assert {invite.cseq for invite in recorder.invites} == {2}


async def test_the_owner_found_gets_the_requests_of_the_dialog(
    endpoint: SipEndpoint, media: DirectMedia, recorder: Recorder
) -> None:
    async with open_sip() as adopter:
        got: list[Message] = []

        async def owner(call_id: str) -> str | None:
            return adopter.uri("w2") if adopted else None

        def accept(request: Message, flow: Flow) -> None:
            got.append(request)
            adopter.reply(request, flow, request.reply(200, "OK"))

        adopted = False
        adopter.on_request = accept
        client = SiprecClient(endpoint, media, CALL, replace(PATIENT, owner=owner))
        await client.start([recorder.uri()])
        adopted = True
        await client.stop()
        assert [request.method for request in got] == ["BYE"]
        assert got[0].uri == recorder.uri()  # the remote target stays the first Contact


async def test_a_refused_reinvite_of_ours_changes_nothing(
    endpoint: SipEndpoint, media: DirectMedia, recorder: Recorder
) -> None:
    client = SiprecClient(endpoint, media, CALL, PATIENT)
    await client.start([recorder.uri()])
    recorder.manners = replace(recorder.manners, reinvite_status=488)
    assert await client.refresh() == 488
    assert client.state is ForkState.RECORDING
    recording = await recorder.recording()
    await eventually(lambda: recording.methods == ["INVITE", "ACK", "INVITE", "ACK"])
    await client.stop()


async def test_any_method_can_be_sent_within_the_dialog(
    endpoint: SipEndpoint, media: DirectMedia, recorder: Recorder
) -> None:
    client = SiprecClient(endpoint, media, CALL, PATIENT)
    await client.start([recorder.uri()])
    headers = [("Content-Type", "text/plain"), ("X-Bot", "hello")]
    assert await client.indialog("INFO", headers, b"barge-in") == 200
    info = (await recorder.recording()).requests[-1]
    assert (info.method, info.body, info.get("X-Bot")) == ("INFO", b"barge-in", "hello")
    await client.stop()
