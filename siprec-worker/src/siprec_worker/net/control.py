"""WorkerControl: what the orchestrator may ask of this worker (voicefork.worker.v1)."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from voicefork.worker.v1 import worker_pb2, worker_pb2_grpc

from siprec_worker.config import HostPort
from siprec_worker.errors import SetupError
from siprec_worker.media.model import TalkbackCodec
from siprec_worker.media.witness import Findings
from siprec_worker.net.ari_escape import AriEscape
from siprec_worker.net.fork_store import AWAY
from siprec_worker.net.grpc_tls import GrpcTls, is_open_to_strangers
from siprec_worker.net.moving import Moving
from siprec_worker.net.passing_on import PassingOn, passed_on
from siprec_worker.net.receiving import NotAdopted, Receiving, told_by
from siprec_worker.session import events as ev
from siprec_worker.session.call import RecordedCall
from siprec_worker.session.model import CallStatus, CloseReason, HandoffUpdate, Party
from siprec_worker.session.registry import Calls

log = structlog.get_logger(__name__)

WITNESS_LOOK_SECONDS = 0.02
WITNESS_REPORT_SECONDS = 1.0

Context = grpc.aio.ServicerContext[Any, Any]

OPTIONS = (
    ("grpc.so_reuseport", 0),
    # What another worker leaves of a call: 1 MB of audio for each of its AIs, and events.
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
)


@dataclass(frozen=True, slots=True)
class Moves:
    """How calls come from other workers and go to them."""

    moving: Moving
    receiving: Receiving


@dataclass(slots=True)
class Handles:
    """What the service is given once it is there: the service starts first."""

    moves: Moves | None = None  # None: no pool
    drain: Callable[[], None] = lambda: None


class WorkerControlService(worker_pb2_grpc.WorkerControlServicer):
    """Runs on the worker's event loop, between two ticks."""

    def __init__(
        self, calls: Calls, escape: AriEscape | None = None, handles: Handles | None = None
    ) -> None:
        self.handles = handles or Handles()
        self._calls = calls
        self._escape = escape

    async def AttachTalkback(  # noqa: N802 - the rpc's name
        self, request: worker_pb2.AttachTalkbackRequest, context: Context
    ) -> worker_pb2.AttachTalkbackResponse:
        call = await self._call(request.call_id, context)
        try:
            codec = TalkbackCodec(request.codec)
        except ValueError:
            await _invalid(context, f"codec {request.codec} is not one for talk-back")
        if not _is_address(request.remote):
            await _invalid(context, f"remote {request.remote.host}:{request.remote.port}")
        status = _status(request.call_state) or CallStatus.EARLY
        call.attach(
            request.remote.host,
            request.remote.port,
            codec,
            ev.TalkbackAttached(codec, status),
            _now(),
        )
        if self._escape is not None and request.channel_id:
            self._escape.channel_known(request.call_id, request.ari_node, request.channel_id)
        return worker_pb2.AttachTalkbackResponse()

    @passed_on
    async def DetachTalkback(  # noqa: N802
        self, request: worker_pb2.DetachTalkbackRequest, context: Context
    ) -> worker_pb2.DetachTalkbackResponse:
        call = await self._call(request.call_id, context)
        reason = CloseReason(request.reason) if request.reason else CloseReason.CALL_ENDED
        if self._escape is not None:
            self._escape.left_bot(request.call_id)
        call.detach(ev.TalkbackDetached(reason), _now())
        return worker_pb2.DetachTalkbackResponse()

    @passed_on
    async def SetCallState(  # noqa: N802
        self, request: worker_pb2.SetCallStateRequest, context: Context
    ) -> worker_pb2.SetCallStateResponse:
        call = await self._call(request.call_id, context)
        status = _status(request.state)
        if status is None:
            await _invalid(context, f"state {request.state}")
        call.feed(ev.StatusChanged(status), _now())
        return worker_pb2.SetCallStateResponse()

    @passed_on
    async def SetParty(  # noqa: N802
        self, request: worker_pb2.SetPartyRequest, context: Context
    ) -> worker_pb2.SetPartyResponse:
        call = await self._call(request.call_id, context)
        try:
            party = Party(request.party)
        except ValueError:
            await _invalid(context, f"party {request.party}")
        call.feed(ev.PartyChanged(party, request.name), _now())
        return worker_pb2.SetPartyResponse()

    @passed_on
    async def Freeze(  # noqa: N802
        self, request: worker_pb2.FreezeRequest, context: Context
    ) -> worker_pb2.FreezeResponse:
        call = await self._call(request.call_id, context)
        call.feed(ev.FreezeAsked(request.reason, request.phrase_utterance_id), _now())
        return worker_pb2.FreezeResponse(phrase_left_ms=call.playout.queued_ms)

    @passed_on
    async def Unfreeze(  # noqa: N802
        self, request: worker_pb2.UnfreezeRequest, context: Context
    ) -> worker_pb2.UnfreezeResponse:
        call = await self._call(request.call_id, context)
        call.feed(ev.UnfreezeAsked(), _now())
        return worker_pb2.UnfreezeResponse()

    @passed_on
    async def NotifyHandoff(  # noqa: N802
        self, request: worker_pb2.NotifyHandoffRequest, context: Context
    ) -> worker_pb2.NotifyHandoffResponse:
        call = await self._call(request.call_id, context)
        news = request.update
        update = HandoffUpdate(
            news.handoff_id, news.phase, news.outcome, news.revision, news.request_id
        )
        call.feed(ev.HandoffChanged(update), _now())
        return worker_pb2.NotifyHandoffResponse()

    async def StartWitness(  # noqa: N802
        self, request: worker_pb2.StartWitnessRequest, context: Context
    ) -> AsyncIterator[worker_pb2.StartWitnessResponse]:
        call = await self._call(request.call_id, context)
        witness = call.start_witness()
        if witness is None:
            what = f"call {request.call_id}: no leg is known to carry what the caller hears"
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, what)
        told: tuple[int | None, int | None, bool] | None = None
        next_report = 0.0
        while call.witness is witness:
            findings = witness.findings(time.time())
            news = (findings.first_hold_audio_ms, findings.both_live_ms, findings.one_way)
            if news != told or _now() >= next_report:
                told, next_report = news, _now() + WITNESS_REPORT_SECONDS
                yield worker_pb2.StartWitnessResponse(report=_report(findings, final=False))
            await asyncio.sleep(WITNESS_LOOK_SECONDS)
        findings = witness.findings(time.time())
        yield worker_pb2.StartWitnessResponse(report=_report(findings, final=True))

    async def StopWitness(  # noqa: N802
        self, request: worker_pb2.StopWitnessRequest, context: Context
    ) -> worker_pb2.StopWitnessResponse:
        call = await self._call(request.call_id, context)
        if call.witness is None:
            what = f"call {request.call_id} has no witness"
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, what)
        report = _report(call.witness.findings(time.time()), final=True)
        call.stop_witness()
        return worker_pb2.StopWitnessResponse(report=report)

    async def Adopt(  # noqa: N802
        self, request: worker_pb2.AdoptRequest, context: Context
    ) -> worker_pb2.AdoptResponse:
        receiving = (await self._moves(context)).receiving
        try:
            await receiving.adopt(request.call_state, request.fence, request.from_worker)
        except NotAdopted as error:
            code = grpc.StatusCode.RESOURCE_EXHAUSTED
            if error.unsure:
                code = grpc.StatusCode.ABORTED
            elif error.stays:
                code = grpc.StatusCode.FAILED_PRECONDITION
            await context.abort(code, str(error))
        return worker_pb2.AdoptResponse(sip=receiving.sip_uri)

    async def CarryOn(  # noqa: N802
        self, request: worker_pb2.CarryOnRequest, context: Context
    ) -> worker_pb2.CarryOnResponse:
        if not (await self._moves(context)).receiving.carry_on(request.call_id, told_by(request)):
            await context.abort(grpc.StatusCode.NOT_FOUND, f"call {request.call_id} is not coming")
        return worker_pb2.CarryOnResponse()

    async def HandOver(  # noqa: N802
        self, request: worker_pb2.HandOverRequest, context: Context
    ) -> worker_pb2.HandOverResponse:
        call = await self._call(request.call_id, context)
        moving = (await self._moves(context)).moving
        if not moving.can_move(call):
            what = f"call {request.call_id} cannot move"
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, what)
        try:
            moved = await moving.hand_over(call, request.to)
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "")
        except AWAY as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        if not moved:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no other worker has room")
        return worker_pb2.HandOverResponse()

    async def Drain(  # noqa: N802
        self, request: worker_pb2.DrainRequest, context: Context
    ) -> worker_pb2.DrainResponse:
        self.handles.drain()
        return worker_pb2.DrainResponse(calls_left=len(self._calls))

    async def _moves(self, context: Context) -> Moves:
        if self.handles.moves is None:
            what = "forks do not move: this worker has no --redis"
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, what)
        return self.handles.moves

    @passed_on
    async def Pause(  # noqa: N802
        self, request: worker_pb2.PauseRequest, context: Context
    ) -> worker_pb2.PauseResponse:
        call = await self._call(request.call_id, context)
        call.feed(ev.PauseAsked(), _now())
        return worker_pb2.PauseResponse()

    @passed_on
    async def Resume(  # noqa: N802
        self, request: worker_pb2.ResumeRequest, context: Context
    ) -> worker_pb2.ResumeResponse:
        call = await self._call(request.call_id, context)
        call.feed(ev.ResumeAsked(), _now())
        return worker_pb2.ResumeResponse()

    def elsewhere(self, call_id: str) -> tuple[PassingOn, str] | None:
        """See passing_on.Service."""
        if self.handles.moves is None:
            return None
        call, moving = self._calls.by_call_id(call_id), self.handles.moves.moving
        if call is not None and not moving.has_left(call):
            return None
        control = moving.passing_on.where(call_id)
        return (moving.passing_on, control) if control else None

    async def _call(self, call_id: str, context: Context) -> RecordedCall:
        call = self._calls.by_call_id(call_id)
        if call is None or call.ended_reason:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"call {call_id} is not on this worker")
        return call


