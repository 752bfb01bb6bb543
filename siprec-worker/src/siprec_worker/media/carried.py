"""A leg that another worker heard before: where it had come to, where its next packet belongs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from siprec_worker.media.jitter import MAX_DROPOUT
from siprec_worker.media.unit_clock import signed

_BEHIND, _AHEAD = 40_000, 800  # 1/8000 s of a tie and the clock: beyond, the tie is of old times


class Tie(NamedTuple):
    """The packet of `ssrc` with this timestamp (in 1/8000 s) begins at `pts`."""

    ssrc: int
    timestamp: int
    pts: int


class Reached(NamedTuple):
    """How far a worker has heard a leg: up to the tie's pts. `sequence`: of the packet of the tie,
    modulo 2**16.
    """

    tie: Tie
    sequence: int


@dataclass(frozen=True, slots=True)
class Carried:
    """`since`: what follows that pts is missing, a Gap SOURCE_SWITCH; None: what there is between
    `reached`, where the former worker has said how far it came, and the first packet here.
    """

    tie: Tie | None = None
    since: int | None = None
    reached: Reached | None = None

    def place(self, ssrc: int | None, timestamp: int, clock: int) -> int | None:
        """The pts of the first packet that comes by the tie; None: it has none, or an old one.

        rtpengine moves a stream between two packets and leaves its header alone, so that the audio
        goes on to the sample.
        """
        if self.tie is None or self.tie.ssrc != ssrc:
            return None
        pts = self.tie.pts + signed(timestamp - self.tie.timestamp)
        return pts if max(-1, clock - _BEHIND) < pts < clock + _AHEAD else None

    def missed(self, ssrc: int | None, sequence: int) -> int | None:
        """Packets before the first that comes here that no worker has; None: there is no saying."""
        if self.reached is None or self.reached.tie.ssrc != ssrc:
            return None
        missed = (sequence - self.reached.sequence) & 0xFFFF
        return missed if missed < MAX_DROPOUT else None
