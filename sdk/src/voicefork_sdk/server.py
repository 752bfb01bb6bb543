"""The agent's gRPC server: every call is one coroutine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import signal
from collections.abc import Awaitable, Callable
from typing import Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from voicefork.agent.v1 import agent_pb2 as pb
from voicefork.agent.v1 import agent_pb2_grpc

from voicefork_sdk.call import Call
from voicefork_sdk.conversation import Conversation
from voicefork_sdk.errors import CallEnded, OpenRejected
from voicefork_sdk.options import MAX_MESSAGE_BYTES, AgentOptions, choose, describe, opened
from voicefork_sdk.stream import Context, Stream, read_open
from voicefork_sdk.wire import read_opening

log = logging.getLogger(__name__)

OnCall = Callable[[Call], Awaitable[None]]

_SERVICE = "voicefork.agent.v1.VoiceAgent"
_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # The usual 64 KiB windows hold one tick of about 50 calls; a worker puts 80 on a connection.
    ("grpc.http2.lookahead_bytes", 1024 * 1024),
    ("grpc.http2.max_frame_size", 64 * 1024),
)


class AgentServer:
    """Serves VoiceAgent and grpc.health.v1 on one address. Use as an async context manager.

    `on_call` failing ends its own call only (status INTERNAL). Without `credentials` it speaks
    plain text: for loopback, or behind a mesh that encrypts.
    """

    def __init__(
        self,
        on_call: OnCall,
        *,
        listen: str = "127.0.0.1:0",
        options: AgentOptions | None = None,
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        self._on_call = on_call
        self._listen = listen
        self._options = options or AgentOptions()
        self._credentials = credentials
        self._tasks: dict[asyncio.Task[None], Conversation] = {}
        self._resumable: dict[str, asyncio.Task[None]] = {}
        self._draining = False
        self.address = ""  # host:port, once entered
        self.calls_taken = 0
        self.calls_failed = 0

    @property
    def active_calls(self) -> int:
        return len(self._tasks)

    async def __aenter__(self) -> Self:
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(options=_CHANNEL_OPTIONS)
        agent_pb2_grpc.add_VoiceAgentServicer_to_server(_Servicer(self), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if self._credentials is None:
            port = self._server.add_insecure_port(self._listen)
        else:
            port = self._server.add_secure_port(self._listen, self._credentials)
        self.address = f"{self._listen.rpartition(':')[0]}:{port}"
        await self._server.start()
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.stop(grace=1.0)

    async def drain(self, seconds: float) -> bool:
        """Takes no new calls and waits for the others; True when all of them ended in time."""
        self._draining = True
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        return not self._tasks

    async def _set_health(self, status: int) -> None:
        for service in ("", _SERVICE):
            await self._health.set(service, status)

    # --- one call ------------------------------------------------------------------------------

    def describe(self) -> pb.DescribeResponse:
        return describe(self._options)

    async def converse(self, context: Context) -> None:
        """One Converse stream, from Open to its end. Raises OpenRejected."""
        request = await read_open(context)
        task, number = self._resume(request.open) or self._begin(request.open)
        conversation = self._tasks[task]
        conversation.receive(request)
        try:
            await Stream(context, conversation, number).run()
        finally:
            self._detach(task, conversation, number)
        if task.done() and not task.cancelled() and task.exception() is not None:
            await context.abort(grpc.StatusCode.INTERNAL, "the agent failed on this call")

    def _begin(self, offer: pb.Open) -> tuple[asyncio.Task[None], int]:
        if self._draining:
            raise OpenRejected("shutting down", grpc.StatusCode.UNAVAILABLE)
        if self._options.max_calls and len(self._tasks) >= self._options.max_calls:
            raise OpenRejected("all lines are busy", grpc.StatusCode.RESOURCE_EXHAUSTED)
        choice = choose(offer, self._options)
        opening = read_opening(
            offer, uplink=choice.uplink, downlink=choice.downlink, chunk_ms=choice.chunk_ms
        )
        token = secrets.token_urlsafe(16) if self._options.can_resume else ""
        conversation = Conversation(opening, self._options)
        number = conversation.attach(
            opened(offer, self._options, choice, token=token, resumed=False)
        )
        task = asyncio.create_task(self._run(conversation), name=f"call {opening.call_id}")
        self._tasks[task] = conversation
        if token:
            self._resumable[token] = task
        task.add_done_callback(lambda done: self._forget(done, token))
        self.calls_taken += 1
        return task, number

    def _resume(self, offer: pb.Open) -> tuple[asyncio.Task[None], int] | None:
        token = offer.resume.token
        task = self._resumable.get(token)
        if task is None or (conversation := self._tasks.get(task)) is None:
            return None
        choice = choose(offer, self._options)
        answer = opened(offer, self._options, choice, token=token, resumed=True)
        return task, conversation.attach(answer)

    async def _run(self, conversation: Conversation) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                call = Call(conversation, tasks)
                await self._on_call(call)
                call.cancel_spawned()
        except* CallEnded:
            pass  # on_call was still sending when the call ended: as good as returning
        except* Exception:
            self.calls_failed += 1
            log.exception("on_call failed")
            raise
        finally:
            conversation.outbox.close()

    def _forget(self, task: asyncio.Task[None], token: str) -> None:
        del self._tasks[task]
        self._resumable.pop(token, None)
        if not task.cancelled():
            task.exception()  # was logged where it happened

    def _detach(self, task: asyncio.Task[None], conversation: Conversation, number: int) -> None:
        """The stream is over: the call gets a moment to be resumed, then one to finish."""
        if task.done() or not conversation.is_carried_by(number):
            return
        loop = asyncio.get_running_loop()
        if conversation.is_ended or not self._options.can_resume:
            self._finish(task, conversation)
        else:
            loop.call_later(self._options.resume_seconds, self._expire, task, conversation, number)

    def _expire(self, task: asyncio.Task[None], conversation: Conversation, number: int) -> None:
        if conversation.is_carried_by(number):
            self._finish(task, conversation)

    def _finish(self, task: asyncio.Task[None], conversation: Conversation) -> None:
        conversation.lose()
        asyncio.get_running_loop().call_later(self._options.close_seconds, task.cancel)


class _Servicer(agent_pb2_grpc.VoiceAgentServicer):
    """The generated interface, and errors as gRPC statuses."""

    def __init__(self, server: AgentServer) -> None:
        self._server = server

    async def Describe(  # noqa: N802 - the contract's name
        self, request: pb.DescribeRequest, context: object
    ) -> pb.DescribeResponse:
        return self._server.describe()

    async def Converse(  # type: ignore[override]  # noqa: N802 - the contract's name
        self, _requests: object, context: Context
    ) -> None:
        try:
            await self._server.converse(context)
        except OpenRejected as error:
            await context.abort(error.code, str(error))


async def serve(  # noqa: PLR0913 - keyword options of the one entry point
    on_call: OnCall,
    listen: str = "127.0.0.1:0",
    *,
    options: AgentOptions | None = None,
    credentials: grpc.ServerCredentials | None = None,
    drain_seconds: float = 30.0,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT, then drains. `on_ready` gets the address, host:port."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with AgentServer(
        on_call, listen=listen, options=options, credentials=credentials
    ) as server:
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError):  # not on Windows
                loop.add_signal_handler(number, stop.set)
        if on_ready:
            on_ready(server.address)
        await stop.wait()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError):
                loop.remove_signal_handler(number)
        await server.drain(drain_seconds)
