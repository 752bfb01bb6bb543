"""What workers report, brought to the calls (implements api.call_events.ReportSink)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog
from voicefork.handoff.v1 import handoff_pb2
from voicefork.worker.v1 import worker_pb2

from orchestrator.errors import PeerError
from orchestrator.fleet import events as on
from orchestrator.fleet.call import ForkHalf, RtpAddress, checked_fork
from orchestrator.fleet.calls import Calls
from orchestrator.handoff.registry import Registry
from orchestrator.model import CallId

log = structlog.stdlib.get_logger(__name__)

Escalate = Callable[[str, handoff_pb2.EscalateRequest], Awaitable[str]]
"""Takes an escalation of a call; the answer is why it was refused, empty = taken."""


class Reports:
    """Hands each report to its call. Intents and transcripts go to nobody yet."""

    def __init__(self, calls: Calls, handoffs: Registry, escalate: Escalate) -> None:
        self._calls = calls
        self._handoffs = handoffs
        self._escalate = escalate

    def worker_connected(self, worker_id: str) -> None:
        self._calls.worker_connected(worker_id)

    def worker_disconnected(self, worker_id: str) -> None:
        self._calls.worker_disconnected(worker_id)

    async def report(self, report: worker_pb2.ReportRequest) -> str:
        """Deals with a report; returns why an escalation was refused, else an empty text."""
        call_id = CallId(report.call_id)
        if report.WhichOneof("event") == "escalate":
            return await self._escalate(call_id, report.escalate)
        if report.WhichOneof("event") == "cancel_escalation":
            return await self._cancelled(call_id, report.cancel_escalation.request_id)
        self._deal(call_id, report)
        return ""

    async def _cancelled(self, call_id: CallId, request_id: str) -> str:
        """Nothing to cancel is no refusal: the human was faster."""
        handoff = self._handoffs.find_request(call_id, request_id)
        if handoff is not None:
            with suppress(PeerError):
                await self._handoffs.cancel(handoff)
        return ""

    def _deal(self, call_id: CallId, report: worker_pb2.ReportRequest) -> None:
        calls = self._calls
        match report.WhichOneof("event"):
            case "fork_started":
                self._fork_started(call_id, report.worker_id, report.fork_started)
            case "fork_moved":
                calls.fork_moved(call_id)
            case "fork_ended":
                self._handoffs.bot_lost(call_id)
                calls.fork_ended(call_id, report.worker_id, report.fork_ended.reason)
            case "bot_ready":
                calls.post(call_id, on.BotReady())
            case "bot_speaks":
                calls.post(call_id, on.BotSpoke())
            case "bot_failed":
                self._handoffs.bot_lost(call_id)
                calls.post(call_id, on.BotFailed(report.bot_failed.reason))
            case "phrase_ended":
                ended = report.phrase_ended
                self._handoffs.phrase_ended(call_id, ended.utterance_id)
            case "hang_up":
                after = report.hang_up.after
                seconds = after.ToTimedelta().total_seconds()
                given = report.hang_up.HasField("after")
                calls.post(call_id, on.BotHangsUp(seconds if given else None))
            case "send_dtmf":
                calls.post(call_id, on.BotSendsDtmf(report.send_dtmf.digits))
            case other:
                log.debug("report nobody reads", kind=other)

    def _fork_started(
        self, call_id: CallId, worker_id: str, started: worker_pb2.ForkStarted
    ) -> None:
        talkback = RtpAddress(started.talkback.host, started.talkback.port)
        try:
            fork = checked_fork(ForkHalf(worker_id, started.control, talkback, started.sip_call_id))
        except PeerError as error:
            log.warning("fork report is unusable", call_id=call_id, error=str(error))
            return
        self._calls.fork_started(call_id, fork)
