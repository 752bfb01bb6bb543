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
from collections.abc import Iterable, Iterator
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
        self._locks: dict[int, int] = {}  # block -> what holds it
        self._single: Iterator[int] = iter(())
        # Runs start at different places and go on from there: they meet seldom, and a port rests
        # before its reuse.
        self._place = os.getpid()

    def single(self) -> int:
        """A port that is free for both UDP and TCP right now, and that nobody else is given."""
        while True:
            for port in self._single:
                if _is_free(port):
                    return port
            self._single = iter(_ports_of(self._lock_blocks(1)))

    def rtp_range(self, ports: int = BLOCK) -> PortRange:
        """A range for RTP and RTCP of at least `ports` ports, in whole blocks."""
        own = _ports_of(self._lock_blocks(-(-ports // BLOCK)))
        return PortRange(own.start, own.stop - 1)

    @contextmanager
    def lent_rtp_range(self, ports: int = BLOCK) -> Iterator[PortRange]:
        """The same for a program that ends before the run does, and its range with it."""
        blocks = self._lock_blocks(-(-ports // BLOCK))
        own = _ports_of(blocks)
        try:
            yield PortRange(own.start, own.stop - 1)
        finally:
            self._give_back(blocks)

    def release(self) -> None:
        """Gives all blocks back."""
        self._give_back(list(self._locks))

    def _lock_blocks(self, count: int) -> range:
        """Locks so many neighbouring ones."""
        places = max((END_PORT - FIRST_PORT) // BLOCK - count + 1, 0)
        for tried in range(places):
            first = (self._place + tried) % places
            blocks = range(first, first + count)
            locked = [block for block in blocks if self._try_lock(block)]
            if len(locked) == count:
                self._place = blocks.stop
                return blocks
            self._give_back(locked)
        raise NoPortLeftError(f"no {count} free blocks of ports in {FIRST_PORT}..{END_PORT - 1}")

    def _try_lock(self, block: int) -> bool:
        path = self._lock_folder / f"{FIRST_PORT + block * BLOCK}.lock"
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._locks[block] = lock
        return True

    def _give_back(self, blocks: Iterable[int]) -> None:
        for block in blocks:
            if (lock := self._locks.pop(block, None)) is not None:
                os.close(lock)


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


def _ports_of(blocks: range) -> range:
    return range(FIRST_PORT + blocks.start * BLOCK, FIRST_PORT + blocks.stop * BLOCK)


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
