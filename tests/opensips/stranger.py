"""A host that sends whatever it likes over UDP, and what comes back."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

_numbers = itertools.count(1)
CALLER = "127.0.0.9"


class Stranger:
    """Made by `open_stranger`."""

    def __init__(self, wire: socket.socket, edge: str) -> None:
        self.address = "{}:{}".format(*wire.getsockname())
        self._wire = wire
        self._edge = edge
        host, _, port = edge.rpartition(":")
        self._to = host, int(port)

    def request(
        self, method: str = "OPTIONS", headers: Mapping[str, str] | None = None, body: str = ""
    ) -> str:
        """A request that is right but for what `headers` makes of it."""
        lines = {
            "Via": f"SIP/2.0/UDP {self.address};branch=z9hG4bK{secrets.token_hex(6)};rport",
            "From": f"<sip:{next(_numbers)}@{self.address}>;tag={secrets.token_hex(4)}",
            "To": f"<sip:+14155550199@{self._edge}>",
            "Call-ID": secrets.token_hex(8),
            "CSeq": f"1 {method}",
            "Contact": f"<sip:x@{self.address}>",
            "Max-Forwards": "70",
            **(headers or {}),
            "Content-Length": str(len(body)),
        }
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"{method} sip:+14155550199@{self._edge} SIP/2.0\r\n{text}\r\n{body}"

    def send(self, request: str) -> None:
        self._wire.sendto(request.encode(), self._to)

    async def answers(self, seconds: float) -> list[str]:
        """The status codes that come within that time."""
        found: list[str] = []
        try:
            async with asyncio.timeout(seconds):
                while True:
                    data = await asyncio.get_running_loop().sock_recv(self._wire, 65536)
                    found.append(data.split()[1].decode())
        except TimeoutError:
            return found

    async def ask(self, request: str) -> str:
        """The first answer's status; "" when none comes within a second."""
        self.send(request)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(1):
                return (await loop.sock_recv(self._wire, 65536)).split()[1].decode()
        except TimeoutError:
            return ""


@contextmanager
def open_stranger(edge: str, host: str = CALLER) -> Iterator[Stranger]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.setblocking(False)
        wire.bind((host, 0))
        yield Stranger(wire, edge)
