"""One m-line of the fork: datagrams in, slots of audio, gaps and keys out."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from siprec_worker.errors import RtpError
from siprec_worker.media.decode import SILENCE, Decoder, make_decoder
from siprec_worker.media.grid import ChunkGrid
from siprec_worker.media.jitter import Ordered, ReorderBuffer
from siprec_worker.media.level import level_dbm0
from siprec_worker.media.model import AudioFormat, Dtmf, GapCause, PacketHeard, TrackStats
from siprec_worker.media.reception import Reception
from siprec_worker.protocol.dtmf import KeyPress, KeyReceiver
from siprec_worker.protocol.rtcp import ReportBlock
from siprec_worker.protocol.rtp import HEADER, HEADER_BYTES, PLAIN, RtpPacket, parse_rtp

Payloads = Mapping[int, tuple[str, int]]
"""Payload type to (SDP encoding name, RTP clock rate)."""

MAX_PER_TICK = 128
RTP_CLOCK = 8000  # of every codec decoded here, G.722 included
_HOLE_REPORT_SAMPLES = 1 * RTP_CLOCK  # a hole is told in such pieces while it lasts
_LAG_WINDOW_SECONDS = 1.0
_PAUSE_SECONDS = 0.1  # after a longer one the lag is observed anew
_NO_FAST_PATH = -1
_FAR_BEHIND = 1 << 62
_TIMESTAMPS = 1 << 32
_unpack_header = HEADER.unpack_from


class Track:
    """Give `receive` every datagram, call `drain` once a tick, take what is due from `grid.ready`.

    Place on the grid: the first packet of an epoch takes the slot of its tick, later ones advance
    by RTP timestamp. The clock bounds the drift: audio that runs ahead by more than a slot and the
    hold is dropped; a leg that stays behind by as much for a second is moved forward over a Gap.
    """

    __slots__ = (
        "_clock", "_comfort", "_comfort_types", "_decode", "_decoders", "_event_rates",
        "_fast_type", "_jitter", "_keys", "_lag_low", "_lag_until", "_limit", "_lost",
        "_next_timestamp", "_packet_samples", "_reception", "_slack", "_started", "_transit",
        "_types", "_uplink", "_watched", "bad", "buffer", "drift_dropped", "flooded", "grid",
        "handle", "heard", "hole_cause", "inbox", "last_packet", "realigned", "receive",
        "receive_rtcp", "unsupported",
    )  # fmt: skip

    def __init__(
        self, handle: int, payloads: Payloads, uplink: AudioFormat, chunk_ms: int, hold_ms: int
    ) -> None:
        chunk_samples = uplink.sample_rate * chunk_ms // 1000
        self.handle = handle
        self.inbox: deque[bytes] = deque(maxlen=MAX_PER_TICK)
        self.receive = self.inbox.append  # nothing of ours between the socket and the tick
        self.buffer = ReorderBuffer(hold_ms / 1000)
        self.grid = ChunkGrid(handle, chunk_samples, SILENCE[uplink.encoding])
        self.heard: list[PacketHeard] = []  # of a watched track; who takes them empties it
        self.hole_cause: GapCause | None = None  # why no packets are to be expected, if so
        self._uplink = uplink.encoding
        self._slack = chunk_samples + RTP_CLOCK * hold_ms // 1000
        self._reception = Reception(self.buffer)
        self.receive_rtcp = self._reception.inbox.append
        self._keys = KeyReceiver()
        self._started = self._watched = False
        self._clock = self._limit = 0
        self._next_timestamp = 0
        self._packet_samples = chunk_samples
        self._lost = 0  # packets lost since the last audio
        self._comfort = False  # the sender said that it goes silent
        self._jitter, self._transit = 0.0, 0
        self._lag_low, self._lag_until = _FAR_BEHIND, 0.0
        self.last_packet: float | None = None
        self.bad = self.unsupported = self.flooded = 0
        self.drift_dropped = self.realigned = 0
        self._types: dict[int, int] = {}
        self._fast_type = _NO_FAST_PATH
        self.set_payloads(payloads)

    def set_payloads(self, payloads: Payloads) -> None:
        """Another payload map, after a re-INVITE; positions and counts go on."""
        self._fast_type = _NO_FAST_PATH
        self._decoders: dict[int, Decoder] = {}
        self._event_rates: dict[int, int] = {}
        self._comfort_types: set[int] = set()
        for number, (name, rate) in payloads.items():
            match name.upper():
                case "TELEPHONE-EVENT":
                    self._event_rates[number] = rate
                case "CN":
                    self._comfort_types.add(number)
                case codec:
                    if (decoder := make_decoder(codec, self._uplink)) is not None:
                        self._decoders[number] = decoder

    def watch(self, watched: bool) -> None:
        """A watched track tells every packet it hears."""
        self._watched = watched
        self._fast_type = _NO_FAST_PATH

    def drain(self, now: float, clock: int) -> None:
        """Takes in what came since the last tick. `clock` is `now` in samples since the start."""
        grid, buffer, inbox = self.grid, self.buffer, self.inbox
        self._clock = clock
        self._limit = limit = clock + self._slack
        if self.last_packet is None or now - self.last_packet > _PAUSE_SECONDS:
            self._lag_low, self._lag_until = _FAR_BEHIND, now + _LAG_WINDOW_SECONDS
        self.last_packet = now
        self.flooded += len(inbox) == MAX_PER_TICK
        arrival = int(now * RTP_CLOCK)
        samples, types = grid.chunk_samples, self._types
        for data in inbox:
            if len(data) - HEADER_BYTES == samples:
                first, second, sequence, timestamp, ssrc = _unpack_header(data)
                # Nearly every packet: the next one, plain, and exactly one slot long.
                if (
                    second == self._fast_type
                    and sequence == buffer.expected
                    and timestamp == self._next_timestamp
                    and first == PLAIN
                    and ssrc == buffer.ssrc
                    and not buffer.held
                    and not grid.part
                    and grid.start <= limit
                ):
                    types[second] += 1
                    buffer.expected = sequence + 1 & 0xFFFF
                    self._next_timestamp = timestamp + samples  # a wrap takes the long way
                    transit = arrival - timestamp
                    self._jitter += (abs(transit - self._transit) - self._jitter) / 16
                    self._transit = transit
                    if not grid.muted:
                        audio = self._decode(data[HEADER_BYTES:])
                        grid.ready.append((grid.start, audio, 0, None))
                    grid.start += samples
                    continue
            self._accept(data, now, arrival)
        inbox.clear()
        if self._keys.pressed:
            self._time_out_keys(now)
        if (lag := clock - grid.start) < self._lag_low:
            self._lag_low = lag
        if lag > _HOLE_REPORT_SAMPLES:
            self._report_hole()
        if now >= self._lag_until:
            self._catch_up(now)

    def rest(self, now: float, clock: int) -> None:
        """What a tick without packets may still bring: the end of a hold, of a hole, of a key."""
        self._clock, self._limit = clock, clock + self._slack
        for ordered in self.buffer.release(now) if self.buffer.held else ():
            self._take(ordered, now)
        if self._keys.pressed:
            self._time_out_keys(now)
        if clock - self.grid.start > _HOLE_REPORT_SAMPLES:
            self._report_hole()

    def report_block(self, now: float) -> ReportBlock | None:
        self._reception.drain(now)
        return self._reception.report_block(int(self._jitter), now)

    def stats(self) -> TrackStats:
        buffer = self.buffer
        return TrackStats(
            packets=sum(self._types.values()),
            lost=buffer.lost,
            late=buffer.late,
            duplicates=buffer.duplicates,
            bad=self.bad,
            unsupported=self.unsupported,
            flooded=self.flooded,
            drift_dropped_ms=self.drift_dropped * 1000 // RTP_CLOCK,
            realigned=self.realigned,
            jitter_ms=self._jitter * 1000 / RTP_CLOCK,
            payload_types=dict(self._types),
            epochs=buffer.epochs,
            ssrc=buffer.ssrc,
            last_packet=self.last_packet,
        )

    def _accept(self, data: bytes, now: float, arrival: int) -> None:
        """Any datagram, the long way."""
        try:
            packet = parse_rtp(data)
        except RtpError:
            self.bad += 1
            return
        number = packet.payload_type
        self._types[number] = self._types.get(number, 0) + 1
        self._fast_type = _NO_FAST_PATH
        if number in self._decoders:
            self._measure_jitter(packet, arrival)
        for ordered in self.buffer.insert(packet, now):
            self._take(ordered, now)
        if self.buffer.held:
            for ordered in self.buffer.release(now):
                self._take(ordered, now)

    def _measure_jitter(self, packet: RtpPacket, arrival: int) -> None:
        # RFC 3550 A.8; a new stream, or a clock set anew, has no transit to compare with.
        transit = arrival - packet.timestamp
        deviation = abs(transit - self._transit)
        self._transit = transit
        if packet.ssrc == self.buffer.ssrc and deviation < RTP_CLOCK:
            self._jitter += (deviation - self._jitter) / 16

    def _take(self, ordered: Ordered, now: float) -> None:
        """A packet whose turn it is."""
        packet = ordered.packet
        number, payload = packet.payload_type, packet.payload
        self._lost += ordered.lost
        if ordered.begins:
            self._anchor(packet.timestamp)
        decoder = self._decoders.get(number)
        if decoder is not None:
            if payload:
                self._take_audio(decoder, packet.timestamp, payload, now)
                self._decode = decoder.to_uplink
                self._fast_type = _NO_FAST_PATH if self._watched else number
        elif number in self._event_rates:
            try:
                keys = self._keys.receive(payload, packet.timestamp, now)
            except RtpError:
                self.bad += 1
                return
            for key in keys:
                self._tell_key(key, self._event_rates[number])
        elif number in self._comfort_types:
            self._comfort = True
        else:
            self.unsupported += 1

    def _take_audio(self, decoder: Decoder, timestamp: int, payload: bytes, now: float) -> None:
        samples = len(payload)
        hole = _signed(timestamp - self._next_timestamp)
        if hole or self._lost:
            self._cross(hole, timestamp)
        self._lost, self._comfort = 0, False
        self._next_timestamp = (timestamp + samples) % _TIMESTAMPS
        if samples != self._packet_samples:
            self._packet_samples = samples
            self.buffer.expect_packets_of(samples / RTP_CLOCK)
        grid = self.grid
        if grid.start > self._limit:
            self.drift_dropped += samples
            return
        if self._watched:
            level = level_dbm0(decoder.to_linear(payload))
            duration = samples * 1000 // RTP_CLOCK
            self.heard.append(PacketHeard(self.handle, now, grid.frontier, duration, level))
        if grid.muted:
            grid.append(bytes(samples * grid.sample_bytes))
        else:
            grid.append(decoder.to_uplink(payload))

    def _cross(self, hole: int, timestamp: int) -> None:
        """Goes over a jump of the timestamps: by loss, by silence, or by a clock set anew."""
        if hole < 0 or self.grid.frontier + hole > self._limit:
            self._anchor(timestamp)
            return
        missing = min(hole, self._lost * self._packet_samples)
        if missing:
            self.grid.skip(missing, GapCause.NETWORK_LOSS, self._lost)
        if hole > missing:
            # The sequence is whole, or the loss does not fill the hole: nothing was sent (DTX).
            self.grid.skip(hole - missing, self.hole_cause or GapCause.SILENCE_SUPPRESSED)

    def _anchor(self, timestamp: int) -> None:
        """Ties a timestamp to a place: here if that is near the tick's slot, else to that slot."""
        grid = self.grid
        if not self._started:
            self._started = True
            grid.start = self._clock - self._clock % grid.chunk_samples
        elif self._clock - grid.frontier >= 2 * grid.chunk_samples:
            self._skip_to(self._clock, self._cause(), self._lost)
        self._lost = 0
        self._next_timestamp = timestamp

    def _report_hole(self) -> None:
        """Tells what has not come yet and would be late by now."""
        if self._started:
            skipped = self._skip_to(self._clock - self._slack, self._cause(), self._lost)
            self._next_timestamp = (self._next_timestamp + skipped) % _TIMESTAMPS
            self._lost = 0

    def _skip_to(self, pts: int, cause: GapCause, packets: int = 0) -> int:
        """Moves the leg forward to the slot that holds `pts`; gives the samples gone over."""
        grid = self.grid
        samples = pts - pts % grid.chunk_samples - grid.frontier
        grid.skip(samples, cause, packets)
        return samples

    def _catch_up(self, now: float) -> None:
        """Moves a leg forward that was behind the clock for the whole of a window."""
        behind = self._lag_low
        if behind > self._slack:
            self.realigned += 1
            self._skip_to(self.grid.start + behind, GapCause.ARRIVED_LATE)
        self._lag_low, self._lag_until = _FAR_BEHIND, now + _LAG_WINDOW_SECONDS

    def _cause(self) -> GapCause:
        if self.hole_cause is not None:
            return self.hole_cause
        return GapCause.SILENCE_SUPPRESSED if self._comfort else GapCause.NETWORK_LOSS

    def _time_out_keys(self, now: float) -> None:
        for key in self._keys.handle_timeout(now):
            self._tell_key(key, min(self._event_rates.values(), default=RTP_CLOCK))

    def _tell_key(self, key: KeyPress, rate: int) -> None:
        pts = self.grid.frontier + _signed(key.timestamp - self._next_timestamp)
        self.grid.tell(Dtmf(self.handle, key.digit, key.duration * 1000 // rate, max(0, pts)))


def _signed(difference: int) -> int:
    """A difference of timestamps modulo 2**32 as the nearer of its two values."""
    return (difference + (1 << 31)) % _TIMESTAMPS - (1 << 31)
