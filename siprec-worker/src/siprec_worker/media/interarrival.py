"""Interarrival jitter of one stream (RFC 3550 section 6.4.1 and A.8), in 1/8000 s."""

from __future__ import annotations

from siprec_worker.media.payload_table import RTP_CLOCK

_CALMER = 15 / 16  # what a packet without jitter leaves of it


class Interarrival:
    """`transit`: the clock less the timestamp, of the last packet."""

    __slots__ = ("jitter", "rate", "transit")

    def __init__(self) -> None:
        self.jitter = 0.0
        self.transit = 0
        self.rate = RTP_CLOCK  # of the stream's own clock

    def measure(self, transit: int, *, same_stream: bool) -> None:
        # A new stream, or a clock set anew, has no transit to compare with.
        deviation = abs(transit - self.transit)
        self.transit = transit
        if same_stream and deviation < RTP_CLOCK:
            self.jitter += (deviation - self.jitter) / 16

    def even(self, packets: int) -> None:
        """So many came in even steps."""
        self.jitter *= _CALMER**packets

    def shift(self, change: int) -> None:
        """The last packet came by so much later than the one before it did."""
        self.jitter += (abs(change) - self.jitter) / 16
        self.transit += change
