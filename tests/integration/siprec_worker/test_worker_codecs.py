"""Codecs and keys from INVITE to AI, and the AI's voice back, through the worker as a process."""

from __future__ import annotations

import base64
import socket
from array import array
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import pytest
from G722 import G722
from pylibsrtp import Policy, Session
from siprec_worker.media.g711 import linear_to_ulaw, ulaw_to_linear
from siprec_worker.protocol.rtp import parse_rtp
from siprec_worker.protocol.sdes import parse_crypto
from siprec_worker.protocol.sdp import parse_sdp
from voicefork.agent.v1 import agent_pb2 as pb
from voicefork.worker.v1 import worker_pb2, worker_pb2_grpc
from voicefork_cli.lab.ours import Service, WorkerPlan, open_worker
from voicefork_cli.lab.processes import Lab

from tests.builders.rtp import rtp
from tests.builders.sdp import audio_line, sdp
from tests.fakes.agent_server import AgentServer, FakeCall, Script, agent_server
from tests.integration.interop.caller import Caller
from tests.integration.interop.client import connected_peer
from tests.integration.siprec_worker.media_calls import HOST, Source

opuslib_next: Any = pytest.importorskip("opuslib_next", exc_type=ImportError)

CALL = "0192f0c1-7a3b-7c55-8c11-3f1b2a4d5e6f"
HZ = 1000
PACKETS = 600
ENOUGH = 320 * 55  # octets of linear PCM at 8 kHz
LOUD = 9000
KEY = bytes(range(30))
GCM_KEY = bytes(range(28))


def tone(rate: int, hz: int = HZ, seconds: float = PACKETS / 50) -> bytes:
    times = np.arange(int(rate * seconds)) / rate
    samples: bytes = np.rint(LOUD * np.sin(2 * np.pi * hz * times)).astype("<i2").tobytes()
    return samples


def cut(pcm: bytes, samples: int) -> list[bytes]:
    return [pcm[at : at + 2 * samples] for at in range(0, len(pcm), 2 * samples)]


def opus() -> list[bytes]:
    encoder = opuslib_next.Encoder(48_000, 1, "voip")
    return [encoder.encode(piece, 960) for piece in cut(tone(48_000), 960)]


def g722() -> list[bytes]:
    encoder = G722(16_000, 64_000)
    return [bytes(encoder.encode(array("h", piece))) for piece in cut(tone(16_000), 320)]


def ulaw() -> list[bytes]:
    return [linear_to_ulaw(piece) for piece in cut(tone(8000), 160)]


def l16() -> list[bytes]:
    return cut(swapped(tone(16_000)), 320)


def swapped(pcm: bytes) -> bytes:
    samples: bytes = np.frombuffer(pcm, "<i2").astype(">i2").tobytes()
    return samples


@dataclass(frozen=True, slots=True)
class Sent:
    """What the client sends: its rtpmap, its payloads, RTP clock per packet, and its key."""

    rtpmap: str
    payloads: Callable[[], list[bytes]]
    step: int = 160
    suite: str = ""
    protocol: str = "RTP/AVP"

    @property
    def key(self) -> bytes:
        return GCM_KEY if "GCM" in self.suite else KEY

    def packets(self) -> list[bytes]:
        kind = int(self.rtpmap.split()[0])
        plain = [
            rtp(number, payload, payload_type=kind, timestamp=number * self.step)
            for number, payload in enumerate(self.payloads())
        ]
        if not self.suite:
            return plain
        profile = {
            "AES_CM_128_HMAC_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
            "AES_CM_128_HMAC_SHA1_32": Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
            "AEAD_AES_128_GCM": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
        }[self.suite]
        sender = Session(Policy(self.key, Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile))
        return [sender.protect(packet) for packet in plain]

    def offer(self, source: Source) -> bytes:
        inline = base64.b64encode(self.key).decode()
        crypto = [f"a=crypto:1 {self.suite} inline:{inline}|2^31"] if self.suite else []
        line = audio_line(
            port=source.port, protocol=self.protocol, rtpmaps=[self.rtpmap], extra=crypto
        )
        return sdp(line, host=HOST)


CASES = {
    "opus": Sent("111 opus/48000/2", opus, 960),
    "G.722": Sent("9 G722/8000", g722),
    "L16": Sent("98 L16/16000", l16, 320),
    "PCMU, SRTP": Sent("0 PCMU/8000", ulaw, 160, "AES_CM_128_HMAC_SHA1_80", "RTP/SAVP"),
    "PCMU, SRTP with short tags": Sent(
        "0 PCMU/8000", ulaw, 160, "AES_CM_128_HMAC_SHA1_32", "RTP/SAVPF"
    ),
    "opus, SRTP by GCM": Sent("111 opus/48000/2", opus, 960, "AEAD_AES_128_GCM", "RTP/SAVP"),
}


@pytest.fixture
def source() -> Iterator[Source]:
    source = Source()
    yield source
    source.close()


