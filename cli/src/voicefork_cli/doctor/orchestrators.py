"""The orchestrator: readiness, and the health of its gRPC."""

from __future__ import annotations

import aiohttp
from grpc_health.v1 import health_pb2, health_pb2_grpc

from voicefork_cli.doctor.finding import Finding, found
from voicefork_cli.doctor.places import Places
from voicefork_cli.grpc_channel import Tls, channel_to

READY, HEALTH = "orchestrator: ready", "orchestrator: gRPC health"
SPEECH = "orchestrator: speech of texts"
ANSWER_SECONDS = 3.0


async def look_at_orchestrator(places: Places) -> list[Finding]:
    findings: list[Finding] = []
    if places.orchestrator_admin:
        advice = f"its admin pages at {places.orchestrator_admin} are not reached: does it run?"
        findings += await found(READY, advice, lambda: readiness(places.orchestrator_admin))
        if not findings[-1].bad:
            findings += await found(SPEECH, advice, lambda: speech(places.orchestrator_admin))
    if places.orchestrator:
        advice = (
            f"gRPC at {places.orchestrator} is not reached: does it run, and does it want a "
            "certificate (--tls-ca, --tls-cert, --tls-key)?"
        )
        findings += await found(
            HEALTH, advice, lambda: health(HEALTH, places.orchestrator, places.tls)
        )
    return findings


async def readiness(admin: str) -> list[Finding]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{admin}/readyz") as response,
    ):
        told = await response.json()
    if told.get("ready"):
        return [Finding(READY, "yes")]
    missing = ", ".join(told.get("missing", []))
    return [Finding(READY, f"no: {missing}", "it gets no calls from Asterisk until that is there")]


async def speech(admin: str) -> list[Finding]:
    """Not needed by AIs that speak themselves."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{admin}/nodes") as response,
    ):
        told = await response.json()
    silent = "none: agents read texts, and do not hear them (apt install flite, --voice)"
    return [Finding(SPEECH, told.get("speech") or silent)]


async def health(what: str, address: str, tls: Tls) -> list[Finding]:
    """Raises grpc.aio.AioRpcError; OSError: a file cannot be read."""
    async with channel_to(address, tls) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        asked = health_pb2.HealthCheckRequest()
        answer = await stub.Check(asked, timeout=ANSWER_SECONDS)  # type: ignore[attr-defined]
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    if answer.status == health_pb2.HealthCheckResponse.SERVING:
        return [Finding(what, f"{status}, by TLS" if tls.used else status)]
    return [Finding(what, status, "its /readyz says what it waits for")]
