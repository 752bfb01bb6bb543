"""The vendor's end of an HTTP/2 connection in memory: an h2 server and a transport."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, StreamEnded
from h2.settings import SettingCodes, Settings
from siprec_worker.media.model import LegAudio
from siprec_worker.session import model as m
from siprec_worker.sinks.h2_connection import Connection
from siprec_worker.sinks.h2_stream import H2Stream
from siprec_worker.sinks.message_framing import MessageReader, prefixed
from siprec_worker.sinks.options import AgentOptions
from voicefork.agent.v1 import agent_pb2 as pb

REQUEST = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/x"),
    (b":authority", b"ai"),
]
Receiver = Callable[[m.FromAgent], None]
ACCEPTED = [(":status", "200"), ("content-type", "application/grpc")]


class MemoryTransport(asyncio.Transport):
    """Keeps each write; hands nothing on by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.ended = ""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"

    def is_closing(self) -> bool:
        return bool(self.ended)


class Owner:
    """StreamOwner that remembers who ended."""

    def __init__(self) -> None:
        self.over: list[H2Stream] = []
        self.somebody: asyncio.Future[H2Stream] = asyncio.get_running_loop().create_future()

    def ended(self, stream: H2Stream) -> None:
        self.over.append(stream)
        if not self.somebody.done():
            self.somebody.set_result(stream)


class Peer:
    """A connection under test and the server it talks to."""

    def __init__(
        self,
        settings: dict[SettingCodes, int] | None = None,
        options: AgentOptions | None = None,
    ) -> None:
        self.options = options or AgentOptions()
        self.connection = Connection(self.options, lambda: None)
        self.transport = MemoryTransport()
        self.owner = Owner()
        self.heard: dict[str, list[m.FromAgent]] = defaultdict(list)
        self.events: list[Event] = []
        self.bytes: dict[int, bytes] = defaultdict(bytes)
        self.h2 = H2Connection(H2Configuration(client_side=False))
        self.h2.local_settings = Settings(client=False, initial_values=settings or {})
        self.h2.initiate_connection()
        self.connection.connection_made(self.transport)
        self.taken = 0  # of the transport's writes
        self.settle()

    def settle(self) -> None:
        """Both ends read until neither has anything to say."""
        while True:
            self.connection.flush()
            fresh, self.taken = self.transport.writes[self.taken :], len(self.transport.writes)
            for data in fresh:
                for event in self.h2.receive_data(data):
                    self._remember(event)
            said = self.h2.data_to_send()
            if not said and not fresh:
                return
            if said and not self.transport.ended:
                self.connection.data_received(said)

    def _remember(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, DataReceived) and event.stream_id and event.data:
            self.bytes[event.stream_id] += event.data

    def stream(
        self, name: str = "call", limits: m.Limits | None = None, receiver: Receiver | None = None
    ) -> H2Stream:
        """A new call on the connection; its Open has arrived."""
        opening = m.Open(
            m.CallId(name),
            m.SessionId(name),
            m.Role.SHADOW,
            (m.Leg(1, m.LegKind.CUSTOMER, "a"),),
            limits=limits or m.Limits(max_unacked_ms=60_000),
        )
        receiver = receiver or self.heard[name].append
        stream = H2Stream(opening, receiver, self.options, self.owner)
        self.connection.place(stream, REQUEST)
        self.settle()
        return stream

    def opened_stream(
        self, name: str = "call", limits: m.Limits | None = None, receiver: Receiver | None = None
    ) -> H2Stream:
        stream = self.stream(name, limits, receiver)
        self.h2.send_headers(stream.stream_id, ACCEPTED)
        self.say(stream, pb.ConverseResponse(seq=1, opened=pb.Opened()))
        return stream

    def say(self, stream: H2Stream, response: pb.ConverseResponse) -> None:
        self.h2.send_data(stream.stream_id, prefixed(response.SerializeToString()))
        self.settle()

    def grant(self, size: int, stream: H2Stream | None = None) -> None:
        """WINDOW_UPDATE of the stream, or of the connection."""
        self.h2.increment_flow_control_window(size, stream.stream_id if stream else None)
        self.settle()

    def requests(self, stream: H2Stream) -> list[pb.ConverseRequest]:
        """The whole messages that have arrived."""
        bodies = MessageReader(1 << 20).feed(self.bytes[stream.stream_id])
        return [pb.ConverseRequest.FromString(body) for body in bodies]

    def kinds(self, stream: H2Stream) -> list[str]:
        return [str(one.WhichOneof("message")) for one in self.requests(stream)]

    def half_closed(self, stream: H2Stream) -> bool:
        ends = [event for event in self.events if isinstance(event, StreamEnded)]
        return any(event.stream_id == stream.stream_id for event in ends)


def audio(stream: H2Stream, number: int, size: int = 320) -> bytes:
    """Sends one chunk of `size` bytes whose content names it; returns the content."""
    data = bytes([number & 255]) * size
    stream.send_audio(number * size // 2, [LegAudio(1, data)])
    return data
