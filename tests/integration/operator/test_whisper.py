"""`voicefork whisper` at the orchestrator's own service, with a PBX in memory."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from orchestrator.api.handoff_service import HandoffService
from orchestrator.handoff.ports import Sound
from orchestrator.model import Phase
from rich.console import Console
from voicefork.handoff.v1 import handoff_pb2_grpc
from voicefork_cli.lab.ports import HOST
from voicefork_cli.operator.whisper import WhisperPlan, run_whisper

from tests.builders.handoffs import ALICE
from tests.builders.running import CALL, Lab, running

NO_DESK: Any = None  # targets, reports and calls out: nothing of a whisper's


class Letters:
    """Says a text as its letters."""

    async def render(self, text: str) -> Sound:
        return Sound(text.encode(), 16000)


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Lab, str]]:
    server = grpc.aio.server()
    port = server.add_insecure_port(f"{HOST}:0")
    async with running(speech=Letters(), targets=(ALICE,)) as lab:
        service = HandoffService(lab.registry, "acme", NO_DESK)
        handoff_pb2_grpc.add_HandoffServiceServicer_to_server(service, server)
        await server.start()
        try:
            yield lab, f"{HOST}:{port}"
        finally:
            await server.stop(grace=None)


async def told(plan: WhisperPlan) -> tuple[int, str]:
    text = io.StringIO()
    console = Console(file=text, width=100)
    return await run_whisper(plan, console, console), text.getvalue()


async def test_the_agent_who_talks_is_told() -> None:
    async with serving() as (lab, address):
        handoff = await lab.escalate()
        await lab.until(handoff, lambda change: change.phase is Phase.CONNECTED)
        code, said = await told(WhisperPlan(CALL, "Offer a refund.", address))
        assert (code, said) == (0, "said, 0.0 s\n")
        assert lab.pbx.said == [Sound(b"Offer a refund.", 16000)]


async def test_a_refusal_is_shown() -> None:
    async with serving() as (lab, address):
        await lab.escalate()
        code, said = await told(WhisperPlan(CALL, "x", address, tenant="other"))
        assert code == 1
        assert "is not of tenant other" in said
