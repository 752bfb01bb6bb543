"""A fake AI vendor on grpclib: a gRPC server that shares no code with grpcio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from grpclib.const import Cardinality, Handler
from grpclib.server import Server
from voicefork.agent.v1 import agent_pb2 as pb

from tests.fakes.agent_server import SERVICE

if TYPE_CHECKING:
    from grpclib.server import Stream

_ACK_EVERY = 5


class GrpclibAgent:
    """Remembers every call's requests; `stalled` calls are read no further than Open."""

    def __init__(self, stalled: frozenset[str] = frozenset()) -> None:
        self.calls: dict[str, list[pb.ConverseRequest]] = {}
        self.half_closed: set[str] = set()
        self._stalled = stalled

    def __mapping__(self) -> dict[str, Handler]:
        kinds = (Cardinality.STREAM_STREAM, pb.ConverseRequest, pb.ConverseResponse)
        return {f"/{SERVICE}/Converse": Handler(self._converse, *kinds)}

    async def _converse(self, stream: Stream[pb.ConverseRequest, pb.ConverseResponse]) -> None:
        first = await stream.recv_message()
        assert first is not None
        name = first.open.call_id
        requests = self.calls.setdefault(name, [first])
        opened = pb.Opened(resume_token=name, resumed=bool(first.open.resume.token))
        await stream.send_message(pb.ConverseResponse(seq=1, opened=opened))
        if name in self._stalled:
            await asyncio.Event().wait()
        said = 1
        while (request := await stream.recv_message()) is not None:
            requests.append(request)
            if len(requests) % _ACK_EVERY == 0:
                said += 1
                ack = pb.Ack(seq=request.seq, pts=request.audio.pts)
                await stream.send_message(pb.ConverseResponse(seq=said, ack=ack))
        self.half_closed.add(name)


@asynccontextmanager
async def serving(agent: GrpclibAgent) -> AsyncIterator[int]:
    """Its port on loopback, for the length of the block."""
    server = Server([agent])
    await server.start("127.0.0.1", 0)
    try:
        sockets = server._server.sockets  # type: ignore[union-attr]  # it has no public way
        yield sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()
