"""What RTCP says of one received stream, and what is to be said about it (RFC 3550 section 6.4)."""

from __future__ import annotations

from collections import deque

from siprec_worker.errors import RtpError
from siprec_worker.media.jitter import ReorderBuffer
from siprec_worker.protocol.rtcp import Goodbye, ReportBlock, SenderReport, parse_rtcp

_MAX_WAITING = 16
_WRAP = 1 << 16


class Reception:
    """The reception side of one track: sender reports in, report blocks out."""

    __slots__ = (
        "_buffer",
        "_cycles",
        "_epoch",
        "_last_sr",
        "_last_sr_at",
        "_lost_at_begin",
        "_reported_lost",
        "_reported_sequence",
        "bad",
        "inbox",
        "said_goodbye",
    )

    def __init__(self, buffer: ReorderBuffer) -> None:
        self._buffer = buffer
        self.inbox: deque[bytes] = deque(maxlen=_MAX_WAITING)
        self.bad = 0
        self.said_goodbye = False
        self._epoch = 0
        self._cycles = 0
        self._reported_sequence = 0
        self._reported_lost = 0
        self._lost_at_begin = 0
        self._last_sr = 0
        self._last_sr_at = 0.0

    def drain(self, now: float) -> None:
        """Reads the RTCP datagrams that came since the last call."""
        for data in self.inbox:
            try:
                packets = parse_rtcp(data)
            except RtpError:
                self.bad += 1
                continue
            for packet in packets:
                match packet:
                    case SenderReport(ssrc=ssrc, ntp=ntp) if ssrc == self._buffer.ssrc:
                        self._last_sr = ntp >> 16 & 0xFFFFFFFF
                        self._last_sr_at = now
                    case Goodbye(ssrcs=ssrcs) if self._buffer.ssrc in ssrcs:
                        self.said_goodbye = True
        self.inbox.clear()

    def report_block(self, jitter: int, now: float) -> ReportBlock | None:
        """The block for the next receiver report, None before the first packet.

        Call it at least every few minutes: sequence wraps are counted between two calls.
        """
        buffer = self._buffer
        if buffer.ssrc is None:
            return None
        highest = (buffer.expected - 1) % _WRAP
        if self._epoch != buffer.epochs:
            # What a later stream had lost before its first report is counted with the one before.
            lost = buffer.lost if self._epoch else 0
            self._epoch, self._cycles = buffer.epochs, 0
            self._lost_at_begin = self._reported_lost = lost
            self._reported_sequence = highest
        self._cycles += highest < self._reported_sequence
        expected = (highest - self._reported_sequence) % _WRAP
        lost = buffer.lost - self._reported_lost
        self._reported_sequence, self._reported_lost = highest, buffer.lost
        since = int((now - self._last_sr_at) * 65536) if self._last_sr else 0
        return ReportBlock(
            ssrc=buffer.ssrc,
            fraction_lost=min(255, 256 * lost // expected) if expected else 0,
            lost=buffer.lost - self._lost_at_begin,
            highest_sequence=self._cycles * _WRAP + highest,
            jitter=jitter,
            last_sr=self._last_sr,
            since_last_sr=since,
        )
