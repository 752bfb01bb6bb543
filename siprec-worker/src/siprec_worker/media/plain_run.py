"""A stretch of packets that each are what was expected: nearly all of a call, and its fast path.

In it nothing but the next header, the place on the grid and the lag move, in one small object: what
a tick costs is the memory it touches. Everything else a track keeps is brought up to date from
these when somebody asks, or when a packet comes that is not plain.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from siprec_worker.protocol.rtp import HEADER, HEADER_BYTES, PLAIN

Decode = Callable[[bytes, int], bytes]
"""Payload and the 2 of audioop's functions, which are called as they are, to audio."""

_SEQUENCE_STEP = 1 << 64  # of an RTP header read as one number of 96 bits
_TIMESTAMP_STEP = 1 << 32
_NONE = -1
_read_header = int.from_bytes  # of network order


class PlainRun:
    """`step` while it goes on. Between two packets `pts` is where the next one belongs.

    `due`: the header of that packet as a number; a wrap of its sequence or timestamp is another
    number, and ends the run. `lag`: of the clock, when the last packet came. `since` and
    `smooth_from`: up to which pts the track has counted, and has looked at the jitter.
    """

    __slots__ = (
        "decode", "due", "handle", "heard_at", "inbox", "lag", "octets", "pts", "samples",
        "since", "smooth_from", "step_by",
    )  # fmt: skip

    def __init__(self, handle: int, samples: int, inbox: deque[bytes]) -> None:
        self.due = _NONE
        self.pts = self.since = self.smooth_from = self.lag = 0
        self.inbox = inbox
        self.octets = HEADER_BYTES + samples  # of a datagram
        self.samples = samples
        self.step_by = _SEQUENCE_STEP + samples * _TIMESTAMP_STEP
        self.handle = handle
        self.decode: Decode = _undecoded
        self.heard_at: float | None = None  # the tick that brought the last packet, in a run or not

    @property
    def going_on(self) -> bool:
        return self.due != _NONE

    def begin(self, payload_type: int, sequence: int, timestamp: int, ssrc: int) -> None:
        """The next packet is to be this one; `pts`, `lag` and `decode` are set already."""
        header = HEADER.pack(PLAIN, payload_type, sequence, timestamp, ssrc)
        self.due = _read_header(header)
        self.since = self.smooth_from = self.pts

    def end(self) -> None:
        self.due = _NONE

    def step(self, now: float, clock: int) -> bytes | None:
        """The only datagram of a tick, if it is the one that was due, with the same lag.

        None otherwise: then nothing has changed.
        """
        inbox = self.inbox
        if len(inbox) != 1 or clock - self.pts != self.lag:
            return None
        data = inbox[0]
        if _read_header(data[:HEADER_BYTES]) != self.due or len(data) != self.octets:
            return None
        inbox.clear()
        self.due += self.step_by
        self.pts += self.samples
        self.heard_at = now
        return data

    def takes(self, data: bytes) -> bool:
        """As `step` for one of several datagrams, or with another lag; it stays in the inbox."""
        if _read_header(data[:HEADER_BYTES]) != self.due or len(data) != self.octets:
            return False
        self.due += self.step_by
        self.pts += self.samples
        return True


def _undecoded(payload: bytes, _: int) -> bytes:
    return payload
