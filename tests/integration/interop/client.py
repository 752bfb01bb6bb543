"""A bare SIP peer for corpus messages: sends bytes, collects what comes back."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from siprec_worker.errors import SipError
from siprec_worker.protocol.sip.framing import StreamFramer
from siprec_worker.protocol.sip.message import Request, Response
from siprec_worker.protocol.sip.parsing import parse_message

LIMIT_SECONDS = 20.0  # that an answer never came; not how long one takes


class Peer(asyncio.Protocol):
    """One socket to the endpoint. Answers nothing by itself."""

    def __init__(self, transport: str) -> None:
        self.transport = transport.upper()
        self._stream = transport != "udp"
        self.inbox: asyncio.Queue[Request | Response] = asyncio.Queue()
        self.address = ("", 0)
        self.closed = asyncio.Event()
        self._framer = StreamFramer()
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self.address = transport.get_extra_info("sockname")[:2]

    def data_received(self, data: bytes) -> None:
        for message in self._framer.receive(data):
            self._deliver(message)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._deliver(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()

    def error_received(self, exc: Exception) -> None:
        pass

    def _deliver(self, data: bytes) -> None:
        self.inbox.put_nowait(parse_message(data))

    def send(self, data: bytes) -> None:
        assert self._transport is not None
        if self._stream:
            self._transport.write(data)  # type: ignore[attr-defined]
        else:
            self._transport.sendto(data)  # type: ignore[attr-defined]

    async def receive(self, seconds: float = LIMIT_SECONDS) -> Request | Response:
        async with asyncio.timeout(seconds):
            return await self.inbox.get()

    async def final_response(
        self, method: str, cseq: int | None, seconds: float = LIMIT_SECONDS
    ) -> Response:
        """Skips everything else: retransmissions of earlier answers, and the worker's requests."""
        async with asyncio.timeout(seconds):
            while True:
                message = await self.inbox.get()
                if isinstance(message, Request) or message.status < 200:
                    continue
                try:
                    answered = message.cseq
                except SipError:
                    return message
                if cseq is None or (answered.method == method and answered.number == cseq):
                    return message

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


@asynccontextmanager
async def connected_peer(
    transport: str, host: str, port: int, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Peer]:
    """A peer over `udp`, `tcp` or `tls`, on loopback of either family."""
    loop = asyncio.get_running_loop()
    peer = Peer(transport)
    if transport != "udp":
        await loop.create_connection(lambda: peer, host, port, ssl=tls)
    else:
        await loop.create_datagram_endpoint(
            lambda: peer,
            local_addr=("::1" if ":" in host else "127.0.0.1", 0),
            remote_addr=(host, port),
        )
    try:
        yield peer
    finally:
        peer.close()
        await asyncio.sleep(0)
