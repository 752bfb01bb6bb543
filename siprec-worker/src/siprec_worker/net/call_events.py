"""What the orchestrator is told: one CallEvents stream per worker, acknowledged and replayed.

Reports wait in a bounded outbox until they are acknowledged; after a break the stream is opened
again and everything unacknowledged is sent once more under its old number. When the outbox is
full the oldest transcript, intent or aside goes first, then the oldest report; both are counted.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from typing import cast

import grpc
import structlog
from voicefork.agent.v1 import agent_pb2
from voicefork.handoff.v1 import handoff_pb2
from voicefork.worker.v1 import worker_pb2, worker_pb2_grpc

from siprec_worker.net.grpc_tls import Dial
from siprec_worker.session import effects as fx
from siprec_worker.session import model
from siprec_worker.telemetry import Metrics

log = structlog.get_logger(__name__)

OUTBOX = 4096
EXPENDABLE = ("transcript", "intent", "agent_speech")
SPEECH_BYTES = 8 * 1024 * 1024  # for the humans' ears alone: 4 minutes at 16 kHz
BACKOFF_SECONDS = (0.1, 5.0)

_Report = Callable[
    [AsyncIterator[worker_pb2.ReportRequest]], AsyncIterator[worker_pb2.ReportResponse]
]

Refusal = Callable[[str, str, str], None]
"""Called with call id, request id and error when the orchestrator refuses an escalation."""

Acknowledged = Callable[[str, str], None]
"""Called with call id and request id (empty: the AI's failure) of each cry for a human answered."""

CRIES = ("escalate", "bot_failed")


class CallEventsClient:
    """session.ports.Reporter over voicefork.worker.v1.CallEvents."""

    def __init__(  # noqa: PLR0913, PLR0917 - whom it tells, who it is, and the parts it tells of
        self,
        target: str,
        worker_id: str,
        control: str,
        metrics: Metrics,
        refused: Refusal,
        dial: Dial = grpc.aio.insecure_channel,
    ) -> None:
        self._target = target
        self._worker_id = worker_id
        self._control = control
        self._metrics = metrics
        self._refused = refused
        self._dial = dial
        self.on_acknowledged: Acknowledged = lambda call_id, request_id: None
        self._outbox: OrderedDict[int, worker_pb2.ReportRequest] = OrderedDict()
        self._speech_bytes = 0  # of it
        self._number = 0
        self._sent = 0
        self._streams = 0
        self._news = asyncio.Event()

    # --- session.ports.Reporter -------------------------------------------------------------

    def fork_started(
        self, call_id: str, tenant: str, sip_call_id: str, talkback: tuple[str, int], direction: str
    ) -> None:
        host, port = talkback
        self._put(
            call_id,
            fork_started=worker_pb2.ForkStarted(
                tenant=tenant,
                sip_call_id=sip_call_id,
                control=self._control,
                talkback=worker_pb2.RtpAddress(host=host, port=port),
                direction=direction,
            ),
        )

    def fork_ended(self, call_id: str, tenant: str, reason: str) -> None:
        self._put(call_id, fork_ended=worker_pb2.ForkEnded(reason=reason))

    def fork_moved(self, call_id: str, from_worker: str) -> None:
        self._put(call_id, fork_moved=worker_pb2.ForkMoved(from_worker=from_worker))

    def report(self, call_id: str, news: fx.News) -> None:
        match news:
            case fx.BotSpeaks(utterance_id):
                self._put(call_id, bot_speaks=worker_pb2.BotSpeaks(utterance_id=utterance_id))
            case fx.BotReady():
                self._put(call_id, bot_ready=worker_pb2.BotReady())
            case fx.PhraseEnded(utterance_id, cut):
                ended = worker_pb2.PhraseEnded(utterance_id=utterance_id, cut=cut)
                self._put(call_id, phrase_ended=ended)
            case fx.BotFailed(reason):
                self._put(call_id, bot_failed=worker_pb2.BotFailed(reason=reason))
            case model.Escalate(wire=wire):
                escalate = handoff_pb2.EscalateRequest.FromString(wire)
                escalate.call_id = call_id
                self._put(call_id, escalate=escalate)
            case model.CancelEscalation(request_id, reason):
                cancel = agent_pb2.CancelEscalation(request_id=request_id, reason=reason)
                self._put(call_id, cancel_escalation=cancel)
            case model.Intent(wire=wire):
                self._put(call_id, intent=agent_pb2.Intent.FromString(wire))
            case model.Transcript(wire=wire):
                self._put(call_id, transcript=agent_pb2.Transcript.FromString(wire))
            case model.HangUp(reason, after_ms):
                hang_up = agent_pb2.HangUp(reason=reason)
                if after_ms is not None:
                    hang_up.after.FromMilliseconds(after_ms)
                self._put(call_id, hang_up=hang_up)
            case model.SendDtmf(digits, duration_ms):
                keys = agent_pb2.SendDtmf(digits=digits, duration_ms=duration_ms)
                self._put(call_id, send_dtmf=keys)
            case fx.AgentSpeech():
                self._put_speech(call_id, news)
            case fx.AgentSpeechCleared(agent, utterance_ids):
                cleared = worker_pb2.AgentSpeechCleared(seat=agent, utterance_ids=utterance_ids)
                self._put(call_id, agent_speech_cleared=cleared)

    # --- the outbox -------------------------------------------------------------------------

    def _put(self, call_id: str, **event: object) -> None:
        if len(self._outbox) >= OUTBOX:
            self._shed()
        self._number += 1
        request = worker_pb2.ReportRequest(
            number=self._number,
            worker_id=self._worker_id,
            call_id=call_id,
            **event,  # type: ignore[arg-type]  # exactly one member of the oneof
        )
        request.at.GetCurrentTime()
        self._outbox[self._number] = request
        self._news.set()

    def _put_speech(self, call_id: str, said: fx.AgentSpeech) -> None:
        """Sound is large: of all calls no more waits than SPEECH_BYTES, the newest is dropped.

        The orchestrator notices by the position of what follows.
        """
        if self._speech_bytes + len(said.pcm) > SPEECH_BYTES:
            self._metrics.reports_dropped.inc()
            return
        speech = worker_pb2.AgentSpeech(
            seat=said.agent,
            utterance_id=said.utterance_id,
            pcm=said.pcm,
            sample_rate=said.rate,
            position=said.position,
            last=said.last,
        )
        self._put(call_id, agent_speech=speech)
        self._speech_bytes += len(said.pcm)

    def _taken_out(self, number: int) -> worker_pb2.ReportRequest:
        report = self._outbox.pop(number)
        if report.WhichOneof("event") == "agent_speech":
            self._speech_bytes -= len(report.agent_speech.pcm)
        return report

    def _shed(self) -> None:
        number = next(
            (n for n, r in self._outbox.items() if r.WhichOneof("event") in EXPENDABLE),
            next(iter(self._outbox)),
        )
        self._taken_out(number)
        self._metrics.reports_dropped.inc()

    @property
    def waiting(self) -> int:
        """Reports that are not acknowledged yet."""
        return len(self._outbox)

    # --- the stream -------------------------------------------------------------------------

    async def run(self) -> None:
        """Keeps the stream open until cancelled."""
        shortest, longest = BACKOFF_SECONDS
        backoff = shortest
        while True:
            async with self._dial(self._target) as channel:
                try:
                    if await self._stream(worker_pb2_grpc.CallEventsStub(channel)):
                        backoff = shortest
                except grpc.aio.AioRpcError as error:
                    log.warning("orchestrator lost", code=error.code().name, why=error.details())
                except Exception:
                    # A bug costs a report, never the worker its calls.
                    log.exception("orchestrator lost")
            await asyncio.sleep(backoff * random.uniform(0.5, 1.0))
            backoff = min(2 * backoff, longest)

    async def _stream(self, stub: worker_pb2_grpc.CallEventsStub) -> bool:
        """One stream's life; True if anything was acknowledged on it."""
        self._sent = 0
        self._streams += 1
        acknowledged = False
        report = cast("_Report", stub.Report)
        async for answer in report(self._requests(self._streams)):
            acknowledged = True
            self._acknowledged(answer)
        return acknowledged

    async def _requests(self, stream: int) -> AsyncIterator[worker_pb2.ReportRequest]:
        # grpc leaves the requests of a broken stream waiting: those must not take the next report.
        while stream == self._streams:
            self._news.clear()
            for number in [n for n in self._outbox if n > self._sent]:
                if (request := self._outbox.get(number)) is not None:
                    self._sent = number
                    yield request
            await self._news.wait()

    def _acknowledged(self, answer: worker_pb2.ReportResponse) -> None:
        refused = self._outbox.get(answer.number)
        if answer.escalation_error and refused is not None:
            request_id = refused.escalate.request_id
            self._refused(refused.call_id, request_id, answer.escalation_error)
        for number in [n for n in self._outbox if n <= answer.number]:
            report = self._taken_out(number)
            if report.WhichOneof("event") in CRIES:
                self.on_acknowledged(report.call_id, report.escalate.request_id)

    def withdraw(self, call_id: str) -> None:
        """The caller is on the way to a human: whoever comes to read must not move them again."""
        for number, report in list(self._outbox.items()):
            if report.call_id == call_id and report.WhichOneof("event") in CRIES:
                del self._outbox[number]


class NoOrchestrator:
    """A Reporter for a worker that stands alone: what happens is only logged."""

    def fork_started(
        self, call_id: str, tenant: str, sip_call_id: str, talkback: tuple[str, int], direction: str
    ) -> None:
        log.debug("fork started", call_id=call_id)

    def fork_ended(self, call_id: str, tenant: str, reason: str) -> None:
        log.debug("fork ended", call_id=call_id, reason=reason)

    def fork_moved(self, call_id: str, from_worker: str) -> None:
        log.debug("fork moved", call_id=call_id, from_worker=from_worker)

    def report(self, call_id: str, news: fx.News) -> None:
        log.debug("no orchestrator to tell", call_id=call_id, news=type(news).__name__)
