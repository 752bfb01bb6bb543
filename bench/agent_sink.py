"""An AI that only checks: a gRPC server, in a process of its own, that looks at every message.

HTTP/2 is the h2 library's but for DATA frames, which are taken apart here: a grpcio server needs
60 us a message, so that 300 calls would fill its core and the AI's slowness be measured instead of
the worker. (That grpcio's own server understands the worker is the integration tests' business.)
Acknowledges once a second, as an AI does.

    python -m bench.agent_sink [--legs both|customer] [--stall NUMBER] [--check-every N]
                               [--tls CERTIFICATE KEY]

It prints "port P"; each line on stdin is answered by a line of JSON with the sums so far.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import struct
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import cast

import uvloop
from h2 import events as ev
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes, Settings
from voicefork.agent.v1 import agent_pb2 as pb

from bench.checker import FRAME_BYTES, Checker, Seen

PREFACE_BYTES = 24
FRAME_HEADER_BYTES = 9
MESSAGE_PREFIX_BYTES = 5
DATA, WINDOW_UPDATE = 0, 8
END_STREAM, PADDED = 1, 8
CONNECTION_WINDOW = 4 << 20  # what grpcio's server grows to at such a rate
STREAM_WINDOW = 65_535
MOST_STREAMS = 10_000
ACK_EVERY = 50  # messages: once a second
HEADERS = [(":status", "200"), ("content-type", "application/grpc")]
_prefix = struct.Struct(">BI")
_window = struct.Struct(">IBII")


class Agent:
    """What all connections share."""

    def __init__(self, both_legs: bool, stalled: int, check_every: int) -> None:
        self.seen = Seen()
        self.both_legs = both_legs
        self.stalled = stalled
        self.check_every = check_every  # of the other calls only the bytes are counted


class Call:
    """One stream: its bytes, cut into messages."""

    def __init__(self, agent: Agent, say: Callable[[pb.ConverseResponse], None]) -> None:
        self.unacknowledged = 0  # bytes of the stream's window that are not given back yet
        self._agent = agent
        self._say = say
        self._rest = b""
        self._checker: Checker | None = None
        self._said = 1
        agent.seen.calls += 1
        self.stalled = agent.seen.calls == agent.stalled  # takes nothing more, once it is open
        self._checked = agent.seen.calls % agent.check_every == 0
        self._messages = 0

    def take(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        start, size = 0, len(data)
        while size - start >= MESSAGE_PREFIX_BYTES:
            end = start + MESSAGE_PREFIX_BYTES + _prefix.unpack_from(data, start)[1]
            if end > size:
                break
            self._messages += 1
            if self._checked or self._checker is None:
                self._hear(pb.ConverseRequest.FromString(data[start + MESSAGE_PREFIX_BYTES : end]))
            else:
                self._count(end - start)
            start = end
        self._rest = data[start:]

    def _hear(self, request: pb.ConverseRequest) -> None:
        if self._checker is None:
            self._open(request.open)
            return
        if self.stalled:
            return
        self._checker.take(request)
        if request.seq % ACK_EVERY == 0:
            self._acknowledge(request.seq)

    def _count(self, octets: int) -> None:
        seen = self._agent.seen
        seen.messages += 1
        seen.frames += octets // FRAME_BYTES
        if self._messages % ACK_EVERY == 0:
            self._acknowledge(self._messages)

    def _acknowledge(self, seq: int) -> None:
        self._said += 1
        self._say(pb.ConverseResponse(seq=self._said, ack=pb.Ack(seq=seq)))

    def _open(self, told: pb.Open) -> None:
        agent = self._agent
        handles = [leg.handle for leg in told.legs] if agent.both_legs else []
        self._checker = Checker(agent.seen)
        self._say(pb.ConverseResponse(seq=1, opened=pb.Opened(legs=handles)))
        agent.seen.opened += 1
        if self.stalled:
            agent.seen.stalled = told.call_id


class Connection(asyncio.Protocol):
    """The server's side of one HTTP/2 connection."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._h2 = H2Connection(H2Configuration(client_side=False))
        self._h2.local_settings = Settings(
            client=False, initial_values={SettingCodes.MAX_CONCURRENT_STREAMS: MOST_STREAMS}
        )
        self._calls: dict[int, Call] = {}
        self._rest = b""
        self._greeted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW - STREAM_WINDOW)
        self._transport.write(self._h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        start, size, taken = 0, len(data), 0
        if not self._greeted:
            if size < PREFACE_BYTES:
                self._rest = data
                return
            self._greeted, start = True, PREFACE_BYTES
            self._control(data[:PREFACE_BYTES])
        while size - start >= FRAME_HEADER_BYTES:
            length = data[start] << 16 | data[start + 1] << 8 | data[start + 2]
            end = start + FRAME_HEADER_BYTES + length
            if end > size:
                break
            flags = data[start + 4]
            if data[start + 3] == DATA and not flags & PADDED:
                stream_id = int.from_bytes(data[start + 5 : start + 9], "big")
                taken += length
                self._take(stream_id, data[start + FRAME_HEADER_BYTES : end])
                if flags & END_STREAM:  # h2 has seen no DATA; the end is all it needs to know of it
                    self._control(b"\0\0\0" + data[start + 3 : start + FRAME_HEADER_BYTES])
            else:
                self._control(data[start:end])
            start = end
        self._rest = data[start:]
        if taken:
            self._give_back(0, taken)
        if out := self._h2.data_to_send():
            self._transport.write(out)

    def _take(self, stream_id: int, data: bytes) -> None:
        call = self._calls.get(stream_id)
        if call is None:
            return
        call.take(data)
        call.unacknowledged += len(data)
        if call.unacknowledged > STREAM_WINDOW // 2 and not call.stalled:
            self._give_back(stream_id, call.unacknowledged)
            call.unacknowledged = 0

    def _give_back(self, stream_id: int, octets: int) -> None:
        self._transport.write(_window.pack(4 << 8 | WINDOW_UPDATE, 0, stream_id, octets))

    def _control(self, frame: bytes) -> None:
        """Any frame but audio."""
        for event in self._h2.receive_data(frame):
            match event:
                case ev.RequestReceived(stream_id=int(stream_id)):
                    self._h2.send_headers(stream_id, HEADERS)
                    self._calls[stream_id] = Call(self._agent, self._speaker(stream_id))
                case ev.StreamEnded(stream_id=int(stream_id)):
                    self._calls.pop(stream_id, None)
                    self._h2.send_headers(stream_id, [("grpc-status", "0")], end_stream=True)
                case ev.StreamReset(stream_id=int(stream_id)):
                    self._calls.pop(stream_id, None)

    def _speaker(self, stream_id: int) -> Callable[[pb.ConverseResponse], None]:
        def say(response: pb.ConverseResponse) -> None:
            body = response.SerializeToString()
            self._h2.send_data(stream_id, _prefix.pack(0, len(body)) + body)

        return say


async def serve(agent: Agent, tls: ssl.SSLContext | None) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(agent), "127.0.0.1", 0, ssl=tls)
    print(f"port {server.sockets[0].getsockname()[1]}", flush=True)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.readline():
        print(json.dumps(asdict(agent.seen)), flush=True)
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.agent_sink")
    parser.add_argument("--legs", choices=("both", "customer"), default="both")
    parser.add_argument("--stall", type=int, default=0, help="this call, from 1, is never read")
    parser.add_argument("--check-every", type=int, default=1, help="only every so many-th call")
    parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"))
    options = parser.parse_args()
    tls = None
    if options.tls:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*options.tls)
        tls.set_alpn_protocols(["h2"])
    uvloop.run(serve(Agent(options.legs == "both", options.stall, options.check_every), tls))


if __name__ == "__main__":
    main()
