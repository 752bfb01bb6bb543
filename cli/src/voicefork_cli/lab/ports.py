"""Loopback ports that two runs at the same time never share.

Asking the kernel for port 0 and closing the socket again leaves a moment in which another run gets
the same port, and RTP needs whole ranges. So the ports below the kernel's own (ephemeral) range are
cut into blocks; a run owns a block by an advisory lock on a file, which the kernel frees when the
run ends, however it ends.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from voicefork_cli.lab.errors import NoPortLeftError

HOST = "127.0.0.1"
FIRST_PORT, END_PORT = 10_000, 32_600  # Linux hands out 32768 and above by itself
BLOCK = 200


@dataclass(frozen=True, slots=True)
class PortRange:
    """UDP ports `first..last`, both included; `first` is even, as RTP wants it (RFC 3550 §11)."""

    first: int
    last: int


class Ports:
    """Hands out ports of the blocks this run owns."""

    def __init__(self, lock_folder: Path) -> None:
        self._lock_folder = lock_folder
        self._locks: list[int] = []
        self._single: Iterator[int] = iter(())

    def single(self) -> int:
        """A port that is free for both UDP and TCP right now, and that nobody else is given."""
        while True:
            for port in self._single:
                if _is_free(port):
                    return port
            self._single = iter(range(*self._lock_blocks(1)))

    def rtp_range(self, ports: int = BLOCK) -> PortRange:
        """A range for RTP and RTCP of at least `ports` ports, in whole blocks."""
        first, end = self._lock_blocks(-(-ports // BLOCK))
        return PortRange(first, end - 1)

    def release(self) -> None:
        """Gives the blocks back."""
        _close_all(self._locks)

    def _lock_blocks(self, count: int) -> tuple[int, int]:
        """Locks `count` neighbouring blocks; returns the first port and the one after the last."""
        places = max((END_PORT - FIRST_PORT) // BLOCK - count + 1, 0)
        # Runs start at different places: they then meet seldom, and a port rests before its reuse.
        start = os.getpid() % max(places, 1)
        for place in (*range(start, places), *range(start)):
            locks: list[int] = []
            while len(locks) < count and (lock := self._try_lock(place + len(locks))) is not None:
                locks.append(lock)
            if len(locks) == count:
                self._locks += locks
                first = FIRST_PORT + place * BLOCK
                return first, first + count * BLOCK
            _close_all(locks)
        raise NoPortLeftError(f"no {count} free blocks of ports in {FIRST_PORT}..{END_PORT - 1}")

    def _try_lock(self, block: int) -> int | None:
        path = self._lock_folder / f"{FIRST_PORT + block * BLOCK}.lock"
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock


@contextmanager
def open_ports(lock_folder: Path | None = None) -> Iterator[Ports]:
    """Ports for one run; they go back when the block is left."""
    folder = lock_folder or Path(tempfile.gettempdir()) / f"voicefork-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    ports = Ports(folder)
    try:
        yield ports
    finally:
        ports.release()


def _is_free(port: int) -> bool:
    """Whether neither UDP nor TCP is in use by a program that knows nothing of our locks."""
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind is socket.SOCK_STREAM:
                # Connections of an earlier run in TIME_WAIT do not stop a server from listening.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as error:
                if error.errno in (errno.EADDRINUSE, errno.EACCES):
                    return False
                raise
    return True


def _close_all(locks: list[int]) -> None:
    while locks:
        os.close(locks.pop())
