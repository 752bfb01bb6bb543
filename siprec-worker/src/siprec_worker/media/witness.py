"""What the caller hears during a handoff: dead air, counted on the fork's PBX leg as it arrives.

And whether both legs live (`BothLegs`).

The definitions are those of the measurement at the caller's own ear. The time between two arrivals
belongs to the packet that began it. A stretch longer than 60 ms is `missing`, whole; otherwise it
is silent when that packet's audio lies below -60 dBm0 (or is no audio: telephone-event, CN).
Silent stretches count where they, together with missing time inside or beside them, last longer
than 200 ms. No moment counts twice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from siprec_worker.errors import RtpError
from siprec_worker.media.decode import LINEAR, Transcode, make_decoder
from siprec_worker.media.level import level_dbm0
from siprec_worker.media.liveness import BothLegs
from siprec_worker.protocol.rtp import parse_rtp

MISSING_AFTER = 0.060
SILENT_AFTER = 0.200
SILENT_BELOW_DBM0 = -60.0


@dataclass(frozen=True, slots=True)
class Findings:
    """Milliseconds since the witness began; None = has not happened."""

    first_hold_audio_ms: int | None
    phrase_end_ms: int | None
    silent_ms: int
    missing_ms: int
    longest_gap_ms: int
    watched_ms: int
    both_live_ms: int | None = None
    one_way: bool = False


class Witness:
    """Tell it every packet with its arrival time (seconds, any clock, rising)."""

    def __init__(self, began: float) -> None:
        self.legs = BothLegs(began)
        self._began = began
        self._last_at = began
        self._last_silent = True
        self._sounding = False  # a packet has come before or since
        self._ssrc: int | None = None
        self._phrase_end: float | None = None
        self._held: float | None = None
        self._run = 0.0  # silent or missing time up to now, unbroken
        self._run_silent = 0.0  # the part of it that is silent, not missing
        self._silent = 0.0
        self._missing = 0.0
        self._longest = 0.0

    def packet(self, at: float, ssrc: int, level_dbm0: float | None) -> None:
        """One RTP packet; `level_dbm0` is None for what is no audio.

        Asterisk takes a new SSRC whenever the channel enters a bridge, so the first audible packet
        of another SSRC after the one the witness began with is the first hold audio.
        """
        silent = level_dbm0 is None or level_dbm0 < SILENT_BELOW_DBM0
        self.legs.pbx(at, ssrc)
        self._stretch(at)
        if self._ssrc is None:
            self._ssrc = ssrc
        if self._held is None and not silent and ssrc != self._ssrc:
            self._held = at
        self._last_at, self._last_silent, self._sounding = at, silent, True

    def phrase_ended(self, at: float) -> None:
        """The bot's last words have gone out."""
        if self._phrase_end is None:
            self._phrase_end = at

    def findings(self, now: float) -> Findings:
        """What is known by now; the stretch that is still open counts as far as it has come."""
        silent, missing, longest = self._silent, self._missing, self._longest
        length = max(0.0, now - self._last_at)
        run, run_silent = self._run, self._run_silent
        if length > MISSING_AFTER:
            missing += length
            run += length
        elif self._last_silent:
            run += length
            run_silent += length
        if run > SILENT_AFTER:
            silent += run_silent
        return Findings(
            first_hold_audio_ms=self._ms(self._held),
            phrase_end_ms=self._ms(self._phrase_end),
            silent_ms=round(1000 * silent),
            missing_ms=round(1000 * missing),
            longest_gap_ms=round(1000 * max(longest, length)),
            watched_ms=round(1000 * (now - self._began)),
            both_live_ms=self._ms(self.legs.both_live_at),
            one_way=self.legs.one_way(now),
        )

    def _stretch(self, until: float) -> None:
        """Counts the time from the last packet to `until`."""
        length = max(0.0, until - self._last_at)
        self._longest = max(self._longest, length)
        if length > MISSING_AFTER:
            self._missing += length
            self._run += length
        elif self._last_silent and self._sounding:
            self._run += length
            self._run_silent += length
        elif not self._last_silent:
            self._close_run()

    def _close_run(self) -> None:
        if self._run > SILENT_AFTER:
            self._silent += self._run_silent
        self._run = self._run_silent = 0.0

    def _ms(self, at: float | None) -> int | None:
        return None if at is None else max(0, round(1000 * (at - self._began)))


class WitnessedLeg:
    """Takes a leg's datagrams as they arrive and tells its witness what they hold."""

    def __init__(self, witness: Witness, payloads: Mapping[int, tuple[str, int]]) -> None:
        """`payloads`: payload type -> SDP encoding name and RTP clock rate."""
        self._witness = witness
        self._linear: dict[int, Transcode] = {}
        for number, (codec, clock) in payloads.items():
            if (decoder := make_decoder(codec, LINEAR, clock)) is not None:
                self._linear[number] = decoder.to_linear

    def receive(self, data: bytes, at: float) -> None:
        """One datagram and when the kernel got it; what is not RTP is not heard either."""
        try:
            packet = parse_rtp(data)
            linear = self._linear.get(packet.payload_type)
            level = None if linear is None else level_dbm0(linear(packet.payload))
        except RtpError:
            return
        self._witness.packet(at, packet.ssrc, level)


class CustomerLeg:
    """Takes the customer's datagrams as they arrive, and only counts them."""

    def __init__(self, legs: BothLegs, comfort_noise: Collection[int]) -> None:
        """`comfort_noise`: its payload types (RFC 3389)."""
        self._legs = legs
        self._noise = frozenset(comfort_noise)

    def receive(self, data: bytes, at: float) -> None:
        """One datagram and when the kernel got it."""
        try:
            packet = parse_rtp(data)
        except RtpError:
            return
        self._legs.customer(
            at, packet.ssrc, starts=packet.marker, noise=packet.payload_type in self._noise
        )
