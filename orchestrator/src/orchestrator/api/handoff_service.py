"""HandoffService: requests for a human in, google.rpc.Status with details out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NoReturn

from google.protobuf import duration_pb2
from google.protobuf.message import Message
from google.rpc import (  # type: ignore[import-untyped]
    code_pb2,
    error_details_pb2,
    status_pb2,
)
from grpc_status import rpc_status  # type: ignore[import-untyped]
from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork.handoff.v1 import handoff_pb2_grpc

from orchestrator.api.desk import Desk, Stories, availability, place_call, report_outcome
from orchestrator.api.handoff_wire import (
    InvalidRequest,
    context_from,
    context_to,
    escalation_from,
    handoff_to,
    wrong_context,
)
from orchestrator.api.whispering import whisper
from orchestrator.errors import PeerError, StoreError
from orchestrator.handoff.refusals import Refused
from orchestrator.handoff.registry import Registry
from orchestrator.model import CallId, HandoffId

DOMAIN = "voicefork"


class HandoffService(handoff_pb2_grpc.HandoffServiceServicer):
    """Handoffs of this replica, and to read, those of the others."""

    def __init__(self, registry: Registry, tenant: str, desk: Desk) -> None:
        self._registry = registry
        self._tenant = tenant
        self._desk = desk

    async def Escalate(self, request: pb.EscalateRequest, context: Any) -> pb.EscalateResponse:  # noqa: N802
        async with _refusals(context):
            asked = self._desk.stories.added(escalation_from(request))
            handoff = await self._registry.escalate(asked)
        return pb.EscalateResponse(handoff=handoff_to(handoff))

    async def CancelHandoff(  # noqa: N802
        self, request: pb.CancelHandoffRequest, context: Any
    ) -> pb.CancelHandoffResponse:
        async with _refusals(context):
            handoff = await self._registry.cancel(HandoffId(request.handoff_id))
        return pb.CancelHandoffResponse(handoff=handoff_to(handoff))

    async def GetHandoff(  # noqa: N802
        self, request: pb.GetHandoffRequest, context: Any
    ) -> pb.GetHandoffResponse:
        async with _refusals(context):
            if request.WhichOneof("which") == "call_id":
                found = self._registry.get_of_call(CallId(request.call_id), self._tenant)
            else:
                found = self._registry.get(HandoffId(request.handoff_id), self._tenant)
            handoff, story = await found
        return pb.GetHandoffResponse(handoff=handoff_to(handoff), context=context_to(story))

    async def WatchHandoff(  # noqa: N802
        self, request: pb.WatchHandoffRequest, context: Any
    ) -> AsyncIterator[pb.WatchHandoffResponse]:
        """Ends when the timing is final too: up to three seconds after a final phase."""
        handoff = HandoffId(request.handoff_id)
        async with _refusals(context):
            async for change in self._registry.follow(handoff, request.from_revision, self._tenant):
                yield pb.WatchHandoffResponse(handoff=handoff_to(change))

    async def PatchContext(  # noqa: N802
        self, request: pb.PatchContextRequest, context: Any
    ) -> pb.PatchContextResponse:
        async with _refusals(context):
            if wrong := wrong_context(request.context):
                raise InvalidRequest(wrong)
            handoff = await self._registry.patch_context(
                HandoffId(request.handoff_id),
                context_from(request.context),
                request.expected_revision,
            )
        return pb.PatchContextResponse(handoff=handoff_to(handoff))

    async def ListTargets(  # noqa: N802
        self, request: pb.ListTargetsRequest, context: Any
    ) -> pb.ListTargetsResponse:
        listed = self._desk.targets(request.tenant or self._tenant)
        return pb.ListTargetsResponse(
            targets=availability(listed, self._desk.queues(), request.language)
        )

    async def ReportOutcome(  # noqa: N802
        self, request: pb.ReportOutcomeRequest, context: Any
    ) -> pb.ReportOutcomeResponse:
        async with _refusals(context):
            handoff, _ = await self._registry.get(HandoffId(request.handoff_id), self._tenant)
            await report_outcome(self._desk, handoff.tenant, request)
        return pb.ReportOutcomeResponse()

    async def Whisper(self, request: pb.WhisperRequest, context: Any) -> pb.WhisperResponse:  # noqa: N802
        """Answers when it has been said; given up, it is silent at once."""
        async with _refusals(context):
            return await whisper(self._registry, self._tenant, request)

    async def PlaceCall(self, request: pb.PlaceCallRequest, context: Any) -> pb.PlaceCallResponse:  # noqa: N802
        """Answers once the callee has; a call that is not answered is a typed failure."""
        async with _refusals(context):
            call = await place_call(self._desk, self._tenant, request)
        return pb.PlaceCallResponse(call_id=call)


def in_stream(
    registry: Registry, stories: Stories
) -> Callable[[str, pb.EscalateRequest], Awaitable[str]]:
    """Takes escalations that came in a call's own stream; answers why not, empty = taken."""

    async def escalate(call_id: str, request: pb.EscalateRequest) -> str:
        try:
            await registry.escalate(stories.added(escalation_from(request, call_id)))
        except PeerError as error:
            return str(error)
        return ""

    return escalate


@asynccontextmanager
async def _refusals(context: Any) -> AsyncIterator[None]:
    """Turns what the registry raises into google.rpc.Status with details."""
    try:
        yield
    except InvalidRequest as error:
        fields = [
            error_details_pb2.BadRequest.FieldViolation(field=field, description=why)
            for field, why in error.violations
        ]
        await _abort(
            context,
            code_pb2.INVALID_ARGUMENT,
            str(error),
            [_cause("INVALID_REQUEST"), error_details_pb2.BadRequest(field_violations=fields)],
        )
    except Refused as error:
        details: list[Message] = [_cause(error.reason)]
        if error.retry_seconds is not None:
            delay = duration_pb2.Duration()
            delay.FromNanoseconds(round(error.retry_seconds * 1e9))
            details.append(error_details_pb2.RetryInfo(retry_delay=delay))
        await _abort(context, code_pb2.Code.Value(error.code), str(error), details)
    except StoreError as error:
        await _abort(context, code_pb2.UNAVAILABLE, str(error), [_cause("STORE_UNAVAILABLE")])


def _cause(reason: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN)


async def _abort(context: Any, code: int, text: str, details: Sequence[Message]) -> NoReturn:
    status = status_pb2.Status(code=code, message=text)
    for detail in details:
        status.details.add().Pack(detail)
    rich = rpc_status.to_status(status)
    await context.abort(rich.code, rich.details, rich.trailing_metadata)
    raise AssertionError("abort raises")
