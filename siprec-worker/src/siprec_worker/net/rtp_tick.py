"""The tick: drains every ready RTP socket at a fixed interval, then lets the calls work.

Batching is what makes it cheap: one `recv` a packet, no callback of the event loop, no wake-up of
the process per datagram. A packet waits one interval at most.
"""

from __future__ import annotations

import asyncio
import logging
import select
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from siprec_worker.net.rtp_arrival import Tap, stamp_arrivals, tapped_read
from siprec_worker.net.rtp_source import SourceLatch

log = logging.getLogger(__name__)

Receive = Callable[[bytes], None]
OnTick = Callable[[float], None]

MAX_DATAGRAM = 2048
_MAX_READY = 4096
_MAX_ROUNDS = 64  # datagrams of one socket in one tick: the rest waits in the kernel's buffer
_RTCP_SECONDS = 0.5
_RESTART_SECONDS = 0.001
_STALL_SECONDS = 0.1  # behind its time by more, a tick looks twice


@dataclass(slots=True)
class TickStats:
    ticks: int = 0
    late_ticks: int = 0  # begun more than half an interval after their time
    skipped_ticks: int = 0  # left out after a stall
    longest_tick: float = 0.0  # seconds
    packets: int = 0
    refused: int = 0  # datagrams from somebody else
    socket_errors: int = 0
    listener_errors: int = 0


