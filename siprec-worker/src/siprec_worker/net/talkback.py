"""The call's voice on the wire: 50 packets a second to Asterisk's external media channel.

Asterisk's channel does not speak first, and an idle one sends nothing; so an attached talk-back
sends always, silence when the AI says nothing.
"""

from __future__ import annotations

import ipaddress
import math
import secrets
import socket
from dataclasses import dataclass

from siprec_worker.media.model import TalkbackCodec
from siprec_worker.media.packetizer import Packetizer
from siprec_worker.media.playout import Playout
from siprec_worker.media.talkback_encoder import PAYLOAD_TYPES
from siprec_worker.net.rtp_source import Address, disconnect
from siprec_worker.net.rtp_tick import MAX_DATAGRAM

FRAME_SECONDS = 0.02
_MAX_CATCH_UP = 3  # frames sent at once after a stall
_DRAIN_SECONDS = 0.2  # what Asterisk sends back is only counted: by the dozen it is cheaper
_MAX_DRAIN = 64  # datagrams read at a time; the kernel drops what a flood brings besides
_EARLY = 0.005  # a frame may leave this much before its time rather than a tick later


@dataclass(slots=True)
class TalkbackStats:
    sent: int = 0
    skipped: int = 0  # frames of time left out after a stall; no audio is lost by it
    send_errors: int = 0
    received: int = 0
    refused: int = 0  # datagrams from somebody else
    last_received: float | None = None


class Talkback:
    """Sends a playout's frames from one bound, non-blocking socket; the socket stays its owner's.

    Its address is known before Asterisk's is. Once attached the socket is connected, so only the
    attached address is heard. Call `tick` after each drain.
    """

    def __init__(self, sock: socket.socket, playout: Playout) -> None:
        self.stats = TalkbackStats()
        self._sock = sock
        self._playout = playout
        self._remote: Address | None = None
        self._due: float | None = None  # when the next frame leaves; set by the first tick
        self._drain_due = 0.0
        self._packetizer = Packetizer(
            PAYLOAD_TYPES[TalkbackCodec.PCMU],
            ssrc=secrets.randbits(32),
            sequence=secrets.randbits(15),  # RFC 3550 section 5.1: random; far from the wrap
            timestamp=secrets.randbits(32),
        )

    @property
    def address(self) -> Address:
        host, port = self._sock.getsockname()[:2]
        return host, port

    @property
    def attached(self) -> bool:
        return self._remote is not None

    def attach(self, host: str, port: int, codec: TalkbackCodec, now: float) -> None:
        """Where the voice goes, from now on; again with another address moves it.

        Raises ValueError when `host` is no IP address, OSError when it cannot be reached from here.
        """
        remote = (str(ipaddress.ip_address(host)), port)
        self._playout.set_codec(codec)
        self._packetizer.payload_type = PAYLOAD_TYPES[codec]
        if remote == self._remote:
            return
        self._drain(now)  # what came before was from nobody we know
        self._sock.connect(remote)
        if self._remote is None:
            self._due = None
        self._remote = remote

    def detach(self) -> None:
        """Sends no more. The playout keeps its queue."""
        if self._remote is not None:
            disconnect(self._sock)
            self._remote = None

    def tick(self, now: float) -> None:
        """Sends what is due, and now and then reads what came; nothing before it is attached."""
        if self._remote is None:
            return
        if now >= self._drain_due:
            self._drain_due = now + _DRAIN_SECONDS
            self._drain(now)
        if self._due is None:
            self._due = now
        frames = math.floor((now + _EARLY - self._due) / FRAME_SECONDS) + 1
        if frames > _MAX_CATCH_UP:
            skipped = frames - _MAX_CATCH_UP
            self.stats.skipped += skipped
            self._packetizer.skip(skipped)
            self._due += skipped * FRAME_SECONDS
            frames = _MAX_CATCH_UP
        for _ in range(frames):
            self._due += FRAME_SECONDS
            self._send_frame()

    def _send_frame(self) -> None:
        frame = self._playout.frame()
        packet = self._packetizer.packet(frame, speaking=self._playout.speaking)
        try:
            self._sock.send(packet)
        except OSError:
            # A full buffer, or an ICMP error while Asterisk's side comes up: the next one may pass.
            self.stats.send_errors += 1
        else:
            self.stats.sent += 1

    def _drain(self, now: float) -> None:
        stats = self.stats
        for _ in range(_MAX_DRAIN):
            try:
                self._sock.recv(MAX_DATAGRAM)
            except BlockingIOError:
                return
            except OSError:
                continue
            if self._remote is None:
                stats.refused += 1
            else:
                stats.received += 1
                stats.last_received = now
