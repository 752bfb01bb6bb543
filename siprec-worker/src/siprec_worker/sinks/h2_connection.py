"""One HTTP/2 connection to a vendor: its streams, and what the peer says about them.

h2 keeps the protocol's state; DATA out is h2_sender's, WINDOW_UPDATE and GOAWAY in are read here.
Sources: RFC 9113; "gRPC over HTTP2".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import cast

from h2 import events as ev
from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import FlowControlError, ProtocolError
from h2.settings import SettingCodes, Settings

from siprec_worker.session.model import AgentLost
from siprec_worker.sinks.grpc_status import lost_by_trailers, refusal
from siprec_worker.sinks.h2_frames import MAX_WINDOW, FrameSieve
from siprec_worker.sinks.h2_sender import Sender
from siprec_worker.sinks.h2_stream import H2Stream
from siprec_worker.sinks.options import AgentOptions

log = logging.getLogger(__name__)

STREAM_WINDOW = 512 * 1024  # twice the largest message
CONNECTION_WINDOW = 8 << 20
_DEFAULT_WINDOW = 65_535
_MOST_CALLS_FACTOR = 4  # however large the peer's window is

HeaderBlock = list[tuple[bytes, bytes]]


class Connection(asyncio.Protocol):
    """Carries many streams. Made by its connector, which learns of every change by `changed`."""

    def __init__(self, options: AgentOptions, changed: Callable[[], None]) -> None:
        self._options = options
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = self._loop.create_future()  # at the peer's SETTINGS
        self.closed = asyncio.Event()
        self.heard_at = 0.0
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._h2.local_settings = Settings(
            client=True,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                SettingCodes.MAX_HEADER_LIST_SIZE: H2Connection.DEFAULT_MAX_HEADER_LIST_SIZE,
            },
        )
        self.sender = Sender(self._h2)
        self._sieve = FrameSieve()
        self._streams: dict[int, H2Stream] = {}
        self._transport: asyncio.Transport | None = None
        self._retired = False
        self._peer_window = _DEFAULT_WINDOW
        self._alarm: asyncio.TimerHandle | None = None  # idle for too long, or slow to close

    # --- for the connector --------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        return self.ready.done() and not self._retired and not self.closed.is_set()

    @property
    def idle(self) -> bool:
        return not self._streams

    @property
    def capacity(self) -> int:
        """How many calls fit.

        A 64 KiB connection window holds one tick of 80 calls; a peer that has enlarged its window
        gets more of them.
        """
        factor = min(self._peer_window // _DEFAULT_WINDOW, _MOST_CALLS_FACTOR)
        cap = self._options.calls_per_connection * max(1, factor)
        return min(cap, self._h2.remote_settings.max_concurrent_streams)

    @property
    def room(self) -> int:
        """How many more calls may be placed here."""
        return self.capacity - len(self._streams) if self.usable else 0

    def heard_lately(self, options: AgentOptions) -> bool:
        """Not a byte for as long as an AI may be silent = the path may be dead."""
        return self._loop.time() - self.heard_at < options.silence_seconds

    def place(self, stream: H2Stream, headers: HeaderBlock) -> None:
        """Opens an HTTP/2 stream for it. Raises ProtocolError when h2 refuses."""
        stream_id = self._h2.get_next_available_stream_id()
        self._h2.send_headers(stream_id, headers)
        self.sender.collect()
        self._streams[stream_id] = stream
        self._cancel_alarm()
        stream.placed(self, stream_id, self._h2.streams[stream_id])

    def flush(self) -> None:
        """Writes what was queued since the last flush, in one write."""
        if self._transport is not None and (data := self.sender.take()):
            self._transport.write(data)

    def retire(self) -> None:
        """No new calls here; those that are go on, then the connection ends."""
        if not self._retired:
            self._retired = True
            self._changed()
            self._close_when_empty()

    def close(self) -> None:
        """Says GOAWAY and ends; streams that are still here are lost."""
        self._retired = True
        if self._transport is None or self._ending:
            return
        self._h2.close_connection()
        self.sender.collect()
        self.flush()
        self._transport.close()
        # A dead path never takes the GOAWAY: the socket would stay for TCP's own limits.
        self._alarm_in(self._options.close_seconds, self.abort)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    @property
    def _ending(self) -> bool:
        return self.closed.is_set() or self._transport is None or self._transport.is_closing()

    # --- for the streams ----------------------------------------------------------------------

    def release(self, stream: H2Stream) -> None:
        """The stream is over for its owner; a peer that does not know yet is told by RST_STREAM."""
        self.sender.forget(stream)
        if self._streams.pop(stream.stream_id, None) is None or self._ending:
            return
        half = self._h2.streams.get(stream.stream_id)
        if half is not None and not half.closed:
            self._h2.reset_stream(stream.stream_id, ErrorCodes.CANCEL)
            self.sender.collect()
        self._close_when_empty()
        self._changed()

    # --- asyncio.Protocol ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=self._options.write_buffer_bytes)
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW - _DEFAULT_WINDOW)
        self.sender.collect()
        self.flush()

    def data_received(self, data: bytes) -> None:
        self.heard_at = self._loop.time()
        try:
            self._take(data)
        except ProtocolError as error:
            self._broken(error)
            return
        self.sender.collect()
        self.sender.pump_blocked()
        self.flush()

    def pause_writing(self) -> None:
        self.sender.paused = True

    def resume_writing(self) -> None:
        self.sender.paused = False
        self.sender.pump_blocked()
        self.flush()

    def eof_received(self) -> None:
        """The peer has gone: the transport closes itself, connection_lost follows."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(f"connection lost: {exc}" if exc else "connection closed by the AI")

    # --- what the peer says -------------------------------------------------------------------

    def _take(self, data: bytes) -> None:
        sifted = self._sieve.feed(data)
        for stream_id, increment in sifted.windows:
            self._window_opened(stream_id, increment)
        if sifted.rest:
            for event in self._h2.receive_data(sifted.rest):
                self._receive(event)
        if sifted.goaway is not None:
            self._going_away(*sifted.goaway)

    def _window_opened(self, stream_id: int, increment: int) -> None:
        target = self._h2.streams.get(stream_id) if stream_id else self._h2
        if target is None:
            return  # of a stream that has ended here
        window = target.outbound_flow_control_window + increment
        if window > MAX_WINDOW:  # RFC 9113 section 6.9.1
            raise FlowControlError(f"window of stream {stream_id} over {MAX_WINDOW}")
        target.outbound_flow_control_window = window
        if not stream_id:
            self._peer_window = max(self._peer_window, window)
        elif (stream := self._streams.get(stream_id)) is not None:
            stream.window_opened()

    def _receive(self, event: ev.Event) -> None:
        match event:
            case ev.DataReceived(stream_id=int(stream_id), data=bytes(data)):
                if event.flow_controlled_length:
                    self._h2.acknowledge_received_data(event.flow_controlled_length, stream_id)
                if (stream := self._streams.get(stream_id)) is not None:
                    stream.received(data)
            case ev.RemoteSettingsChanged():
                if not self.ready.done():
                    self.ready.set_result(None)
                    self._close_when_empty()
                self._changed()
            case ev.ResponseReceived(stream_id=int(stream_id)):
                headers = _single(event.headers)
                lost = lost_by_trailers(headers) if b"grpc-status" in headers else refusal(headers)
                self._end(stream_id, lost)
            case ev.TrailersReceived(stream_id=int(stream_id)):
                self._end(stream_id, lost_by_trailers(_single(event.headers)))
            case ev.StreamEnded(stream_id=int(stream_id)):
                self._end(stream_id, lost_by_trailers({}))
            case ev.StreamReset(stream_id=int(stream_id)):
                self._end(stream_id, AgentLost(f"stream reset: {_code_name(event.error_code)}"))
            case _:
                pass  # PING and SETTINGS are answered by h2, the rest needs no answer

    def _end(self, stream_id: int, lost: AgentLost | None) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None and lost is not None:
            stream.lost(lost)

    def _going_away(self, last_stream_id: int, code: int) -> None:
        """RFC 9113 section 6.8: streams up to last_stream_id go on, the others never began."""
        reason = _code_name(code)
        log.info("agent is going away: %s, last stream %d", reason, last_stream_id)
        streams = list(self._streams.items())
        self.retire()  # first: whoever dials again because of it must not come here
        for stream_id, stream in streams:
            if stream_id > last_stream_id:
                stream.lost(AgentLost(f"the AI is going away: {reason}"))
            elif stream.going_away is not None:
                stream.going_away()

    def _broken(self, error: ProtocolError) -> None:
        """RFC 9113 section 5.4.1: a connection error is told by GOAWAY (by h2, where it saw it)."""
        if self._h2.state_machine.state is not ConnectionState.CLOSED:
            self._h2.close_connection(error.error_code)
        self.sender.collect()
        self.flush()
        self._lost(f"the AI broke HTTP/2: {type(error).__name__}: {error}")
        self.abort()

    # --- the end ------------------------------------------------------------------------------

    def _lost(self, reason: str) -> None:
        if self.closed.is_set():
            return
        self.closed.set()
        self._cancel_alarm()
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(reason))
        self.sender.take()
        for stream in list(self._streams.values()):
            stream.lost(AgentLost(reason))
        self._streams.clear()
        self._changed()

    def _close_when_empty(self) -> None:
        if self._streams:
            return
        if self._retired:
            self.close()
            return
        self._alarm_in(self._options.idle_seconds, self.retire)

    def _alarm_in(self, seconds: float, act: Callable[[], None]) -> None:
        self._cancel_alarm()
        self._alarm = self._loop.call_later(seconds, act)

    def _cancel_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()


def _single(headers: Iterable[tuple[bytes, bytes]] | None) -> dict[bytes, bytes]:
    return dict(headers or ())


def _code_name(code: ErrorCodes | int | None) -> str:
    try:
        return ErrorCodes(code or 0).name
    except ValueError:
        return f"code {code}"
