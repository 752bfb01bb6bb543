"""Where a leg's audio belongs: RTP timestamps tied to the grid, within sight of the clock.

Every sample that was spoken is heard in its place or told as missing there: by a Gap of that
length, or, where it has no place any more (it came so late that others are in it, it runs ahead of
the clock), by an empty Gap that says how many packets were dropped at that point.
"""

from __future__ import annotations

from siprec_worker.media.carried import Carried, Tie
from siprec_worker.media.grid import ChunkGrid
from siprec_worker.media.model import GapCause
from siprec_worker.media.payload_table import RTP_CLOCK
from siprec_worker.media.unit_clock import signed

_LAG_WINDOW_SECONDS = 1.0
_FAR_BEHIND = 1 << 62
_TIMESTAMPS = 1 << 32


class Timeline:
    """Say what time it is (`at`), then `place` each packet.

    The first packet of an epoch takes the slot of its tick, or, where others came right behind it
    (this process or the network stood still), one so much earlier; later ones advance by RTP
    timestamp.
    The clock bounds the drift: audio that runs ahead by more than a slot and the hold is dropped;
    a leg that stays behind by as much for a second is moved forward over a Gap. Audio that comes
    all at once after its hole was told stays where it was missing: it is late.
    """

    __slots__ = (
        "_had", "_lag_low", "_lag_until", "_slack", "_together", "_told", "carried",
        "clock", "comfort", "drift_dropped", "following", "grid", "hole_cause", "late",
        "leaving", "limit", "lost", "next_timestamp", "packet_samples", "realigned", "recovered",
        "recovered_audio", "shed", "started", "unplaced",
    )  # fmt: skip

    def __init__(self, grid: ChunkGrid, hold_ms: int) -> None:
        self.grid = grid
        self._slack = grid.chunk_samples + RTP_CLOCK * hold_ms // 1000
        self.started = False
        self.carried: Carried | None = None  # until the first packet of a leg that moved here
        self.clock = self.limit = 0
        self._together = 0  # packets that this tick has brought
        self.following = 0  # those of them that follow the one in hand
        self.next_timestamp = 0
        self.packet_samples = grid.chunk_samples
        self.lost = 0  # packets lost since the last audio
        self.shed = 0  # packets before the next that nobody had time to decode
        self.recovered_audio = b""  # in place of lost packets, for the next hole
        self.comfort = False  # the sender said that it goes silent
        self.hole_cause: GapCause | None = None  # why no packets are to be expected, if so
        self.leaving = False  # what does not come here may come to another worker
        self.unplaced = 0  # packets without a place that are not told yet
        self._told = 0  # samples told as missing since the last audio, right before it
        self._had = 0  # samples before the first packet's place that the former worker has given
        self._lag_low, self._lag_until = _FAR_BEHIND, 0.0
        self.drift_dropped = self.realigned = self.recovered = self.late = 0

    def at(self, clock: int, together: int) -> None:
        self.clock, self.limit, self._together = clock, clock + self._slack, together

    def tie(self, ssrc: int | None) -> Tie | None:
        """Where the next packet belongs, for another worker."""
        if ssrc is None or not self.started:
            return None
        return Tie(ssrc, self.next_timestamp, self.grid.frontier)

    def carry_on(self, carried: Carried) -> None:
        """Goes on with a leg of another worker. Before the first packet."""
        self.carried = carried
        if carried.since is not None:
            self.started = True
            self.grid.start = carried.since - carried.since % self.grid.chunk_samples

    def place(self, ssrc: int | None, timestamp: int, samples: int) -> bool:
        """Goes to where a packet of audio belongs; False when it is to be dropped, and is told."""
        hole = signed(timestamp - self.next_timestamp)
        if hole or self.lost:
            if self._is_late(hole):
                return False
            self._cross(ssrc, hole, timestamp)
        self.lost, self.comfort, self.shed, self._told, self._had = 0, False, 0, 0, 0
        self.next_timestamp = (timestamp + samples) % _TIMESTAMPS
        if self.grid.start <= self.limit:
            return True
        self.drift_dropped += samples
        self.unplaced += 1
        return False

    def _is_late(self, hole: int) -> bool:
        """It belongs into a hole that was told, and comes with more than there is room for now;
        or to what its former worker has given.
        """
        if hole < 0 <= hole + self._had:
            self.lost = 0
            return True
        if not hole < 0 <= hole + self._told:
            return False
        if self._together * self.packet_samples <= self._slack:
            return False  # as from a sender whose clock stood still
        self.late += 1
        self.lost = 0
        return True

    def tell_unplaced(self) -> None:
        self.grid.skip(0, GapCause.ARRIVED_LATE, self.unplaced)
        self.unplaced = 0

    def _cross(self, ssrc: int | None, hole: int, timestamp: int) -> None:
        """Goes over a jump of the timestamps: by loss, by silence, or by a clock set anew."""
        if hole < 0 or self.grid.frontier + hole > self.limit:
            self.anchor(ssrc, timestamp)
            return
        missing = min(hole, self.lost * self.packet_samples)
        if missing:
            self._make_up(missing)
        if hole > missing:
            # The sequence is whole, or the loss does not fill the hole: nothing was sent (DTX).
            cause = GapCause.SHED if self.shed else self.hole_cause
            self.grid.skip(hole - missing, cause or GapCause.SILENCE_SUPPRESSED)

    def _make_up(self, missing: int) -> None:
        """Fills a loss with what the codec has recovered of its end; the rest is a gap."""
        recovered = self.recovered_audio[-missing * self.grid.sample_bytes :]
        units = len(recovered) // self.grid.sample_bytes
        packets = units // self.packet_samples
        if missing > units:
            self.grid.skip(missing - units, GapCause.NETWORK_LOSS, self.lost - packets)
        if recovered:
            self.recovered += packets
            self.grid.conceal(recovered)

    def anchor(self, ssrc: int | None, timestamp: int, sequence: int = 0) -> None:
        """Ties a timestamp to a place: here if that is near the tick's slot, else to that slot.

        `sequence`: of the packet, where it begins an epoch.
        """
        grid = self.grid
        if self.carried is not None:
            timestamp = self._carry(self.carried, ssrc, timestamp, sequence)
        elif not self.started:
            self.started = True
            grid.start = self._here()
        elif self._here() - grid.frontier >= 2 * grid.chunk_samples:
            self._skip_to(self._here(), self._cause(), self.lost)
        elif self.lost:  # there is no saying how long they were
            grid.skip(0, self._cause(), self.lost)
        self.lost = 0
        self.next_timestamp = timestamp

    def _carry(self, carried: Carried, ssrc: int | None, timestamp: int, sequence: int) -> int:
        """The first packet of a leg that moved here takes its place. Gives the timestamp that
        belongs to the frontier then: the packet's, unless its former worker has come further.
        """
        grid, self.carried = self.grid, None
        tied = carried.place(ssrc, timestamp, self.clock)
        place = self._here() if tied is None else tied
        if carried.since is not None:
            if place > grid.frontier:
                grid.skip(place - grid.frontier, GapCause.SOURCE_SWITCH)
            return timestamp
        self.started = True
        reached = place if carried.reached is None else carried.reached.tie.pts
        if tied is None and place - reached < 2 * grid.chunk_samples:
            place = reached  # another source, which goes on at once
        left = min(place, reached) if tied is None else reached
        grid.start = left - left % grid.chunk_samples
        if left > grid.start:  # what the former worker had of this slot, and sent nobody
            grid.skip(left - grid.start, GapCause.SOURCE_SWITCH)
        if place > left:
            self._cross_over(place - left, carried.missed(ssrc, sequence))
        self._had = max(0, left - place)
        return (timestamp + self._had) % _TIMESTAMPS

    def _cross_over(self, samples: int, missed: int | None) -> None:
        """Tells what lies between two workers' audio: lost on the way, or never sent (DTX)."""
        if missed == 0:
            self.grid.skip(samples, self.hole_cause or GapCause.SILENCE_SUPPRESSED)
        else:
            self.grid.skip(samples, GapCause.SOURCE_SWITCH, missed or 0)

    def _here(self) -> int:
        """The slot in which the packet in hand was spoken, as far as the clock says."""
        spoken = max(0, self.clock - self.following * self.packet_samples)
        return spoken - spoken % self.grid.chunk_samples

    def report_hole(self) -> None:
        """Tells what has not come yet and would be late by now."""
        if self.started and not self.leaving:
            skipped = self._skip_to(self.clock - self._slack, self._cause(), self.lost)
            self.next_timestamp = (self.next_timestamp + skipped) % _TIMESTAMPS
            self._told += skipped
            self.lost = 0

    def _skip_to(self, pts: int, cause: GapCause, packets: int = 0) -> int:
        """Moves the leg forward to the slot that holds `pts`; gives the samples gone over."""
        grid = self.grid
        samples = pts - pts % grid.chunk_samples - grid.frontier
        grid.skip(samples, cause, packets)
        return samples

    # --- drift ------------------------------------------------------------------------------

    def within_reach(self, lag: int) -> bool:
        """So near to the clock that audio needs no look at it."""
        return -self._slack <= lag <= self._slack

    def saw(self, lag: int) -> None:
        """How far the leg is behind the clock."""
        self._lag_low = min(lag, self._lag_low)

    def watch_anew(self, now: float) -> None:
        self._lag_low, self._lag_until = _FAR_BEHIND, now + _LAG_WINDOW_SECONDS

    def falls_behind(self, now: float) -> bool:
        """For the whole of a window that ends now. Then `catch_up`."""
        if now < self._lag_until:
            return False
        if self._lag_low > self._slack:
            return True
        self.watch_anew(now)
        return False

    def catch_up(self, now: float) -> None:
        """Moves the leg forward by as much as it was behind at its best."""
        self.realigned += 1
        self._skip_to(self.grid.start + self._lag_low, GapCause.ARRIVED_LATE)
        self.watch_anew(now)

    def _cause(self) -> GapCause:
        if self.carried is not None:
            return GapCause.SOURCE_SWITCH
        if self.hole_cause is not None:
            return self.hole_cause
        return GapCause.SILENCE_SUPPRESSED if self.comfort else GapCause.NETWORK_LOSS
