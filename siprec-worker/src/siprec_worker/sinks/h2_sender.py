"""What leaves on one HTTP/2 connection: h2's own frames, and DATA frames written by hand.

A DATA frame costs h2 an object, an event and a copy; here its header is packed, and both
flow-control windows in h2's own objects are lowered by its length, so that h2 stays right about
them. Everything of a tick leaves in one write. Sources: RFC 9113 sections 5.2 and 6.9.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from h2.connection import H2Connection

from siprec_worker.sinks.h2_frames import data_header, message_header
from siprec_worker.sinks.message_framing import PREFIX_BYTES, prefixed

if TYPE_CHECKING:
    from siprec_worker.sinks.h2_stream import H2Stream


class Sender:
    """Queues for the next write. `paused` is the transport's word; what is held back stays with
    its stream, at most one message of it encoded."""

    def __init__(self, h2: H2Connection) -> None:
        self.paused = False
        self._h2 = h2
        self._out: list[bytes] = []
        self._blocked: dict[H2Stream, None] = {}  # in turn

    def take(self) -> bytes:
        """All that was queued, for one write."""
        data, self._out = b"".join(self._out), []
        return data

    def collect(self) -> None:
        """Moves h2's frames behind ours: HEADERS before their DATA, RST_STREAM after it."""
        data = self._h2.data_to_send()
        if data:
            self._out.append(data)

    def forget(self, stream: H2Stream) -> None:
        self._blocked.pop(stream, None)

    def write(self, stream: H2Stream, size: int, pieces: Iterable[bytes]) -> None:
        """One message of `size` bytes: into the next write, or to the stream's turn later."""
        h2, half = self._h2, stream.half
        total = size + PREFIX_BYTES
        if (
            half is None
            or total > half.outbound_flow_control_window
            or total > h2.outbound_flow_control_window
            or total > h2.max_outbound_frame_size
            or self.paused
        ):
            stream.rest = prefixed(b"".join(pieces))
            self.pump(stream)
            return
        half.outbound_flow_control_window -= total
        h2.outbound_flow_control_window -= total
        self._out.append(message_header(stream.stream_id, size))
        self._out += pieces

    def pump(self, stream: H2Stream) -> None:
        """Sends what waits in the stream as far as the windows and the socket take it."""
        while self._send_rest(stream):
            message = stream.talk.next_message()
            if message is None:
                break
            stream.rest = prefixed(b"".join(message[1]))
        if stream.rest:
            if stream.free:
                stream.talk.counters.window_stalls += 1
            stream.free = False
            self._blocked[stream] = None
            return
        stream.free = True
        self._blocked.pop(stream, None)
        if stream.talk.finished:
            stream.free = False
            self._h2.end_stream(stream.stream_id)
            self.collect()

    def _send_rest(self, stream: H2Stream) -> bool:
        """False when some of it must wait. A message larger than a window goes in pieces."""
        h2, half, rest = self._h2, self._h2.streams[stream.stream_id], stream.rest
        while rest:
            window = min(half.outbound_flow_control_window, h2.outbound_flow_control_window)
            size = min(len(rest), window, h2.max_outbound_frame_size)
            if size <= 0 or self.paused:
                break
            half.outbound_flow_control_window -= size
            h2.outbound_flow_control_window -= size
            self._out += (data_header(stream.stream_id, size), rest[:size])
            rest = rest[size:]
        stream.rest = rest
        return not rest

    def pump_blocked(self) -> None:
        """Each stream in turn, as long as the connection's window and the socket take anything."""
        for stream in list(self._blocked):
            if self.paused or self._h2.outbound_flow_control_window <= 0:
                return
            del self._blocked[stream]
            self.pump(stream)
