"""One party's RTP socket: sends a source at 20 ms, records all that comes with kernel times."""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from voicefork_cli.measure.packets import Packet, Sent, parse_packet
from voicefork_cli.sim.errors import SetupMissing
from voicefork_cli.sim.pacer import Pacer
from voicefork_cli.sim.sdp import PAYLOAD_TYPES, TELEPHONE_EVENT
from voicefork_cli.sim.source import FRAME, Mute, Source

SO_TIMESTAMPNS = 35  # Linux; the socket module has no name for it
ANCILLARY = socket.CMSG_SPACE(16)
RECEIVE_BUFFER = 1 << 20
KEPT = 180_000  # packets each way: an hour; later ones are counted in `dropped`
DIGITS = "0123456789*#ABCD"  # RFC 4733 section 3.2: the event's number is its place
END_REPEATS = 3
BIND_ATTEMPTS = 50


class RtpPort:
    """Made by `open_rtp_port`. `play` and `press` may be called at any time."""

    def __init__(self, own: socket.socket, codec: str, *, keep: bool) -> None:
        self.socket = own
        self.address: tuple[str, int] = own.getsockname()
        self.codec = codec
        self.remote: tuple[str, int] | None = None
        self.heard: list[Packet] = []
        self.said: list[Sent] = []
        self.received = 0
        self.sent = 0
        self.dropped = 0
        self.ssrc = secrets.randbits(32)
        self._keep = keep
        self._source: Source = Mute()
        self._events: deque[tuple[bool, bytes]] = deque(maxlen=1000)
        self._event_timestamp = 0
        self._seq = secrets.randbits(16)
        self._timestamp = secrets.randbits(32)
        self._fresh = True  # the next packet begins a talk spurt: marker

    def number_from(self, sequence: int) -> None:
        """The next packet's sequence number, modulo 2**16."""
        self._seq = sequence & 0xFFFF

    def play(self, source: Source) -> None:
        self._source = source

    def press(self, digit: str, duration_ms: int = 120) -> float:
        """Queues one RFC 4733 event; gives the seconds until its last packet.

        Raises ValueError for what is no digit.
        """
        number = DIGITS.index(digit.upper())
        steps = max(1, duration_ms // 20)
        for step in range(1, steps + END_REPEATS):
            over = step >= steps
            payload = struct.pack("!BBH", number, 0x80 * over | 10, min(step, steps) * FRAME)
            self._events.append((step == 1, payload))
        return len(self._events) * 0.02

    def send_due(self) -> None:
        """In the pacing thread: one packet, of an event or of the source."""
        timestamp = self._timestamp
        self._timestamp = (self._timestamp + FRAME) & 0xFFFFFFFF
        if self._events:
            first, payload = self._events.popleft()
            # RFC 4733 section 2.5.1.2: all packets of an event carry the time it began
            self._event_timestamp = timestamp if first else self._event_timestamp
            self._source.payload(self.codec)  # time goes on beneath the digit
            self._send(first, TELEPHONE_EVENT, self._event_timestamp, payload)
            return
        audio = self._source.payload(self.codec)
        if audio is None:
            self._fresh = True
            return
        # What could not be sent begins no talk spurt: whoever hears the next one hears the first.
        self._fresh = not self._send(self._fresh, PAYLOAD_TYPES[self.codec], timestamp, audio)

    def _send(self, marker: bool, kind: int, timestamp: int, payload: bytes) -> bool:
        """Whether the packet has left."""
        remote = self.remote  # once: another thread may take it away meanwhile
        if remote is None:
            return False
        header = struct.pack("!BBHII", 0x80, marker << 7 | kind, self._seq, timestamp, self.ssrc)
        now = time.time_ns()
        try:
            self.socket.sendto(header + payload, remote)
        except OSError:  # no buffer, or ICMP unreachable from the last packet
            self.dropped += 1
            return False
        self.sent += 1
        if self._keep and len(self.said) < KEPT:
            self.said.append(Sent(now, self._seq, timestamp, kind, payload))
        self._seq = (self._seq + 1) & 0xFFFF
        return True

    def receive_ready(self) -> None:
        """On the loop: reads all that has come."""
        while True:
            try:
                data, ancillary, _, _ = self.socket.recvmsg(2048, ANCILLARY)
            except OSError:  # nothing left, or an ICMP error of our own sending
                return
            packet = parse_packet(data, _kernel_time_ns(ancillary))
            if packet is None:
                continue
            self.received += 1
            if self._keep and len(self.heard) < KEPT:
                self.heard.append(packet)
            else:
                self.dropped += self._keep


def _kernel_time_ns(ancillary: list[tuple[int, int, bytes]]) -> int:
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack("@ll", value)
            return int(seconds * 1_000_000_000 + nanoseconds)
    return time.time_ns()


@contextmanager
def open_rtp_port(
    pacer: Pacer | None, *, host: str = "127.0.0.1", codec: str = "PCMU", keep: bool = True
) -> Iterator[RtpPort]:
    """An even port of `host`, paced and read until the block ends.

    Args:
        pacer: None: it never sends.
        keep: whether packets are kept for measurement, or only counted (load).

    Raises:
        SetupMissing: no port could be had.
    """
    loop = asyncio.get_running_loop()
    own = _bind_even(host)
    port = RtpPort(own, codec, keep=keep)
    loop.add_reader(own, port.receive_ready)
    if pacer is not None:
        pacer.add(port)
    try:
        yield port
    finally:
        if pacer is not None:
            pacer.remove(port)
        loop.remove_reader(own)
        own.close()


def _bind_even(host: str) -> socket.socket:
    for _ in range(BIND_ATTEMPTS):
        own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        own.setblocking(False)
        own.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        try:
            own.bind((host, 0))
        except OSError as error:
            own.close()
            raise SetupMissing(f"no RTP port at {host}: {error}") from error
        if own.getsockname()[1] % 2 == 0:  # RFC 3550 section 11
            return own
        own.close()
    raise SetupMissing(f"no even RTP port is free at {host}")
