"""What workers report, brought to the calls (implements api.call_events.ReportSink)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

import structlog
from voicefork.agent.v1 import agent_pb2
from voicefork.handoff.v1 import handoff_pb2
from voicefork.worker.v1 import worker_pb2

from orchestrator.errors import PeerError
from orchestrator.fleet import events as on
from orchestrator.fleet.call import ForkHalf, RtpAddress, checked_fork
from orchestrator.fleet.calls import Calls
from orchestrator.handoff.asides import Piece, Spoken
from orchestrator.handoff.registry import Registry
from orchestrator.model import CallId

log = structlog.stdlib.get_logger(__name__)

Escalate = Callable[[str, handoff_pb2.EscalateRequest], Awaitable[str]]
"""Takes an escalation of a call; the answer is why it was refused, empty = taken."""


_CRIES = ("escalate", "bot_failed")


class Replicas(Protocol):
    """The others (fleet.whereabouts). `pass_on` raises PeerError."""

    async def elsewhere(self, call: CallId) -> str | None: ...

    async def settled(self, call: CallId, dead: str) -> str | None: ...

    async def pass_on(self, address: str, report: worker_pb2.ReportRequest) -> str: ...


MOST_GOODBYE_SECONDS = 60.0
"""A bot that hangs up later than this leaves its caller in silence."""

_KEYS = re.compile(r"[0-9*#A-Da-d]{1,64}")
_KEY_MS, _LONGEST_KEY_MS = 100, 5000  # voicefork.agent.v1 SendDtmf.duration_ms


class Reports:
    """Hands each report to its call. Intents and transcripts go to nobody yet."""

    def __init__(
        self,
        calls: Calls,
        handoffs: Registry,
        escalate: Escalate,
        replicas: Replicas | None = None,
    ) -> None:
        """`replicas`: where calls are that are not here; None = there is nobody else."""
        self._calls = calls
        self._handoffs = handoffs
        self._escalate = escalate
        self._replicas = replicas

    def worker_connected(self, worker_id: str) -> None:
        self._calls.worker_connected(worker_id)

    def worker_disconnected(self, worker_id: str) -> None:
        self._calls.worker_disconnected(worker_id)

    async def report(self, report: worker_pb2.ReportRequest) -> str:
        """Deals with a report; returns why an escalation was refused, else an empty text.

        One of another replica's call is passed on; while that replica is being buried, cries for
        a human wait for the heir, and the rest is kept in case it is us.
        """
        call_id, replicas = CallId(report.call_id), self._replicas
        address = await replicas.elsewhere(call_id) if replicas else None
        while replicas and address is not None:
            try:
                return await replicas.pass_on(address, report)
            except PeerError as error:
                log.info("report is not passed on", call_id=call_id, error=str(error))
            if report.WhichOneof("event") not in _CRIES:
                self._keep(call_id, report)
                return ""
            address = await replicas.settled(call_id, address)
        return await self.forwarded(report)

    async def forwarded(self, report: worker_pb2.ReportRequest) -> str:
        """The same of a report about a call that is here, or nowhere."""
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
                calls.fork_moved(call_id, report.fork_moved.from_worker)
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
                calls.post(call_id, on.BotHangsUp(_after(report.hang_up)))
            case "agent_speech":
                self._handoffs.agent_speech(call_id, _piece(report.agent_speech))
            case "agent_speech_cleared":
                cleared = report.agent_speech_cleared
                ids = tuple(cleared.utterance_ids)
                self._handoffs.agent_speech_cleared(call_id, cleared.seat, ids)
            case "send_dtmf":
                self._send_keys(call_id, report.send_dtmf)
            case other:
                log.debug("report nobody reads", kind=other)

    def _keep(self, call_id: CallId, report: worker_pb2.ReportRequest) -> None:
        match report.WhichOneof("event"):
            case "bot_ready":
                self._calls.keep_for(call_id, on.BotReady())
            case "bot_speaks":
                self._calls.keep_for(call_id, on.BotSpoke())
            case "hang_up":
                self._calls.keep_for(call_id, on.BotHangsUp(_after(report.hang_up)))
            case "fork_ended":
                ended = on.ForkEnded(report.worker_id, report.fork_ended.reason)
                self._calls.keep_for(call_id, ended)
            case _:
                pass  # too late by the time somebody has the call

    def _send_keys(self, call_id: CallId, keys: agent_pb2.SendDtmf) -> None:
        if _KEYS.fullmatch(keys.digits) is None:
            log.warning("keys are unusable", call_id=call_id)
            return
        length_ms = min(keys.duration_ms or _KEY_MS, _LONGEST_KEY_MS)
        self._calls.post(call_id, on.BotSendsDtmf(keys.digits, length_ms))

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


def _piece(speech: worker_pb2.AgentSpeech) -> Piece:
    spoken = Spoken((speech.seat, speech.utterance_id))
    return Piece(spoken, speech.pcm, speech.sample_rate, speech.position, speech.last)


def _after(hang_up: agent_pb2.HangUp) -> float | None:
    """Seconds until the caller is hung up; None = at once."""
    if not hang_up.HasField("after"):
        return None
    return min(max(0.0, hang_up.after.seconds + hang_up.after.nanos / 1e9), MOST_GOODBYE_SECONDS)
