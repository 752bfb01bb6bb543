"""Where SIP bytes go: UDP and TCP, under one SIP address."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Protocol

from voicefork_cli.sim.errors import CallTimeout, SetupMissing, WireError
from voicefork_cli.sim.message import StreamFramer, Uri

CONNECT_SECONDS = 2.0
BIND_ATTEMPTS = 20


class Flow(Protocol):
    """One way to a peer; replies go back on the flow of their request."""

    transport: str  # "UDP" or "TCP"
    peer: tuple[str, int]

    def send(self, data: bytes) -> None: ...


Receiver = Callable[[bytes, Flow], None]


class UdpFlow:
    transport = "UDP"

    def __init__(self, sender: asyncio.DatagramTransport, peer: tuple[str, int]) -> None:
        self._sender = sender
        self.peer = peer

    def send(self, data: bytes) -> None:
        if not self._sender.is_closing():
            self._sender.sendto(data, self.peer)


class UdpPort(asyncio.DatagramProtocol):
    """Gives each datagram to `receiver` with the flow it came on."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self.transport is not None and data.strip():
            self._receiver(data, UdpFlow(self.transport, addr))

    def error_received(self, exc: Exception) -> None:
        """ICMP unreachable: the transaction's own timers say it."""


class TcpFlow(asyncio.Protocol):
    transport = "TCP"

    def __init__(self, receiver: Receiver, opened: Callable[[TcpFlow], None]) -> None:
        self._receiver = receiver
        self._opened = opened
        self._framer = StreamFramer()
        self._connection: asyncio.Transport | None = None
        self.peer = ("", 0)

    @property
    def is_open(self) -> bool:
        return self._connection is not None and not self._connection.is_closing()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._connection = transport
        self.peer = transport.get_extra_info("peername")[:2]
        self._opened(self)

    def data_received(self, data: bytes) -> None:
        try:
            messages = self._framer.receive(data)
        except WireError:
            self.close()
            return
        for message in messages:
            self._receiver(message, self)

    def send(self, data: bytes) -> None:
        if self.is_open and self._connection is not None:
            self._connection.write(data)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.abort()


async def connect(uri: Uri, receiver: Receiver, opened: Callable[[TcpFlow], None]) -> TcpFlow:
    """Raises CallTimeout where nobody listens: to a SIP client it is as good as no answer."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, flow = await loop.create_connection(
                lambda: TcpFlow(receiver, opened), uri.host, uri.port
            )
    except OSError as error:  # TimeoutError is one
        raise CallTimeout(f"cannot connect to {uri}: {error or 'timed out'}") from error
    return flow


def bind_pair(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """A UDP and a listening TCP socket of the same number; 0 = the kernel's choice.

    Raises:
        SetupMissing: the port is taken, or no number is free for both.
    """
    for _ in range(BIND_ATTEMPTS):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            udp.bind((host, port))
            tcp.bind((host, udp.getsockname()[1]))
            tcp.listen(64)
        except OSError as error:
            udp.close()
            tcp.close()
            if port:
                raise SetupMissing(f"SIP port {host}:{port} cannot be had: {error}") from error
            continue
        for each in (udp, tcp):
            each.setblocking(False)
        return udp, tcp
    raise SetupMissing(f"no port of {host} is free for both UDP and TCP")
