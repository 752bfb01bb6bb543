"""Whether both legs of a call bring packets: counted, not listened to, as people may be silent."""

from __future__ import annotations

DEAD_AFTER = 0.4  # seconds without a packet
SURE_PACKETS = 3  # of a new source: Asterisk may still send a frame of what was before


class BothLegs:
    """Tell it every packet of either leg with its arrival time (seconds, any clock, rising).

    `both_live_at`: when, last, both had brought packets since the PBX's leg had a new source. A
    customer whose phone sends nothing in pauses (RFC 3389 noise, or a pause that ends with the
    marker of RFC 3551 section 4.1) is not missed.
    """

    def __init__(self, began: float) -> None:
        self.both_live_at: float | None = None
        self._customer_at = self._pbx_at = began
        self._source: int | None = None
        self._packets = 0  # of that source
        self._customer_came = False  # since then
        self._proven = False
        self._customer_source: int | None = None
        self._pauses = False

    def pbx(self, at: float, ssrc: int) -> None:
        """A packet to the caller. A new SSRC is a new source: Asterisk takes one with a bridge."""
        self._pbx_at = at
        if ssrc != self._source:
            self._source, self._packets = ssrc, 0
            self._customer_came = self._proven = False
        self._packets += 1
        self._look(at)

    def customer(self, at: float, ssrc: int, *, starts: bool, noise: bool) -> None:
        """A packet from the caller. `starts`: its marker is set; `noise`: it is comfort noise."""
        paused = at - self._customer_at > DEAD_AFTER and ssrc == self._customer_source
        self._pauses |= noise or (paused and starts)
        self._customer_at, self._customer_source = at, ssrc
        self._customer_came = True
        self._look(at)

    def one_way(self, now: float) -> bool:
        """One of them sends, and the other has sent nothing for a while.

        Never where no packet of the customer has come at all: their leg may not be known.
        """
        if self._customer_source is None:
            return False
        customer = now - self._customer_at <= DEAD_AFTER
        pbx = now - self._pbx_at <= DEAD_AFTER
        return (customer or self._pauses) != pbx

    def _look(self, at: float) -> None:
        if self._proven or self._packets < SURE_PACKETS:
            return
        if self._customer_came or self._pauses:
            self._proven, self.both_live_at = True, at