async def _invalid(context: Context, what: str) -> NoReturn:
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, what)
    raise AssertionError("abort raises")


def _is_address(remote: worker_pb2.RtpAddress) -> bool:
    """Names are not resolved here: it would block every call of the worker."""
    try:
        ipaddress.ip_address(remote.host)
    except ValueError:
        return False
    return 0 < remote.port < 65536  # noqa: PLR2004 - 16 bits


def _report(findings: Findings, *, final: bool) -> worker_pb2.WitnessReport:
    return worker_pb2.WitnessReport(
        first_hold_audio_ms=findings.first_hold_audio_ms,
        phrase_end_ms=findings.phrase_end_ms,
        silent_ms=findings.silent_ms,
        missing_ms=findings.missing_ms,
        longest_gap_ms=findings.longest_gap_ms,
        watched_ms=findings.watched_ms,
        both_live_ms=findings.both_live_ms,
        one_way=findings.one_way,
        final=final,
    )


def _status(state: int) -> CallStatus | None:
    try:
        return CallStatus(state)
    except ValueError:
        return None


def _now() -> float:
    return asyncio.get_running_loop().time()


@asynccontextmanager
async def open_control(
    listen: HostPort,
    calls: Calls,
    escape: AriEscape | None = None,
    handles: Handles | None = None,
    tls: GrpcTls | None = None,
) -> AsyncIterator[int]:
    """Serves WorkerControl and grpc.health.v1; gives the port."""
    if is_open_to_strangers(listen.host, tls):
        log.warning("gRPC is open to whoever reaches it: see --grpc-ca", control=str(listen))
    server = grpc.aio.server(options=OPTIONS)
    service = WorkerControlService(calls, escape, handles)
    worker_pb2_grpc.add_WorkerControlServicer_to_server(service, server)
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    try:
        if tls is None:
            port = server.add_insecure_port(str(listen))
        else:
            port = server.add_secure_port(str(listen), tls.server())
    except RuntimeError as error:
        raise SetupError(f"--control {listen}: {error}") from error
    await server.start()
    await healthy.set("", health_pb2.HealthCheckResponse.SERVING)
    try:
        yield port
    finally:
        await server.stop(grace=0.5)
