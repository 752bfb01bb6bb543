"""python -m voicefork_sdk.conformance HOST:PORT: a table of the contract's rules, kept or not.

Exit code 0: every rule kept; 1: some not; 2: the agent cannot be reached.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import wave
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2
from voicefork.agent.v1 import agent_pb2 as pb
from voicefork.agent.v1 import agent_pb2_grpc

from voicefork_sdk.conformance.checks import (
    PRIMARY_CHECKS,
    SHADOW_CHECKS,
    Result,
    Verdict,
)
from voicefork_sdk.conformance.dialer import ConformanceCall

_REACH_SECONDS = 5.0
_SHADOW_SECONDS = 2.0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m voicefork_sdk.conformance",
        description="Dials a voicefork.agent.v1 agent as a worker would and checks the rules.",
    )
    parser.add_argument("address", metavar="HOST:PORT")
    parser.add_argument("--seconds", type=float, default=6.0, help="length of the answered call")
    parser.add_argument("--audio", type=Path, help="WAV (8 kHz mono 16 bit) to play to the agent")
    parser.add_argument("--ca", type=Path, help="PEM of the certificate authority: use TLS")
    arguments = parser.parse_args()
    try:
        audio = read_wave(arguments.audio) if arguments.audio else b""
        credentials = arguments.ca and grpc.ssl_channel_credentials(arguments.ca.read_bytes())
    except (OSError, ValueError) as error:
        parser.error(str(error))
    try:
        verdicts = asyncio.run(check(arguments.address, arguments.seconds, audio, credentials))
    except TimeoutError:
        form = "TLS" if arguments.ca else "plain text (TLS: --ca)"
        sys.stderr.write(f"no agent answers at {arguments.address} in {form}: does it run?\n")
        return 2
    sys.stdout.write(table(verdicts))
    return int(any(verdict.result is Result.FAIL for verdict in verdicts))


async def check(
    address: str,
    seconds: float = 6.0,
    audio_8k: bytes = b"",
    credentials: grpc.ChannelCredentials | None = None,
) -> list[Verdict]:
    """All checks against one agent. Raises TimeoutError when it cannot be reached."""
    channel = (
        grpc.aio.secure_channel(address, credentials)
        if credentials
        else grpc.aio.insecure_channel(address)
    )
    async with channel:
        async with asyncio.timeout(_REACH_SECONDS):
            await channel.channel_ready()
        verdicts = [await _health(channel), await _describe(channel)]
        primary = ConformanceCall(channel, offer(pb.ROLE_PRIMARY), audio_8k)
        record = await primary.run(seconds)
        verdicts += [one(record) for one in PRIMARY_CHECKS]
        shadow = ConformanceCall(channel, offer(pb.ROLE_SHADOW), audio_8k)
        record = await shadow.run(min(seconds, _SHADOW_SECONDS))
        verdicts += [one(record) for one in SHADOW_CHECKS]
    return verdicts


def offer(role: pb.Role.ValueType) -> pb.Open:
    """What a worker offers for an ordinary call."""
    pcm = pb.ENCODING_PCM_S16LE
    return pb.Open(
        call_id="conformance",
        session_id="conformance",
        role=role,
        legs=[
            pb.Leg(handle=1, kind=pb.LEG_KIND_CUSTOMER),
            pb.Leg(handle=2, kind=pb.LEG_KIND_PBX),
        ],
        consent=pb.CONSENT_GRANTED,
        uplink=pb.Uplink(encoding=pcm, sample_rate=8000, chunk_ms=20),
        downlink_choices=[
            pb.AudioFormat(encoding=pcm, sample_rate=rate) for rate in (8000, 16000, 24000)
        ],
        language_hint="en-US",
        limits=pb.Limits(max_unacked_ms=2000, replay_ms=5000, playout_buffer_ms=30_000),
        direction="in",
        route="conformance",
    )


def table(verdicts: list[Verdict]) -> str:
    """Rule, result and facts in columns; the advice below what failed."""
    width = max(len(verdict.rule) for verdict in verdicts)
    lines = []
    for verdict in verdicts:
        lines.append(f"{verdict.result.value:4}  {verdict.rule:{width}}  {verdict.facts}".rstrip())
        if verdict.advice and verdict.result is not Result.PASS:
            lines.append(f"      -> {verdict.advice}")
    passed, skipped = (
        sum(verdict.result is result for verdict in verdicts)
        for result in (Result.PASS, Result.SKIP)
    )
    untried = f", {skipped} not tried" if skipped else ""
    lines.append(f"{passed} of {len(verdicts)} kept{untried}")
    return "\n".join(lines) + "\n"


def read_wave(path: Path) -> bytes:
    """The samples of a WAV file. Raises OSError, and ValueError unless 8 kHz, mono, 16 bit."""
    needed = f"{path}: a WAV file of 8 kHz, mono, 16 bit is needed"
    try:
        with wave.open(str(path)) as file:
            if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (8000, 1, 2):
                raise ValueError(needed)
            samples: bytes = file.readframes(file.getnframes())
            return samples
    except (wave.Error, EOFError) as error:
        raise ValueError(needed) from error


async def _health(channel: grpc.aio.Channel) -> Verdict:
    rule = "grpc.health.v1 says SERVING"
    call = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    try:
        answer = await call(health_pb2.HealthCheckRequest(), timeout=_REACH_SECONDS)
    except grpc.aio.AioRpcError as error:
        advice = "add the standard health service: workers use it to choose"
        return Verdict(rule, Result.FAIL, error.code().name, advice)
    serving = answer.status == health_pb2.HealthCheckResponse.SERVING
    return Verdict(rule, Result.PASS if serving else Result.FAIL, f"status {answer.status}")


async def _describe(channel: grpc.aio.Channel) -> Verdict:
    rule = "Describe names the agent and its formats"
    stub = agent_pb2_grpc.VoiceAgentStub(channel)
    try:
        told = await stub.Describe(pb.DescribeRequest(), timeout=_REACH_SECONDS)
    except grpc.aio.AioRpcError as error:
        return Verdict(rule, Result.FAIL, error.code().name, "implement Describe")
    if not (told.name and told.uplink and told.downlink):
        return Verdict(rule, Result.FAIL, "name, uplink or downlink is empty", "fill them in")
    facts = f"{told.name} {told.version}: {', '.join(told.features) or 'no features'}"
    return Verdict(rule, Result.PASS, facts)


if __name__ == "__main__":
    sys.exit(main())
