"""Reorder buffer for one RTP stream: packets in, the same packets in order out, losses counted.

It delays nothing that comes in order; only packets behind a hole are held, for `hold` seconds at
most (for long packets half as much again). The caller's tick drives it: `now` is an argument.
A stream is one *epoch*; a new SSRC or a restarted sequence begins another.
"""

from __future__ import annotations

from typing import NamedTuple

from siprec_worker.protocol.rtp import RtpPacket

MAX_DROPOUT = 1000
"""Missing packets (20 s) that are still taken for loss, not for a restart of the sequence."""
MAX_MISORDER = 100  # RFC 3550 A.1
_HALF = 0x8000
_MASK = 0xFFFF
_FAR_RUN = 2  # packets in sequence that prove a restart far away (RFC 3550 A.1)
_NEAR_RUN = 10  # and nearby, where a delayed burst looks the same
_LONGEST_HOLD = 1.5  # times the hold asked for: 60 ms for packets of 30 ms
_STRAGGLER_SECONDS = 0.1
_EARLY_TICK = 0.005  # a tick may come that much early and still end a hold


class Ordered(NamedTuple):
    """A packet whose turn has come."""

    lost: int  # packets given up just before it
    begins: bool  # the first of an epoch
    packet: RtpPacket


class ReorderBuffer:
    """Feed it packets with `insert`, and call `release` once a tick while `held` is not empty.

    `expected`, `ssrc` and `held` are open to the track's fast path: a packet with that SSRC and
    that sequence number, while nothing is held, needs no buffer; `expected` is all that moves.
    """

    __slots__ = (
        "_depth",
        "_hold",
        "_least_hold",
        "_missing",
        "_previous_ssrc",
        "_run",
        "_run_next",
        "_switched",
        "duplicates",
        "epochs",
        "expected",
        "held",
        "late",
        "lost",
        "ssrc",
        "strays",
    )

    def __init__(self, hold: float = 0.04, depth: int = 16) -> None:
        self._least_hold = hold
        self._hold = hold - _EARLY_TICK
        self._depth = depth
        self.expected = 0
        self.ssrc: int | None = None
        self.held: dict[int, tuple[float, RtpPacket]] = {}
        self.lost = 0
        self.late = 0
        self.duplicates = 0
        self.epochs = 0
        self.strays = 0  # of the epoch before, dropped: whoever tells of them sets it to 0
        self._missing: dict[int, None] = {}  # given up lately: late when they come after all
        self._previous_ssrc: int | None = None
        self._switched = 0.0
        self._run = 0  # packets in sequence that do not fit the epoch
        self._run_next = -1

    def expect_packets_of(self, seconds: float) -> None:
        """How long the stream's packets are: a hole is waited for as long as two of them last."""
        longest = _LONGEST_HOLD * self._least_hold
        self._hold = min(max(self._least_hold, 2 * seconds), longest) - _EARLY_TICK

    def insert(self, packet: RtpPacket, now: float) -> list[Ordered]:
        """Takes one packet; gives those whose turn it is."""
        sequence = packet.sequence
        if packet.ssrc != self.ssrc:
            if packet.ssrc == self._previous_ssrc and now - self._switched < _STRAGGLER_SECONDS:
                self.late += 1
                self.strays += 1
                return []
            return self._begin(packet, now)
        ahead = (sequence - self.expected) & _MASK
        if ahead == 0:
            out = [Ordered(0, False, packet)]
            self.expected = (sequence + 1) & _MASK
            self._run = 0
            if self.held:
                self._drain(out)
            return out
        if ahead < MAX_DROPOUT:
            if sequence in self.held:
                self.duplicates += 1
                return []
            self.held[sequence] = (now, packet)
            return self.release(now) if len(self.held) > self._depth else []
        if self._restarted(sequence, ahead):
            return self._begin(packet, now, self._run - 1)
        return []

    def release(self, now: float) -> list[Ordered]:
        """Gives up on holes that were waited for long enough."""
        out: list[Ordered] = []
        held = self.held
        while held:
            waiting_since = min(entry[0] for entry in held.values())
            if waiting_since > now - self._hold and len(held) <= self._depth:
                break
            self._give_up_hole(out)
            self._drain(out)
        return out

    def _begin(self, packet: RtpPacket, now: float, refused: int = 0) -> list[Ordered]:
        """`refused`: packets of the same epoch that were not known for it."""
        out: list[Ordered] = []
        while self.held:  # what the last epoch still has is heard first
            self._give_up_hole(out)
            self._drain(out)
        if packet.ssrc != self.ssrc:
            self._previous_ssrc, self._switched = self.ssrc, now
        self.ssrc = packet.ssrc
        self.expected = (packet.sequence + 1) & _MASK
        self.epochs += 1
        self._missing.clear()
        self._run = 0
        out.append(Ordered(refused, True, packet))
        return out

    def _restarted(self, sequence: int, ahead: int) -> bool:
        """Counts a packet that does not fit; true when a run of them shows a new sequence."""
        behind = 0x10000 - ahead
        near = behind <= MAX_MISORDER
        if near and sequence not in self._missing:
            self.duplicates += 1
        else:
            self.late += 1
            self._missing.pop(sequence, None)
        self._run = self._run + 1 if sequence == self._run_next else 1
        self._run_next = (sequence + 1) & _MASK
        return self._run >= (_NEAR_RUN if near else _FAR_RUN)

    def _give_up_hole(self, out: list[Ordered]) -> None:
        expected = self.expected
        lost = min((sequence - expected) & _MASK for sequence in self.held)
        self.lost += lost
        missing = self._missing
        for back in range(min(lost, MAX_MISORDER), 0, -1):
            missing[(expected + lost - back) & _MASK] = None
        while len(missing) > MAX_MISORDER:
            del missing[next(iter(missing))]
        self.expected = (expected + lost) & _MASK
        self._run = 0
        out.append(Ordered(lost, False, self.held.pop(self.expected)[1]))
        self.expected = (self.expected + 1) & _MASK

    def _drain(self, out: list[Ordered]) -> None:
        while (entry := self.held.pop(self.expected, None)) is not None:
            out.append(Ordered(0, False, entry[1]))
            self.expected = (self.expected + 1) & _MASK
