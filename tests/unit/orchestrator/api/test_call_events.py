"""Reports are dealt with once, in order, and acknowledged always."""

from __future__ import annotations

from collections.abc import AsyncIterator

from orchestrator.api.call_events import CallEvents
from orchestrator.telemetry import Metrics
from voicefork.handoff.v1 import handoff_pb2
from voicefork.worker.v1 import worker_pb2

Report = worker_pb2.ReportRequest


class Sink:
    """Keeps what arrives; refuses escalations."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.workers: list[str] = []

    def worker_connected(self, worker_id: str) -> None:
        self.workers.append(f"+{worker_id}")

    def worker_disconnected(self, worker_id: str) -> None:
        self.workers.append(f"-{worker_id}")

    async def report(self, report: Report) -> str:
        self.reports.append(report)
        return "no" if report.HasField("escalate") else ""

    async def forwarded(self, report: Report) -> str:
        return await self.report(report)


def bot_speaks(number: int, at: int = 1000, worker: str = "w1") -> Report:
    report = Report(number=number, worker_id=worker, call_id="c1")
    report.at.FromSeconds(at)
    report.bot_speaks.utterance_id = "u"
    return report


async def stream(*reports: Report) -> AsyncIterator[Report]:
    for report in reports:
        yield report


async def told(events: CallEvents, *reports: Report) -> list[tuple[int, str]]:
    answers = events.Report(stream(*reports), None)
    return [(answer.number, answer.escalation_error) async for answer in answers]


async def test_each_report_is_acknowledged_by_its_number() -> None:
    sink = Sink()
    answers = await told(CallEvents(sink, Metrics()), bot_speaks(1), bot_speaks(2))
    assert answers == [(1, ""), (2, "")]
    assert [report.number for report in sink.reports] == [1, 2]


async def test_a_replay_after_a_break_is_acknowledged_and_not_dealt_with_again() -> None:
    sink = Sink()
    events = CallEvents(sink, Metrics())
    await told(events, bot_speaks(1), bot_speaks(2))
    assert await told(events, bot_speaks(2), bot_speaks(3, at=1001)) == [(2, ""), (3, "")]
    assert [report.number for report in sink.reports] == [1, 2, 3]


async def test_a_new_process_of_the_same_worker_counts_from_one_again() -> None:
    sink = Sink()
    events = CallEvents(sink, Metrics())
    await told(events, bot_speaks(1), bot_speaks(2))
    await told(events, bot_speaks(1, at=2000), bot_speaks(2, at=2001))
    assert [report.number for report in sink.reports] == [1, 2, 1, 2]


async def test_numbers_of_two_workers_have_nothing_to_do_with_each_other() -> None:
    sink = Sink()
    events = CallEvents(sink, Metrics())
    await told(events, bot_speaks(5))
    await told(events, bot_speaks(1, worker="w2"))
    assert [report.worker_id for report in sink.reports] == ["w1", "w2"]


async def test_a_replayed_escalation_is_refused_as_it_was() -> None:
    events = CallEvents(Sink(), Metrics())
    report = Report(number=1, worker_id="w1", escalate=handoff_pb2.EscalateRequest())
    assert await told(events, report) == [(1, "no")]
    assert await told(events, report) == [(1, "no")]


async def test_a_worker_comes_and_goes_with_its_stream() -> None:
    sink = Sink()
    await told(CallEvents(sink, Metrics()), bot_speaks(1))
    assert sink.workers == ["+w1", "-w1"]


async def test_a_new_stream_before_the_old_one_is_found_dead_is_no_loss() -> None:
    sink = Sink()
    events = CallEvents(sink, Metrics())
    old = events.Report(stream(bot_speaks(1)), None)
    await anext(old)
    await told(events, bot_speaks(2))
    assert sink.workers == ["+w1"]
    await old.aclose()
    assert sink.workers == ["+w1", "-w1"]


async def test_a_report_that_trips_us_up_is_passed_over_and_does_not_come_for_ever() -> None:
    class Tripping(Sink):
        async def report(self, report: Report) -> str:
            if report.number == 1:
                raise ZeroDivisionError
            return await super().report(report)

    sink = Tripping()
    answers = await told(CallEvents(sink, Metrics()), bot_speaks(1), bot_speaks(2))
    assert [number for number, _ in answers] == [1, 2]
    assert answers[0][1]
    assert [report.number for report in sink.reports] == [2]
