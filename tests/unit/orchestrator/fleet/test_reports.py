"""What workers report, with the words of AI vendors in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from orchestrator.fleet import events as on
from orchestrator.fleet.call import EnteredCall, Tenant
from orchestrator.fleet.reports import MOST_GOODBYE_SECONDS, Reports
from orchestrator.handoff.asides import Piece, Spoken
from orchestrator.model import CallId
from voicefork.worker.v1 import worker_pb2

from tests.builders.running import running
from tests.unit.orchestrator.fleet.surroundings import Stage, open_stage

CALL = EnteredCall(CallId("c1"), Tenant("default"), "ch1", "ulaw")

Told = Callable[[worker_pb2.ReportRequest], Awaitable[None]]


async def told(stage: Stage, *reports: worker_pb2.ReportRequest) -> list[on.Event]:
    """What the call hears of these reports."""
    heard: list[on.Event] = []

    async def refused(call_id: str, request: object) -> str:
        return "no"

    def post(call_id: CallId, event: on.Event) -> bool:
        heard.append(event)
        return True

    stage.calls.post = post  # type: ignore[method-assign]
    async with running() as lab:
        for report in reports:
            await Reports(stage.calls, lab.registry, refused).report(report)
    return heard


@pytest.mark.parametrize(
    ("seconds", "heard"),
    [(2, 2.0), (-5, 0.0), (10**17, MOST_GOODBYE_SECONDS), (-(10**17), 0.0)],
)
async def test_a_goodbye_lasts_a_bounded_time(seconds: int, heard: float) -> None:
    report = worker_pb2.ReportRequest(call_id="c1")
    report.hang_up.after.seconds = seconds
    async with open_stage() as stage:
        assert await told(stage, report) == [on.BotHangsUp(heard)]


async def test_keys_keep_their_length() -> None:
    report = worker_pb2.ReportRequest(call_id="c1")
    report.send_dtmf.digits, report.send_dtmf.duration_ms = "12#", 250
    async with open_stage() as stage:
        assert await told(stage, report) == [on.BotSendsDtmf("12#", 250)]


@pytest.mark.parametrize("digits", ["", "12;34", "1" * 65, "w1&x=y"])
async def test_what_are_no_keys_is_not_sent(digits: str) -> None:
    report = worker_pb2.ReportRequest(call_id="c1")
    report.send_dtmf.digits = digits
    async with open_stage() as stage:
        assert await told(stage, report) == []


async def test_what_is_for_the_agent_alone_comes_to_the_handoffs_in_whole_pieces() -> None:
    said = worker_pb2.ReportRequest(call_id="c1")
    said.agent_speech.CopyFrom(
        worker_pb2.AgentSpeech(
            seat=1, utterance_id="u", pcm=b"ab", sample_rate=16000, position=7, last=True
        )
    )
    cleared = worker_pb2.ReportRequest(call_id="c1")
    cleared.agent_speech_cleared.CopyFrom(
        worker_pb2.AgentSpeechCleared(seat=1, utterance_ids=["u"])
    )
    heard: list[tuple[object, ...]] = []

    async def taken(call_id: str, request: object) -> str:
        return ""

    async with open_stage() as stage, running() as lab:
        lab.registry.agent_speech = lambda *told: heard.append(told)  # type: ignore[method-assign]
        lab.registry.agent_speech_cleared = (  # type: ignore[method-assign]
            lambda *told: heard.append(told)
        )
        reports = Reports(stage.calls, lab.registry, taken)
        for report in (said, cleared):
            assert await reports.report(report) == ""
    piece = Piece(Spoken((1, "u")), b"ab", 16000, 7, last=True)
    assert heard == [("c1", piece), ("c1", 1, ("u",))]
