"""Requests about calls of another replica, passed on to it: whichever replica they reach."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import grpc

from orchestrator.model import CallId, HandoffId

FORWARD_SECONDS = 3.0
WHISPER_SECONDS = 180.0  # it is answered when it, and what was there before it, has been said
_MARK = "voicefork-forwarded"
_FORWARDED = ("Escalate", "CancelHandoff", "PatchContext", "ReportOutcome", "Whisper")


class Whereabouts(Protocol):
    """Who has a call (fleet.whereabouts). Never raises."""

    async def elsewhere(self, call: CallId) -> str | None: ...

    async def call_of(self, handoff: HandoffId) -> CallId | None: ...

    async def settled(self, call: CallId, dead: str) -> str | None: ...


class Forwarding(grpc.aio.ServerInterceptor):
    """Of HandoffService, what moves something. Reading works everywhere, by the store.

    `whereabouts` is set before the server starts.
    """

    def __init__(self, service: str, dial: Callable[[str], grpc.aio.Channel]) -> None:
        self._methods = {f"/{service}/{method}" for method in _FORWARDED}
        self._dial = dial
        self.whereabouts: Whereabouts | None = None

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: Any,
    ) -> Any:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        passed_on = any(key == _MARK for key, _ in handler_call_details.invocation_metadata or ())
        if handler is None or method not in self._methods or passed_on:
            return handler

        async def serve(request: Any, context: Any) -> Any:
            address, call = await self._elsewhere(request)
            while address is not None and self.whereabouts is not None:
                try:
                    return await self._pass_on(address, method, handler, request)
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.UNAVAILABLE or error.trailing_metadata():
                        # A Metadata is not taken here, what it is made of is.
                        trailing = tuple(error.trailing_metadata() or ())
                        await context.abort(error.code(), error.details() or "", trailing)
                address = await self.whereabouts.settled(call, address)
            return await handler.unary_unary(request, context)

        return grpc.unary_unary_rpc_method_handler(
            serve,
            request_deserializer=handler.request_deserializer,
            response_serializer=lambda answer: (  # what was passed on is serialised already
                answer if isinstance(answer, bytes) else handler.response_serializer(answer)
            ),
        )

    async def _elsewhere(self, request: Any) -> tuple[str | None, CallId]:
        where, call = self.whereabouts, CallId(getattr(request, "call_id", ""))
        if where is None:
            return None, call
        if not call:
            handoff = HandoffId(getattr(request, "handoff_id", ""))
            call = await where.call_of(handoff) or call
        return (await where.elsewhere(call) if call else None), call

    async def _pass_on(self, address: str, method: str, handler: Any, request: Any) -> Any:
        ask: Any = self._dial(address).unary_unary(
            method,
            request_serializer=type(request).SerializeToString,
            response_deserializer=None,
        )
        lasts = method.endswith("/Whisper")
        limit = WHISPER_SECONDS if lasts else FORWARD_SECONDS
        return await ask(request, timeout=limit, metadata=((_MARK, "1"),))
