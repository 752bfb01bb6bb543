"""SIP over UDP: one socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from siprec_worker.protocol.sip.flow import UDP, Flow, Target


class SipUdp(asyncio.DatagramProtocol):
    """Hands datagrams to `receive(data, flow)` and sends them."""

    def __init__(self, receive: Callable[[bytes, Flow], None]) -> None:
        self.dropped = 0  # while the loop's write buffer was over its limit
        self._full = False
        self._receive = receive
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # No isinstance check: uvloop's transports, and asyncio's own before 3.12, are none.
        self._transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if not data.strip(b"\r\n\0"):
            return  # keeps a NAT's binding alive
        self._receive(data, Flow(UDP, addr[0], addr[1]))

    def error_received(self, exc: Exception) -> None:
        """ICMP says that a peer is not there: its transaction times out by itself."""

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False

    def send(self, data: bytes, target: Target) -> None:
        if self._transport is None or self._full:
            self.dropped += 1
        else:
            self._transport.sendto(data, (target.host, target.port))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None