@asynccontextmanager
async def calling(lab: Lab, agent: AgentServer) -> AsyncIterator[tuple[Service, Caller]]:
    plan = WorkerPlan(f"grpc://127.0.0.1:{agent.port}")
    async with open_worker(lab, plan) as worker:
        host, _, port = worker.addresses["sip"].rpartition(":")
        async with connected_peer("tcp", host, int(port)) as peer:
            yield worker, Caller(peer)


def heard_by(call: FakeCall) -> bytes:
    return b"".join(leg.data for audio in call.audio for leg in audio.legs)


def received(asterisk: socket.socket) -> list[bytes]:
    """The payloads that wait at the socket."""
    payloads: list[bytes] = []
    while True:
        try:
            payloads.append(parse_rtp(asterisk.recv(2048)).payload)
        except BlockingIOError:
            return payloads


def loud(payload: bytes) -> bool:
    return bool(np.abs(np.frombuffer(ulaw_to_linear(payload), "<i2")).max() > LOUD / 2)


def headers() -> list[tuple[str, str]]:
    return [("Content-Type", "application/sdp"), ("X-Voicefork-Call", CALL)]


def pitch(pcm: bytes, rate: int) -> float:
    samples = np.frombuffer(pcm, "<i2").astype(float)
    power = np.abs(np.fft.rfft(samples))
    return float(power.argmax() * rate / len(samples))


@pytest.mark.parametrize("sent", CASES.values(), ids=CASES.keys())
async def test_the_ai_hears_the_tone_of_the_call(lab: Lab, source: Source, sent: Sent) -> None:
    async with agent_server(Script(ack_every=10)) as agent, calling(lab, agent) as (_, caller):
        answer = await caller.ask(body=sent.offer(source), headers=headers())
        media = parse_sdp(answer.body).media[0]
        assert (media.protocol, bool(media.crypto)) == (sent.protocol, bool(sent.suite))
        if sent.suite:
            crypto = parse_crypto(media.crypto[0])
            assert (crypto.tag, crypto.suite) == (1, sent.suite)
            assert crypto.key != sent.key
        # More of them where the machine stands still, and what waited comes too late to be heard.
        for packet in sent.packets():
            if agent.calls and len(heard_by(agent.call(CALL))) >= ENOUGH:
                break
            await source.stream([packet], media.port)
        assert (await caller.ask("BYE")).status == 200
        call = agent.call(CALL)
        await call.ended.wait()
    heard = heard_by(call)
    assert len(heard) >= ENOUGH
    assert pitch(heard, 8000) == pytest.approx(HZ, abs=10)
    gaps = {one.gap.cause for one in call.of_kind("gap")}
    assert pb.GAP_CAUSE_NETWORK_LOSS not in gaps


@pytest.mark.parametrize(
    ("encoding", "rate"),
    [
        (pb.ENCODING_PCM_S16LE, 8000),
        (pb.ENCODING_PCM_S16LE, 16_000),
        (pb.ENCODING_PCM_S16LE, 24_000),
        (pb.ENCODING_G711_ULAW, 8000),
    ],
)
async def test_the_caller_hears_what_the_ai_speaks_in_the_form_it_chose(
    lab: Lab, source: Source, encoding: pb.Encoding.ValueType, rate: int
) -> None:
    chosen = pb.AudioFormat(encoding=encoding, sample_rate=rate)
    said = tone(rate, 700, seconds=1.2)
    said = linear_to_ulaw(said) if encoding == pb.ENCODING_G711_ULAW else said
    speak = pb.ConverseResponse(speak=pb.Speak(utterance_id="u", data=said, last=True))
    script = Script(opened=pb.Opened(downlink=chosen), say=[speak], ack_every=10)
    asterisk = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asterisk.bind((HOST, 0))
    asterisk.setblocking(False)
    heard: list[bytes] = []
    with asterisk:
        async with agent_server(script) as agent, calling(lab, agent) as (worker, caller):
            answer = await caller.ask(body=CASES["opus"].offer(source), headers=headers())
            async with grpc.aio.insecure_channel(worker.addresses["control"]) as channel:
                stub = worker_pb2_grpc.WorkerControlStub(channel)
                at = worker_pb2.RtpAddress(host=HOST, port=asterisk.getsockname()[1])
                await stub.AttachTalkback(
                    worker_pb2.AttachTalkbackRequest(
                        call_id=CALL,
                        remote=at,
                        codec=worker_pb2.TALKBACK_CODEC_PCMU,
                        call_state=pb.CallState.STATE_ANSWERED,
                    )
                )
            port = parse_sdp(answer.body).media[0].port
            for packet in CASES["opus"].packets():
                await source.stream([packet], port)
                heard += received(asterisk)
                if sum(map(loud, heard)) >= 30:  # of the 60 packets that were said
                    break
            assert chosen in agent.call(CALL).open.downlink_choices
            await caller.ask("BYE")
    assert sum(map(loud, heard)) >= 30
    pcm = ulaw_to_linear(b"".join(heard))
    assert pitch(pcm, 8000) == pytest.approx(700, abs=10)
