"""What is still asked of a call that has moved: passed on to the worker that has it now.

Once, and no further: of two workers each of which takes the other for it neither is asked for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Protocol, TypeVar, cast

import grpc
from voicefork.worker.v1 import worker_pb2_grpc

from siprec_worker.net.grpc_tls import Dial

LIMIT_SECONDS = 1.0  # as the orchestrator's own
MOST_GONE = 4096  # calls whose new worker is remembered
PASSED_ON = ("voicefork-passed-on", "1")

Context = grpc.aio.ServicerContext[Any, Any]
Handler = TypeVar("Handler", bound=Callable[..., Awaitable[Any]])


class PassingOn:
    """Knows the control address of each call's new worker."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._gone: dict[str, str] = {}

    def gone(self, call_id: str, control: str) -> None:
        self._gone.pop(call_id, None)
        if len(self._gone) >= MOST_GONE:
            del self._gone[next(iter(self._gone))]
        self._gone[call_id] = control

    def stays(self, call_id: str) -> None:
        self._gone.pop(call_id, None)

    def where(self, call_id: str) -> str:
        """Empty: nothing is known of it."""
        return self._gone.get(call_id, "")

    async def ask(self, control: str, name: str, request: Any) -> Any:
        """The other's answer. Raises grpc.aio.AioRpcError, TimeoutError."""
        async with self._dial(control) as channel, asyncio.timeout(2 * LIMIT_SECONDS):
            rpc = getattr(worker_pb2_grpc.WorkerControlStub(channel), name)
            return await rpc(request, timeout=LIMIT_SECONDS, metadata=(PASSED_ON,))


class Service(Protocol):
    def elsewhere(self, call_id: str) -> tuple[PassingOn, str] | None:
        """Who asks, and where the call is now; None: it is here, or nobody knows."""


def passed_on(answer: Handler) -> Handler:
    """An rpc of WorkerControl about one call, for whichever worker has it."""

    @wraps(answer)
    async def ask(service: Service, request: Any, context: Context) -> Any:
        found = service.elsewhere(request.call_id)
        if found is None or PASSED_ON in (context.invocation_metadata() or ()):
            return await answer(service, request, context)
        passing_on, control = found
        try:
            return await passing_on.ask(control, answer.__name__, request)
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "")
        except TimeoutError:
            what = f"call {request.call_id} is at {control}, which does not answer"
            await context.abort(grpc.StatusCode.UNAVAILABLE, what)

    return cast("Handler", ask)
