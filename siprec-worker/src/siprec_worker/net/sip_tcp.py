"""SIP over TCP and TLS: the connections peers made to us, and those we make when they are gone."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from siprec_worker.errors import SipError
from siprec_worker.net.sip_tls import Credentials
from siprec_worker.protocol.sip.flow import TCP, TLS, Flow, Target
from siprec_worker.protocol.sip.framing import StreamFramer, Unframeable

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TcpLimits:
    """Times in seconds."""

    connections: int = 512
    idle: float = 3600.0  # nothing came: a peer that needs it connects again
    message: float = 10.0  # from the first byte of a message to its last
    connect: float = 2.0
    write_buffer: int = 1024 * 1024  # bytes a peer may leave unread before it is cut off
    waiting: int = 64  # messages kept while a connection is being made; more are dropped


class SipConnection(asyncio.Protocol):
    """One connection, cut into messages."""

    def __init__(self, owner: SipTcp, number: int) -> None:
        self.number = number
        self.heard_at = 0.0
        self.message_began_at: float | None = None
        self.flow = Flow(owner.transport, "", 0, number)
        self._owner = owner
        self._framer = StreamFramer()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        peer = transport.get_extra_info("peername")
        self.flow = Flow(self._owner.transport, peer[0], peer[1], self.number)
        self.heard_at = asyncio.get_running_loop().time()
        self._owner.connected(self)

    def data_received(self, data: bytes) -> None:
        self.heard_at = asyncio.get_running_loop().time()
        try:
            for message in self._framer.receive(data):
                self._owner.receive(message, self.flow)
            if self._framer.pings():
                self._owner.answer_ping(self)
        except Unframeable as error:
            self._owner.receive(error.head, self.flow)  # is refused, and the stream is over
            self.close()
        except SipError as error:
            log.debug("closed a stream from %s: %s", self.flow.host, error)
            self.close()
        began = self.message_began_at or self.heard_at
        self.message_began_at = None if self._framer.idle else began

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._owner.lost(self)

    def send(self, data: bytes, limit: int) -> bool:
        """False where the peer is gone, or has left so much unread that it is cut off."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        if transport.get_write_buffer_size() > limit:
            transport.abort()
            return False
        transport.write(data)
        return True

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            # CPython 3.11.2 (Debian 12) trips over a TLS transport that is closed already.
            with suppress(AttributeError):
                self._transport.abort()


@dataclass(slots=True)
class _Dialling:
    task: asyncio.Task[None]
    waiting: list[bytes] = field(default_factory=list)


class SipTcp:
    """All connections of one listening port. One per flow is used again as long as it lives.

    With `credentials` it speaks TLS; they may change while it listens (`renew`).
    """

    def __init__(
        self,
        receive: Callable[[bytes, Flow], None],
        limits: TcpLimits,
        credentials: Credentials | None = None,
    ) -> None:
        self.receive = receive
        self.transport = TCP if credentials is None else TLS
        self._credentials = credentials
        self._socket: socket.socket | None = None
        self.dropped = 0  # messages that found no way out
        self.refused = 0  # connections over the limit
        self._limits = limits
        self._count = 0
        self._connections: dict[int, SipConnection] = {}
        self._dialled: dict[Target, SipConnection] = {}
        self._dialling: dict[Target, _Dialling] = {}
        self._server: asyncio.Server | None = None
        self._sweep: asyncio.TimerHandle | None = None

    @property
    def connection_count(self) -> int:
        return len(self._connections)

    async def listen(self, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=512)
        self._server = await self._accept(self._socket)
        self._sweep = asyncio.get_running_loop().call_later(1.0, self._close_stale)

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1]) if self._socket is not None else 0

    async def _accept(self, listening: socket.socket) -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(
            self._new_connection,
            sock=listening.dup(),
            ssl=self._credentials.server if self._credentials is not None else None,
            ssl_handshake_timeout=self._limits.message if self._credentials is not None else None,
        )

    async def renew(self) -> bool:
        """New connections get the credentials as their files are now; those that are open go on.

        False where the files are as they were. The kernel's queue of one listening socket is
        handed from server to server, so no connection is refused. Raises SetupError for files
        that cannot be used: then everything stays as it was.
        """
        if self._socket is None or self._credentials is None or not self._credentials.reload():
            return False
        before, self._server = self._server, await self._accept(self._socket)
        if before is not None:
            before.close()
        return True

    def _new_connection(self) -> SipConnection:
        self._count += 1
        return SipConnection(self, self._count)

    def connected(self, connection: SipConnection) -> None:
        if len(self._connections) >= self._limits.connections:
            self.refused += 1
            connection.abort()
        else:
            self._connections[connection.number] = connection

    def lost(self, connection: SipConnection) -> None:
        self._connections.pop(connection.number, None)
        for target, dialled in list(self._dialled.items()):
            if dialled is connection:
                del self._dialled[target]

    def send(self, data: bytes, target: Target, flow: Flow | None) -> None:
        """On the flow's connection, else on one to `target`, made if need be."""
        connections = [self._connections.get(flow.connection) if flow else None]
        connections.append(self._dialled.get(target))
        for connection in connections:
            if connection is not None and connection.send(data, self._limits.write_buffer):
                return
        dialling = self._dialling.get(target)
        if dialling is None:
            task = asyncio.get_running_loop().create_task(self._dial(target))
            dialling = self._dialling[target] = _Dialling(task)
        if len(dialling.waiting) < self._limits.waiting:
            dialling.waiting.append(data)
        else:
            self.dropped += 1

    async def _dial(self, target: Target) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._limits.connect):
                _, connection = await loop.create_connection(
                    self._new_connection,
                    target.host,
                    target.port,
                    ssl=self._credentials.client if self._credentials is not None else None,
                )
        except (OSError, TimeoutError) as error:
            log.info("no connection to %s:%d: %s", target.host, target.port, error)
            self.dropped += len(self._dialling.pop(target).waiting)
            return
        self._dialled[target] = connection
        for data in self._dialling.pop(target).waiting:
            connection.send(data, self._limits.write_buffer)

    def answer_ping(self, connection: SipConnection) -> None:
        """A peer that hears nothing takes the connection for broken (RFC 5626 section 4.4.1)."""
        connection.send(b"\r\n", self._limits.write_buffer)

    def _close_stale(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in list(self._connections.values()):
            began = connection.message_began_at
            if began is not None and now - began > self._limits.message:
                connection.abort()
            elif now - connection.heard_at > self._limits.idle:
                connection.close()
        self._sweep = loop.call_later(1.0, self._close_stale)

    async def aclose(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
        if self._server is not None:
            self._server.close()
        tasks = [dialling.task for dialling in self._dialling.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._dialling.clear()
        for connection in list(self._connections.values()):
            connection.close()
        await asyncio.sleep(0)  # what was written goes out now, or not at all
        for connection in list(self._connections.values()):
            connection.abort()
        await asyncio.sleep(0)
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
