"""voicefork whisper: a word in the ear of the agent who talks with a caller now."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any

import grpc
import typer
from rich.console import Console
from voicefork.handoff.v1 import handoff_pb2, handoff_pb2_grpc

from voicefork_cli.grpc_channel import (
    PLAINTEXT,
    CaFile,
    CertFile,
    CertName,
    KeyFile,
    Tls,
    channel_to,
)

SAID_SECONDS = 180.0  # with what was there before it


@dataclass(frozen=True, slots=True)
class WhisperPlan:
    call_id: str
    text: str
    orchestrator: str = "127.0.0.1:7070"
    tenant: str = ""
    tls: Tls = PLAINTEXT


def whisper(  # noqa: PLR0913, PLR0917 - each is an option
    call: Annotated[str, typer.Argument(help="The call's id.")],
    text: Annotated[str, typer.Argument(help="At most 1,000 characters, spoken by flite.")],
    orchestrator: Annotated[str, typer.Option(help="HOST:PORT of its gRPC.")] = "127.0.0.1:7070",
    tenant: Annotated[str, typer.Option(help="Whose call it is, if not the default's.")] = "",
    tls_ca: CaFile = None,
    tls_cert: CertFile = None,
    tls_key: KeyFile = None,
    tls_name: CertName = "",
) -> None:
    """Tells the agent of a running conversation something; the caller hears nothing of it."""
    tls = Tls(tls_ca, tls_cert, tls_key, tls_name)
    plan = WhisperPlan(call, text, orchestrator, tenant, tls)
    raise typer.Exit(asyncio.run(run_whisper(plan, Console(), Console(stderr=True))))


async def run_whisper(plan: WhisperPlan, screen: Console, complaints: Console) -> int:
    """The exit code; 0 once it has been said."""
    request = handoff_pb2.WhisperRequest(call_id=plan.call_id, tenant=plan.tenant, text=plan.text)
    try:
        async with channel_to(plan.orchestrator, plan.tls) as channel:
            stub: Any = handoff_pb2_grpc.HandoffServiceStub(channel)
            answer = await stub.Whisper(request, timeout=SAID_SECONDS)
    except (grpc.aio.AioRpcError, OSError) as error:
        said = str(error)
        if isinstance(error, grpc.aio.AioRpcError):
            said = error.details() or error.code().name
        complaints.print(f"not said: {said}", style="red", markup=False)
        return 1
    screen.print(f"said, {answer.lasted.ToMilliseconds() / 1000:.1f} s", markup=False)
    return 0
