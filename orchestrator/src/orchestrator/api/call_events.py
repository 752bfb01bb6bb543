"""CallEvents: each worker's one stream of what happens on its calls."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from google.protobuf.timestamp_pb2 import Timestamp
from voicefork.worker.v1 import worker_pb2, worker_pb2_grpc

from orchestrator.telemetry import Metrics

log = structlog.stdlib.get_logger(__name__)

_MOST_WORKERS = 4096
FORWARDED = "voicefork-forwarded"
"""Metadata of a stream by which another replica passes a report on (fleet.peers)."""


class ReportSink(Protocol):
    """Who deals with reports. Nothing here raises or waits for long."""

    def worker_connected(self, worker_id: str) -> None: ...

    def worker_disconnected(self, worker_id: str) -> None: ...

    async def report(self, report: worker_pb2.ReportRequest) -> str:
        """Returns why an escalation was refused, else an empty text."""

    async def forwarded(self, report: worker_pb2.ReportRequest) -> str:
        """The same of a report that another replica passed on: it is for us."""


@dataclass(slots=True)
class _Ledger:
    """How far one worker's reports are dealt with."""

    number: int = 0
    at: int = 0  # nanoseconds of the report of that number
    refusal: str = ""  # what it was answered with
    streams: int = 0


class CallEvents(worker_pb2_grpc.CallEventsServicer):
    """Takes reports in order, each once, and acknowledges each.

    A report of a number that is dealt with is a replay after a break and is only acknowledged;
    unless it is younger than the last one: then the worker's process is a new one that counts
    from 1 again.
    """

    def __init__(self, sink: ReportSink, metrics: Metrics) -> None:
        self._sink = sink
        self._metrics = metrics
        self._ledgers: OrderedDict[str, _Ledger] = OrderedDict()

    # The generated stub names its parameters like this, and types the context loosely.
    async def Report(  # noqa: N802
        self, request_iterator: AsyncIterator[worker_pb2.ReportRequest], context: Any
    ) -> AsyncGenerator[worker_pb2.ReportResponse, None]:
        metadata = context.invocation_metadata() if context is not None else ()
        if any(key == FORWARDED for key, _ in metadata or ()):
            async for report in request_iterator:  # of another replica's worker: its numbers
                refusal = await self._sink.forwarded(report)
                yield worker_pb2.ReportResponse(number=report.number, escalation_error=refusal)
            return
        worker_id = ""
        try:
            async for report in request_iterator:
                if not worker_id and report.worker_id:
                    worker_id = report.worker_id
                    self._connected(worker_id)
                refusal = await self._take(report)
                yield worker_pb2.ReportResponse(number=report.number, escalation_error=refusal)
        finally:
            if worker_id:
                self._disconnected(worker_id)

    async def _take(self, report: worker_pb2.ReportRequest) -> str:
        ledger = self._ledger(report.worker_id)
        at = _nanoseconds(report.at)
        if report.number <= ledger.number and at <= ledger.at:
            self._metrics.reports_repeated.inc()
            return ledger.refusal if report.number == ledger.number else ""
        event = report.WhichOneof("event") or "none"
        self._metrics.reports.labels(event).inc()
        try:
            refusal = await self._sink.report(report)
        except Exception:
            # Our own bug. Unacknowledged it would come again for ever, and hold up all the others.
            log.exception("report failed", worker=report.worker_id, report=event)
            refusal = "internal error"
        # After the sink, so that a report whose dealing was cut short comes once more.
        ledger.number, ledger.at, ledger.refusal = report.number, at, refusal
        return refusal

    def _ledger(self, worker_id: str) -> _Ledger:
        ledger = self._ledgers.pop(worker_id, None) or _Ledger()
        self._ledgers[worker_id] = ledger
        if len(self._ledgers) > _MOST_WORKERS:
            self._ledgers.popitem(last=False)
        return ledger

    def _connected(self, worker_id: str) -> None:
        ledger = self._ledger(worker_id)
        ledger.streams += 1
        if ledger.streams == 1:
            log.info("worker connected", worker=worker_id)
            self._metrics.workers.inc()
            self._sink.worker_connected(worker_id)

    def _disconnected(self, worker_id: str) -> None:
        """A worker may open its new stream before the old one is found dead."""
        ledger = self._ledger(worker_id)
        ledger.streams -= 1
        if ledger.streams == 0:
            log.info("worker disconnected", worker=worker_id)
            self._metrics.workers.dec()
            self._sink.worker_disconnected(worker_id)


def _nanoseconds(at: Timestamp) -> int:
    return int(at.seconds) * 1_000_000_000 + int(at.nanos)
