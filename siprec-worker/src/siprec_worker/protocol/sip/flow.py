"""Where SIP messages come from and go to."""

from __future__ import annotations

from dataclasses import dataclass

UDP = "udp"
TCP = "tcp"
TLS = "tls"


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send to; over TCP and TLS a new connection may be made to it."""

    transport: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Flow:
    """Where a message came from: a UDP source, or one connection (TCP or TLS) by its number."""

    transport: str
    host: str
    port: int
    connection: int = 0

    @property
    def reliable(self) -> bool:
        return self.transport != UDP


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Bytes to send: on `flow` where that is an open connection, else to `target`."""

    data: bytes
    target: Target
    flow: Flow | None = None
