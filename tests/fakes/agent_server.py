"""A fake AI vendor: a real grpcio VoiceAgent server that follows a script and remembers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from voicefork.agent.v1 import agent_pb2 as pb

SERVICE = "voicefork.agent.v1.VoiceAgent"
_Context = grpc.aio.ServicerContext[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Script:
    """What the agent does with a call. Counts are of requests after Open."""

    open_after: float | None = 0.0  # seconds; None = never
    open_when: asyncio.Event | None = None  # not before
    opened: pb.Opened = field(default_factory=pb.Opened)
    say: Sequence[pb.ConverseResponse] = ()  # after Opened, seq filled in
    echo: bool = False  # speaks every leg's audio back, as utterance "echo"
    ack_every: int = 0  # acknowledges every so many requests; 0 = never
    stall_after: int | None = None  # reads no more
    seconds_per_message: float = 0.0  # reads slowly
    abort_after: int | None = None  # ends with `abort_with`
    abort_with: grpc.StatusCode = grpc.StatusCode.INTERNAL
    garbage_after: int | None = None  # sends bytes that are no message
    leave_after: int | None = None  # ends with OK


@dataclass(slots=True)
class FakeCall:
    """One Converse stream as the agent saw it."""

    script: Script
    metadata: dict[str, str]
    peer: str
    requests: list[pb.ConverseRequest] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    half_closed: bool = False  # the worker ended its side
    sent: int = 0

    @property
    def open(self) -> pb.Open:
        return self.requests[0].open

    @property
    def audio(self) -> list[pb.Audio]:
        return [one.audio for one in self.requests if one.WhichOneof("message") == "audio"]

    def of_kind(self, name: str) -> list[pb.ConverseRequest]:
        return [one for one in self.requests if one.WhichOneof("message") == name]


class AgentServer:
    """Answers Converse by `script`, or by what `script_for` picks for an Open."""

    def __init__(self, script: Script) -> None:
        self.script_for: Callable[[pb.Open], Script] = lambda _: script
        self.calls: list[FakeCall] = []
        self.port = 0
        self._server: grpc.aio.Server | None = None

    def call(self, call_id: str) -> FakeCall:
        return next(call for call in self.calls if call.open.call_id == call_id)

    async def start(
        self,
        port: int = 0,
        tls: tuple[Path, Path] | None = None,
        client_ca: Path | None = None,
        options: Sequence[tuple[str, int]] = (),
    ) -> None:
        """`tls` = key and certificate chain (PEM).

        With `client_ca` callers must show a certificate of it.
        """
        self._server = grpc.aio.server(options=options)
        handler: grpc.RpcMethodHandler[bytes, bytes]
        handler = grpc.stream_stream_rpc_method_handler(self._converse)
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, {"Converse": handler}),)
        )
        address = f"127.0.0.1:{port}"
        if tls is None:
            self.port = self._server.add_insecure_port(address)
        else:
            credentials = _credentials(tls, client_ca)
            self.port = self._server.add_secure_port(address, credentials)
        await self._server.start()

    async def stop(self, grace: float | None = None) -> None:
        """Without grace everything is cut; with it, streams may end by themselves (GOAWAY)."""
        if self._server is not None:
            await self._server.stop(grace)

    async def _converse(self, _: AsyncIterator[bytes], context: _Context) -> None:
        first = pb.ConverseRequest.FromString(await self._read(context))
        script = self.script_for(first.open)
        metadata = {
            key: value
            for key, value in context.invocation_metadata() or ()
            if isinstance(value, str)
        }
        call = FakeCall(script, metadata, context.peer(), [first])
        self.calls.append(call)
        try:
            await self._follow(call, context)
        finally:
            call.ended.set()

    async def _follow(self, call: FakeCall, context: _Context) -> None:
        script = call.script
        if script.open_after is None:
            await asyncio.Event().wait()
        await asyncio.sleep(script.open_after or 0)
        if script.open_when is not None:
            await script.open_when.wait()
        await self._say(call, context, pb.ConverseResponse(opened=script.opened))
        for response in script.say:
            await self._say(call, context, response)
        taken = 0
        while True:
            if script.stall_after is not None and taken >= script.stall_after:
                await asyncio.Event().wait()
            if taken == script.garbage_after:
                await context.write(b"\xff\xff\xff\xffgarbage")
            if taken == script.abort_after:
                await context.abort(script.abort_with, "as the script says")
            if taken == script.leave_after:
                return
            body = await self._read(context)
            if not body:
                call.half_closed = True
                return
            taken += 1
            call.requests.append(pb.ConverseRequest.FromString(body))
            await self._answer(call, context, taken)

    async def _answer(self, call: FakeCall, context: _Context, taken: int) -> None:
        script, request = call.script, call.requests[-1]
        if script.seconds_per_message:
            await asyncio.sleep(script.seconds_per_message)
        if script.echo and request.WhichOneof("message") == "audio":
            for leg in request.audio.legs:
                speak = pb.Speak(utterance_id="echo", data=leg.data)
                await self._say(call, context, pb.ConverseResponse(speak=speak))
        if script.ack_every and taken % script.ack_every == 0:
            ack = pb.Ack(seq=request.seq, pts=request.audio.pts)
            await self._say(call, context, pb.ConverseResponse(ack=ack))

    async def _say(self, call: FakeCall, context: _Context, response: pb.ConverseResponse) -> None:
        call.sent += 1
        numbered = pb.ConverseResponse(seq=call.sent)
        numbered.MergeFrom(response)
        await context.write(numbered.SerializeToString())

    async def _read(self, context: _Context) -> bytes:
        """Nothing once the worker has ended its side."""
        body = await context.read()
        return body if isinstance(body, bytes) else b""


def _credentials(tls: tuple[Path, Path], client_ca: Path | None) -> grpc.ServerCredentials:
    key, chain = (path.read_bytes() for path in tls)
    root = client_ca.read_bytes() if client_ca is not None else None
    return grpc.ssl_server_credentials([(key, chain)], root, root is not None)


@asynccontextmanager
async def agent_server(
    script: Script | None = None,
    *,
    tls: tuple[Path, Path] | None = None,
    client_ca: Path | None = None,
    options: Sequence[tuple[str, int]] = (),
) -> AsyncIterator[AgentServer]:
    """A server on a free loopback port for the length of the block."""
    server = AgentServer(script or Script())
    await server.start(tls=tls, client_ca=client_ca, options=options)
    try:
        yield server
    finally:
        await server.stop()