class RtpTick:
    """Owns no socket: add one before its first packet, remove it before closing it.

    The listeners run after the drain, by `order` and then by age. The time they are given is the
    tick's place on the grid of intervals, on the loop's clock: a tick that runs a little late must
    not look like jitter of the audio, or two legs of a call are put into different slots. An error
    of one socket or one listener never stops the others.
    """

    def __init__(self, *, interval: float = 0.02) -> None:
        self.stats = TickStats()
        self._interval = interval
        self._epoll = select.epoll()
        self._rtp = _Drain(self._epoll, self.stats)
        self._rtcp_epoll = select.epoll()
        self._rtcp = _Drain(self._rtcp_epoll, self.stats)
        self._rtcp_due = 0.0
        self._listeners: list[tuple[int, OnTick]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self.begun = 0.0  # when the last tick really began, on the loop's clock

    def start(self) -> None:
        """Begins ticking on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + self._interval
        self._timer = self._loop.call_at(self._due, self._tick)

    def stop(self) -> None:
        """Ends the ticking and gives the epoll descriptors back; sockets are their owners'."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._loop = None
        self._epoll.close()
        self._rtcp_epoll.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def add(self, sock: socket.socket, receive: Receive, latch: SourceLatch | None = None) -> None:
        """Drains a non-blocking socket every tick. Without a latch anybody may send."""
        self._rtp.add(sock, receive, latch)

    def add_rtcp(
        self, sock: socket.socket, receive: Receive, latch: SourceLatch | None = None
    ) -> None:
        """Drains a non-blocking socket twice a second."""
        self._rtcp.add(sock, receive, latch)

    def remove(self, sock: socket.socket) -> None:
        """Forgets a socket; one that was never added is no error."""
        self._rtp.remove(sock)
        self._rtcp.remove(sock)

    def tap(self, sock: socket.socket, tap: Tap | None) -> None:
        """Hands an RTP socket's datagrams also to `tap`, each with its time of arrival.

        The time is the kernel's: there is no tick in it. None ends it.
        """
        self._rtp.tap(sock, tap)

    def relatch(self, sock: socket.socket, host: str, port: int) -> None:
        """Another offered source for a socket that was added with a latch."""
        self._rtp.relatch(sock, host, port)
        self._rtcp.relatch(sock, host, port)

    def add_listener(self, on_tick: OnTick, order: int = 0) -> None:
        # A new list, because a listener may add or remove one during the tick.
        self._listeners = sorted([*self._listeners, (order, on_tick)], key=lambda entry: entry[0])

    def remove_listener(self, on_tick: OnTick) -> None:
        self._listeners = [entry for entry in self._listeners if entry[1] != on_tick]

    def _tick(self) -> None:
        loop = self._loop
        if loop is None:
            return
        begun = self.begun = loop.time()
        stats = self.stats
        stats.ticks += 1
        stats.late_ticks += begun - self._due > self._interval / 2
        try:
            self._rtp.drain()
            if loop.time() - self._due > _STALL_SECONDS:
                self._rtp.drain()  # else what came meanwhile is told as a hole though it is here
            # Looked at behind the drain: what came while that was held up is not ahead of its time.
            late = loop.time() - self._due  # below 0: uvloop's clock has whole milliseconds
            now = self._due + max(0, int(late / self._interval)) * self._interval
            if now >= self._rtcp_due:
                self._rtcp_due = now + _RTCP_SECONDS
                self._rtcp.drain()
            for _, on_tick in self._listeners:
                self._notify(on_tick, now)
        finally:
            self._schedule(loop, begun)

    def _notify(self, on_tick: OnTick, now: float) -> None:
        try:
            on_tick(now)
        except Exception:
            self.stats.listener_errors += 1
            log.exception("tick listener failed")

    def _schedule(self, loop: asyncio.AbstractEventLoop, begun: float) -> None:
        """The next tick at its place on the grid; what was missed is left out, not made up for."""
        if self._loop is None:  # stopped by a listener
            return
        end = loop.time()
        self.stats.longest_tick = max(self.stats.longest_tick, end - begun)
        self._due += self._interval
        missed = int((end - self._due) / self._interval) if end > self._due else 0
        self.stats.skipped_ticks += missed
        self._due += missed * self._interval
        self._timer = loop.call_at(max(self._due, end + _RESTART_SECONDS), self._tick)


class _Drain:
    """One epoll set and who takes the datagrams of each socket in it."""

    def __init__(self, epoll: select.epoll, stats: TickStats) -> None:
        self._epoll = epoll
        self._stats = stats
        self._readers: dict[int, tuple[Callable[[int], bytes], Receive]] = {}
        self._latches: dict[int, SourceLatch] = {}
        self._taps: dict[int, Tap] = {}
        self._awake: dict[int, None] = {}  # the sockets that were ready in the last tick

    def add(self, sock: socket.socket, receive: Receive, latch: SourceLatch | None) -> None:
        fileno = sock.fileno()
        if latch is None or latch.latched is not None:
            self._readers[fileno] = (sock.recv, receive)
        else:
            self._readers[fileno] = (self._first_read(sock, receive, latch), receive)
        if latch is not None:
            self._latches[fileno] = latch
        self._epoll.register(fileno, select.EPOLLIN)

    def tap(self, sock: socket.socket, tap: Tap | None) -> None:
        fileno = sock.fileno()
        if fileno not in self._readers:
            return
        stamp_arrivals(sock, on=tap is not None)
        if tap is None:
            self._taps.pop(fileno, None)
        else:
            self._taps[fileno] = tap
        latch = self._latches.get(fileno)
        if latch is None or latch.latched is not None:
            self._readers[fileno] = (self._settled_read(sock), self._readers[fileno][1])

    def _settled_read(self, sock: socket.socket) -> Callable[[int], bytes]:
        """How a socket is read once its source is known."""
        tap = self._taps.get(sock.fileno())
        return sock.recv if tap is None else tapped_read(sock, tap)

    def remove(self, sock: socket.socket) -> None:
        fileno = sock.fileno()
        self._taps.pop(fileno, None)
        self._awake.pop(fileno, None)
        if self._readers.pop(fileno, None) is not None:
            self._latches.pop(fileno, None)
            if not self._epoll.closed:
                self._epoll.unregister(fileno)

    def relatch(self, sock: socket.socket, host: str, port: int) -> None:
        latch = self._latches.get(sock.fileno())
        if latch is not None and latch.aim(host, port):
            receive = self._readers[sock.fileno()][1]
            self._readers[sock.fileno()] = (self._first_read(sock, receive, latch), receive)

    def drain(self) -> None:
        """Reads until nothing is ready: one datagram a socket in each round, so none starves.

        A socket that had one in the last tick most likely has one now: it is read unasked, and the
        kernel only tells of the others. That saves it a look at nearly every socket.
        """
        awake, readers = self._awake, self._readers
        asleep: list[int] = []
        packets = 0
        ready: Iterable[int] = list(awake)
        for number in range(_MAX_ROUNDS):
            for fileno in ready:
                reader = readers.get(fileno)
                if reader is None:  # removed while this tick lasts
                    continue
                try:
                    reader[1](reader[0](MAX_DATAGRAM))
                except BlockingIOError:
                    asleep.append(fileno)
                except OSError:
                    # Connection refused: an ICMP error for what was sent, not about this stream.
                    self._stats.socket_errors += 1
                except Exception:
                    self._stats.listener_errors += 1
                    log.exception("taking a datagram failed")
                else:
                    packets += 1
            if number == 0:
                for fileno in asleep:
                    awake.pop(fileno, None)
            ready = [fileno for fileno, _ in self._epoll.poll(0, _MAX_READY)]
            if not ready:
                break
            awake.update(dict.fromkeys(ready))
        self._stats.packets += packets

    def _first_read(
        self, sock: socket.socket, receive: Receive, latch: SourceLatch
    ) -> Callable[[int], bytes]:
        """Reads under the latch until it closes; refused datagrams never reach `receive`."""

        def read(size: int) -> bytes:
            before = latch.refused
            accepted = latch.read(size)
            self._stats.refused += latch.refused - before
            if not accepted:
                raise BlockingIOError
            self._readers[sock.fileno()] = (self._settled_read(sock), receive)
            for data in accepted[:-1]:
                receive(data)
            return accepted[-1]

        return read
