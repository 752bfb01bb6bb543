"""Without flite, or without chan_websocket: a whisper becomes an attended handoff, and says why."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
import pytest_asyncio
from rich.console import Console
from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork_cli.doctor.command import examine
from voicefork_cli.doctor.places import Places
from voicefork_cli.lab.processes import Lab
from voicefork_cli.measure.pcm import tone
from voicefork_cli.measure.tones import tones_of

from tests.e2e.ears import AGENT, BOT, INTRO, MUSIC, TONES, until_hears
from tests.e2e.story import Story, assert_seamless, nanoseconds, told
from tests.e2e.switchboard import Switchboard, asking, open_switchboard
from tests.fakes.puppet_agent import story as words

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOGGED_SECONDS = 10.0
RULES = {
    "default": {
        "targets": ["PJSIP/agent-1"],
        "pattern": "warm_whisper",
        "ring_seconds": 4,
        "accept_seconds": 5,
    },
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def board(stage_lab: Lab) -> AsyncIterator[Switchboard]:
    """An orchestrator that finds no flite."""
    async with open_switchboard(stage_lab, RULES, env={"PATH": "/nonexistent"}) as board:
        yield board


@asynccontextmanager
async def without_voices(board: Switchboard) -> AsyncIterator[None]:
    """The node has no chan_websocket."""
    asterisk = board.stage.asterisk
    await asterisk.cli("module unload chan_websocket.so")
    try:
        yield
    finally:
        await asterisk.cli("module load chan_websocket.so")


def log_of(board: Switchboard) -> str:
    return (board.stage.lab.folder / "orchestrator-1.log").read_text()


async def until_logged(board: Switchboard, text: str) -> None:
    async with asyncio.timeout(LOGGED_SECONDS):
        while text not in log_of(board):  # noqa: ASYNC110 - a file of another process
            await asyncio.sleep(0.05)


def whispering(**context: Any) -> pb.EscalateRequest:
    known = words(account="4092")
    known.MergeFrom(pb.Context(**context))
    return asking(pattern=pb.PATTERN_WARM_WHISPER, context=known)


async def diagnosis(board: Switchboard) -> str:
    asterisk, text = board.stage.asterisk, io.StringIO()
    places = Places(
        worker="",
        orchestrator="",
        orchestrator_admin=board.orchestrator.addresses["admin"],
        redis="",
        ari=asterisk.http_url,
        ari_user=asterisk.ari_user,
        ari_password=asterisk.ari_password,
    )
    assert await examine(places, None, Console(file=text, width=200)) == 0, text.getvalue()
    return text.getvalue()


def assert_attended(story: Story) -> None:
    """As an attended handoff: merged at once, and with the context on the screen before."""
    assert story.order == [{BOT}, {MUSIC}, {AGENT}]
    assert_seamless(story)
    assert "BRIEFING" not in story.watch.phases
    assert not any(INTRO in tones_of(packet, TONES) for packet in story.agent.heard)
    merging = next(h for h in story.watch.seen if h.phase == pb.PHASE_MERGING)
    (published, envelope), *_ = story.contexts
    assert published < nanoseconds(merging)
    assert envelope["context"]["slots"]["account"] == "4092"
    assert story.agent.answered_ns is not None
    assert story.connected_ns - story.agent.answered_ns < 1.5e9
    assert story.bridges == ["mix"]


async def refusal(request: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await request
    code: grpc.StatusCode = error.value.code()
    return code


async def test_without_flite_the_agent_takes_the_call_and_reads_the_context(
    board: Switchboard,
) -> None:
    assert "flite is not installed: no text is spoken" in log_of(board)
    board.behave(ring_seconds=0.2)
    async with board.calling() as scene:
        watch = await scene.escalate(whispering(briefing_text="Caller disputes a charge."))
        assert_attended(await told(scene, watch))
        request = pb.WhisperRequest(call_id=scene.call_id, text="Offer a refund.")
        whisper: Any = board.service.Whisper(request)
        assert await refusal(whisper) is grpc.StatusCode.FAILED_PRECONDITION


async def test_the_doctor_says_that_there_is_no_flite(board: Switchboard) -> None:
    said = await diagnosis(board)
    assert "none: agents read texts, and do not hear them (apt install flite, --voice)" in said
    assert "heard by agents" in said


async def test_without_chan_websocket_the_agent_takes_the_call_and_reads_the_context(
    board: Switchboard,
) -> None:
    board.behave(ring_seconds=0.2)
    async with without_voices(board), board.calling() as scene:
        audio = tone(INTRO, 16000).tobytes()
        assert_attended(await told(scene, await scene.escalate(whispering(briefing_audio=audio))))
        whisper: Any = board.service.Whisper(pb.WhisperRequest(call_id=scene.call_id, audio=audio))
        assert await refusal(whisper) is grpc.StatusCode.UNAVAILABLE
        await until_hears(scene.caller, AGENT)
        await scene.until_stands(["PJSIP/agent-1", "PJSIP/carrier"], ["mix"])


async def test_the_doctor_and_the_log_say_that_there_is_no_chan_websocket(
    board: Switchboard,
) -> None:
    async with without_voices(board):
        assert "not heard without chan_websocket" in await diagnosis(board)
        await board.stage.asterisk.cli("ari shutdown websocket sessions")
        await until_logged(board, "agents hear no briefing")
