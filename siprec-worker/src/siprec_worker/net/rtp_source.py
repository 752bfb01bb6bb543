"""Who may send to an RTP socket: the offered address, and nobody else.

Until the first accepted packet the source is looked at in Python; then the socket is connected to
it, so that the kernel refuses everybody else and reading is a plain `recv`.
"""

from __future__ import annotations

import ctypes
import ipaddress
import os
import socket
import struct
from dataclasses import dataclass, field

Address = tuple[str, int]
_MAX_WAITING = 256  # datagrams that a socket may have before its source is known
_LIBC = ctypes.CDLL(None, use_errno=True)
_ANY_FAMILY = struct.pack("=H14x", socket.AF_UNSPEC)


def disconnect(sock: socket.socket) -> None:
    """Undoes `connect` of a datagram socket: connect(2) with AF_UNSPEC, which Python cannot say.

    The socket keeps its address: Linux takes back a port that it had chosen itself.
    """
    bound = sock.getsockname()
    if _LIBC.connect(sock.fileno(), _ANY_FAMILY, len(_ANY_FAMILY)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    if sock.getsockname() != bound:
        sock.bind(bound)


@dataclass(slots=True)
class SourceLatch:
    """The rule for one socket's source.

    The offered address is accepted at once. With `any_port` so is the offered host from another
    port (a fork behind a NAT, or an asymmetric sender). Raises ValueError when `host` is no IP
    address.
    """

    sock: socket.socket
    host: str
    port: int
    any_port: bool = False
    latched: Address | None = field(default=None, init=False)
    refused: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.host = str(ipaddress.ip_address(self.host))

    def read(self, size: int) -> list[bytes]:
        """The accepted ones of the datagrams that wait; the first of them connects the socket.

        From then on `sock.recv` does: what strangers had sent before is gone with this call.
        """
        accepted = []
        for _ in range(_MAX_WAITING):
            try:
                data, source = self.sock.recvfrom(size)
            except BlockingIOError:
                break
            if self._accepts(source[0], source[1]):
                accepted.append(data)
            else:
                self.refused += 1
        return accepted

    def _accepts(self, host: str, port: int) -> bool:
        if self.latched is not None:
            return (host, port) == self.latched
        if host != self.host or (port != self.port and not self.any_port):
            return False
        self.sock.connect((host, port))
        self.latched = (host, port)
        return True

    def aim(self, host: str, port: int) -> bool:
        """Another offered address, after a re-INVITE; true when the source is open again.

        The same host and port leave a latched source alone.
        """
        offered = (str(ipaddress.ip_address(host)), port)
        if offered == (self.host, self.port):
            return self.latched is None
        self.host, self.port = offered
        if self.latched is not None:
            disconnect(self.sock)
            self.latched = None
        return True
