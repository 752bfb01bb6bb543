"""HandoffService as long as nothing runs handoffs: says what to do instead."""

from __future__ import annotations

from typing import Any, NoReturn

import grpc
from voicefork.handoff.v1 import handoff_pb2_grpc

_INSTEAD = (
    "this orchestrator runs no handoffs: escalate in the call's own Converse stream, "
    "which sends the caller to the queue"
)


class NoHandoffs(handoff_pb2_grpc.HandoffServiceServicer):
    """Answers UNIMPLEMENTED to every method, with a way out in the text."""

    async def _refuse(self, request: Any, context: Any) -> NoReturn:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, _INSTEAD)
        raise AssertionError("abort raises")

    Escalate = CancelHandoff = GetHandoff = PatchContext = _refuse
    ListTargets = ReportOutcome = PlaceCall = WatchHandoff = _refuse  # type: ignore[assignment]
