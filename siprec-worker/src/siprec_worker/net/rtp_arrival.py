"""Reading a socket with the kernel's time of arrival of each datagram."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable

Tap = Callable[[bytes, float], None]
"""Gets a datagram and when it came, in seconds since the epoch."""

_SO_TIMESTAMPNS = 35  # Linux; the socket module has no name for it
_TIMESPEC = struct.Struct("@qq")
_ROOM = socket.CMSG_SPACE(_TIMESPEC.size)


def stamp_arrivals(sock: socket.socket, *, on: bool) -> None:
    """Asks the kernel to note each datagram's arrival (SO_TIMESTAMPNS), or no more."""
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, int(on))


def tapped_read(sock: socket.socket, tap: Tap) -> Callable[[int], bytes]:
    """A `recv` that tells `tap` first. Costs a `recvmsg` instead of a `recv`."""

    def read(size: int) -> bytes:
        data, ancillary, _, _ = sock.recvmsg(size, _ROOM)
        at = time.time()  # should the kernel not say: no earlier than it came
        for level, kind, value in ancillary:
            if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
                seconds, nanoseconds = _TIMESPEC.unpack(value[: _TIMESPEC.size])
                at = seconds + nanoseconds / 1e9
        tap(data, at)
        return data

    return read
