"""All calls to one vendor: streams placed on as few HTTP/2 connections as their windows allow."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Callable

from h2.exceptions import ProtocolError

from siprec_worker.errors import VendorError
from siprec_worker.session.model import AgentLost, FromAgent, Open
from siprec_worker.sinks.counters import StreamCounters
from siprec_worker.sinks.h2_connection import Connection, HeaderBlock
from siprec_worker.sinks.h2_stream import H2Stream
from siprec_worker.sinks.options import CONVERSE, AgentOptions
from siprec_worker.sinks.target import Target

log = logging.getLogger(__name__)


class H2Connector:
    """AgentConnector on the h2 library. Dials when a call needs it; made inside a running loop."""

    def __init__(
        self, target: Target, options: AgentOptions, tls: Callable[[], ssl.SSLContext] | None
    ) -> None:
        """`tls` gives the context of each new connection; None: plaintext."""
        self._target = target
        self._options = options
        self._tls = tls
        self._connections: list[Connection] = []
        self._streams: set[H2Stream] = set()
        self._waiting: dict[H2Stream, None] = {}  # for a connection, in turn
        self._dials: set[asyncio.Task[None]] = set()
        self._failures = 0  # in a row
        self._not_before = 0.0  # no dialling earlier: back-off
        self._retry: asyncio.TimerHandle | None = None
        self._sum = StreamCounters()
        self._emptied = asyncio.Event()
        self._closed = False

    # --- AgentConnector -----------------------------------------------------------------------

    def connect(self, opening: Open, receiver: Callable[[FromAgent], None]) -> H2Stream:
        stream = H2Stream(opening, receiver, self._options, self)
        self._streams.add(stream)
        if self._closed:
            stream.lost_soon(AgentLost("the worker is shutting down", retryable=False))
            return stream
        self._waiting[stream] = None
        self._place()
        return stream

    def flush(self) -> None:
        for connection in self._connections:
            connection.flush()

    async def aclose(self) -> None:
        """Ends all within close_seconds and a second: first what has said goodbye already."""
        self._closed = True
        if self._retry is not None:
            self._retry.cancel()
        for task in self._dials:
            task.cancel()
        await asyncio.gather(*self._dials, return_exceptions=True)
        for stream in list(self._streams):
            if not stream.closing:
                stream.lost(AgentLost("the worker is shutting down", retryable=False))
        self.flush()
        await self._until(self._options.close_seconds, lambda: not self._streams)
        for connection in self._connections:
            connection.close()
        await self._until(1.0, lambda: not self._connections)
        for connection in list(self._connections):
            connection.abort()

    @property
    def counters(self) -> StreamCounters:
        """The sum over all streams, ended and living."""
        total = StreamCounters()
        total.add(self._sum)
        for stream in self._streams:
            total.add(stream.stats)
        return total

    @property
    def connections(self) -> int:
        return len(self._connections)

    # --- StreamOwner --------------------------------------------------------------------------

    def ended(self, stream: H2Stream) -> None:
        self._waiting.pop(stream, None)
        if stream in self._streams:
            self._streams.remove(stream)
            self._sum.add(stream.stats)
        self._emptied.set()

    # --- placing ------------------------------------------------------------------------------

    def _changed(self) -> None:
        """A connection has got room, has none any more, or is gone."""
        self._connections = [one for one in self._connections if not one.closed.is_set()]
        self._emptied.set()
        if self._waiting:
            self._place()

    def _place(self) -> None:
        for stream in list(self._waiting):
            connection = next((one for one in self._connections if one.room > 0), None)
            if connection is None:
                self._dial()
                return
            del self._waiting[stream]
            try:
                connection.place(stream, self._headers(stream.talk.opening))
            except ProtocolError as error:
                stream.lost_soon(AgentLost(f"no stream to the AI: {error}"))

    def _headers(self, opening: Open) -> HeaderBlock:
        """The request headers of "gRPC over HTTP2"; h2 marks authorization as never indexed."""
        fields = [
            (":method", "POST"),
            (":scheme", "https" if self._target.tls else "http"),
            (":path", CONVERSE),
            (":authority", self._target.authority),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", "voicefork-worker"),
            *self._options.metadata(opening),
        ]
        return [(name.encode(), value.encode()) for name, value in fields]

    # --- dialling -----------------------------------------------------------------------------

    def _dial(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._closed:
            return
        if now < self._not_before:
            self._give_up_on(self._not_before, "the AI was not reachable a moment ago")
            return
        if any(one.usable and one.idle for one in self._connections):
            return  # the peer allows no stream at all: another connection would not help
        # The first connection shows how many calls fit on one.
        capacity = max((one.capacity for one in self._connections), default=len(self._waiting))
        wanted = -(-len(self._waiting) // max(1, capacity))
        most = self._options.max_connections - len(self._connections)
        while len(self._dials) < min(wanted, most):
            task = asyncio.get_running_loop().create_task(self._attempt())
            self._dials.add(task)
            task.add_done_callback(self._dialled)

    async def _attempt(self) -> None:
        seconds = self._options.connect_seconds
        try:
            async with asyncio.timeout(seconds):
                connection = await self._open()
        except TimeoutError:
            self._failed(f"no HTTP/2 connection within {seconds:g} s")
        except (OSError, VendorError) as error:
            self._failed(str(error))
        else:
            self._failures = 0
            self._connections.append(connection)

    async def _open(self) -> Connection:
        """A connection whose peer has said SETTINGS. Raises OSError or VendorError."""
        connection = Connection(self._options, self._changed)
        context = self._tls() if self._tls is not None else None
        try:
            transport, _ = await asyncio.get_running_loop().create_connection(
                lambda: connection, self._target.host, self._target.port, ssl=context
            )
            if context is not None:
                _demand_h2(transport.get_extra_info("ssl_object"))
            await connection.ready
        except BaseException:
            connection.abort()
            raise
        return connection

    def _dialled(self, task: asyncio.Task[None]) -> None:
        self._dials.discard(task)
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            log.error("dialling %s failed", self._target.authority, exc_info=error)
            self._failed(repr(error))
        self._changed()

    def _failed(self, reason: str) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() < self._not_before:
            return  # another dial of the same moment has said so
        self._failures += 1
        log.warning("agent %s unreachable (%d): %s", self._target.authority, self._failures, reason)
        pause = self._options.backoff_seconds * 2 ** min(self._failures - 1, 16)
        pause = min(pause, self._options.backoff_max_seconds) * random.uniform(0.5, 1.0)
        self._not_before = loop.time() + pause
        if self._retry is not None:
            self._retry.cancel()
        self._retry = loop.call_later(pause, self._changed)
        self._give_up_on(self._not_before, reason)

    def _give_up_on(self, next_dial: float, reason: str) -> None:
        """A call that would only wait in silence learns at once that there is no AI for it."""
        for stream in list(self._waiting):
            if stream.deadline <= next_dial:
                del self._waiting[stream]
                stream.lost_soon(AgentLost(f"cannot reach the AI: {reason}"))

    async def _until(self, seconds: float, met: Callable[[], bool]) -> None:
        """Waits until streams and connections have ended as far as `met` asks, or the limit."""
        try:
            async with asyncio.timeout(seconds):
                while not met():
                    self._emptied.clear()
                    await self._emptied.wait()
        except TimeoutError:
            log.warning("ending the streams to %s took too long", self._target.authority)


def _demand_h2(session: ssl.SSLObject) -> None:
    chosen = session.selected_alpn_protocol()
    if chosen != "h2":
        raise VendorError(f"the AI's TLS does not speak HTTP/2 (ALPN: {chosen})")
