"""One m-line of the fork: datagrams in, slots of audio, gaps and keys out."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from siprec_worker.errors import RtpError
from siprec_worker.media.carried import Carried, Tie
from siprec_worker.media.decode import Decoder, make_decoder, silence_unit
from siprec_worker.media.deferred import Deferral, Lane
from siprec_worker.media.grid import ChunkGrid
from siprec_worker.media.jitter import Ordered, ReorderBuffer
from siprec_worker.media.level import level_dbm0
from siprec_worker.media.model import AudioFormat, Dtmf, GapCause, PacketHeard, TrackStats
from siprec_worker.media.plain_run import PlainRun
from siprec_worker.media.reception import Reception
from siprec_worker.media.unit_clock import UnitClock, signed
from siprec_worker.protocol.dtmf import KeyPress, KeyReceiver
from siprec_worker.protocol.rtcp import ReportBlock
from siprec_worker.protocol.rtp import HEADER_BYTES, RtpPacket, parse_rtp

Payloads = Mapping[int, tuple[str, int]]
"""Payload type to (SDP encoding name, RTP clock rate)."""

MAX_PER_TICK = 128
RTP_CLOCK = 8000  # the grid's; timestamps of other clocks are brought to it
_HOLE_REPORT_SAMPLES = 1 * RTP_CLOCK  # a hole is told in such pieces while it lasts
_LAG_WINDOW_SECONDS = 1.0
_PAUSE_SECONDS = 0.1  # after a longer one the lag is observed anew
_NO_FAST_PATH = -1
_CALMER = 15 / 16  # RFC 3550 A.8: what a packet without jitter leaves of it
_FAR_BEHIND = 1 << 62
_FARTHEST_KEY = 60 * RTP_CLOCK
_TIMESTAMPS = 1 << 32


class Track:
    """Give `receive` every datagram, call `drain` once a tick, take what is due from `grid.ready`.

    Place on the grid: the first packet of an epoch takes the slot of its tick, later ones advance
    by RTP timestamp. The clock bounds the drift: audio that runs ahead by more than a slot and the
    hold is dropped; a leg that stays behind by as much for a second is moved forward over a Gap.
    """

    __slots__ = (
        "_carried", "_clock", "_clock_rate", "_comfort", "_comfort_types", "_decoders",
        "_event_rates", "_fast_type", "_jitter", "_keys", "_lag_low", "_lag_until", "_lane",
        "_limit", "_lost", "_next_timestamp", "_packet_samples", "_reception", "_recovered",
        "_shed", "_slack", "_started", "_transit", "_types", "_unit_clocks", "_uplink", "_watched",
        "bad", "buffer", "deferral", "drift_dropped", "flooded", "grid", "handle", "heard",
        "hold_ms", "hole_cause", "inbox", "realigned", "receive", "receive_rtcp", "recovered",
        "run", "unsupported",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913, PLR0917 - its own name, and what all of a call share
        self,
        handle: int,
        payloads: Payloads,
        uplink: AudioFormat,
        chunk_ms: int,
        hold_ms: int,
        lane: Lane,
    ) -> None:
        chunk_samples = RTP_CLOCK * chunk_ms // 1000
        self.handle = handle
        self.hold_ms = hold_ms
        self.inbox: deque[bytes] = deque(maxlen=MAX_PER_TICK)
        self.receive = self.inbox.append  # nothing of ours between the socket and the tick
        self.buffer = ReorderBuffer(hold_ms / 1000)
        self.grid = ChunkGrid(handle, chunk_samples, silence_unit(uplink))
        self.run = PlainRun(handle, chunk_samples, self.inbox)
        self.heard: list[PacketHeard] = []  # of a watched track; who takes them empties it
        self.hole_cause: GapCause | None = None  # why no packets are to be expected, if so
        self._uplink = uplink
        self._lane = lane
        self.deferral: Deferral | None = None  # made when a codec is heavy, and kept
        self._slack = chunk_samples + RTP_CLOCK * hold_ms // 1000
        self._reception = Reception(self.buffer)
        self.receive_rtcp = self._reception.inbox.append
        self._keys = KeyReceiver()
        self._started = self._watched = False
        self._carried: Carried | None = None  # until the first packet of a leg that moved here
        self._clock = self._limit = 0
        self._next_timestamp = 0
        self._packet_samples = chunk_samples
        self._lost = 0  # packets lost since the last audio
        self._comfort = False  # the sender said that it goes silent
        self._jitter, self._transit, self._clock_rate = 0.0, 0, RTP_CLOCK
        self._lag_low, self._lag_until = _FAR_BEHIND, 0.0
        self.bad = self.unsupported = self.flooded = 0
        self.drift_dropped = self.realigned = self.recovered = 0
        self._recovered = b""  # audio in place of lost packets, for the next hole
        self._shed = 0  # packets before the next that nobody had time to decode
        self._types: dict[int, int] = {}
        self._fast_type = _NO_FAST_PATH
        self.set_payloads(payloads)

    def set_payloads(self, payloads: Payloads) -> None:
        """Another payload map, after a re-INVITE; positions and counts go on."""
        self._end_run()
        self._fast_type = _NO_FAST_PATH
        self._decoders: dict[int, Decoder] = {}
        self._event_rates: dict[int, int] = {}
        self._comfort_types: set[int] = set()
        clocks: dict[int, UnitClock] = {}  # by rate
        self._unit_clocks: dict[int, UnitClock] = {}  # by payload type, where not 8 kHz
        for number, (name, rate) in payloads.items():
            if rate != RTP_CLOCK:
                self._unit_clocks[number] = clocks.setdefault(rate, UnitClock(rate))
            match name.upper():
                case "TELEPHONE-EVENT":
                    self._event_rates[number] = rate
                case "CN":
                    self._comfort_types.add(number)
                case codec:
                    if (decoder := make_decoder(codec, self._uplink, rate)) is not None:
                        self._decoders[number] = decoder
        if self.deferral is None and any(d.heavy for d in self._decoders.values()):
            self.deferral = Deferral(self._lane, self.grid.sample_bytes)

    def carry_on(self, carried: Carried) -> None:
        """Goes on with a leg of another worker. Before the first packet."""
        self._carried = carried
        if carried.since is not None:
            self._started = True
            self.grid.start = carried.since - carried.since % self.grid.chunk_samples

    @property
    def tie(self) -> Tie | None:
        """Where the next packet belongs, for another worker; None before the first."""
        self._count_run()
        ssrc = self.buffer.ssrc
        if ssrc is None or not self._started or self.deferral is not None:
            return None
        return Tie(ssrc, self._next_timestamp, self.grid.frontier)

    def watch(self, watched: bool) -> None:
        """A watched track tells every packet it hears."""
        self._end_run()
        self._watched = watched
        self._fast_type = _NO_FAST_PATH

    @property
    def last_packet(self) -> float | None:
        """The tick that brought it."""
        return self.run.heard_at

    @property
    def start(self) -> int:
        """The pts of the first slot that is not finished."""
        return self.run.pts if self.run.going_on else self.grid.start

    def drain(self, now: float, clock: int) -> None:
        """Takes in what came since the last tick. `clock` is `now` in samples since the start."""
        run = self.run
        if (data := run.step(now, clock)) is not None:
            self.put(data)
            return
        inbox, last = self.inbox, run.heard_at
        self._clock, self._limit = clock, clock + self._slack
        if run.going_on:
            self._lag_low = min(self._lag_low, run.lag - run.samples)
        if last is None or now - last > _PAUSE_SECONDS:
            self._lag_low, self._lag_until = _FAR_BEHIND, now + _LAG_WINDOW_SECONDS
        run.heard_at = now
        if len(inbox) == MAX_PER_TICK:
            self.flooded += 1
        for data in inbox:
            lag = clock - run.pts
            if run.going_on and abs(lag) <= self._slack and run.takes(data):
                if lag != run.lag:
                    self._lag_changed(lag)
                self.put(data)
            else:
                self._end_run()
                self._accept(data, now, clock)
                self._begin_run()
        inbox.clear()
        self._look_at_clock(now, clock)

    def put(self, data: bytes) -> None:
        """A datagram that the run has taken, into its slot."""
        if not self.grid.muted:
            run = self.run
            audio = run.decode(data[HEADER_BYTES:], 2)
            self.grid.ready.append((run.pts - run.samples, audio, 0, None))

    def _look_at_clock(self, now: float, clock: int) -> None:
        if self._keys.pressed:
            self._time_out_keys(now)
        lag = clock - self.start
        self._lag_low = min(lag, self._lag_low)
        if lag > _HOLE_REPORT_SAMPLES:
            self._report_hole()
        if now >= self._lag_until:
            self._catch_up(now)

    def rest(self, now: float, clock: int) -> None:
        """What a tick without packets may still bring: the end of a hold, of a hole, of a key."""
        run = self.run
        if run.going_on and clock - run.pts <= _HOLE_REPORT_SAMPLES:
            return
        self._clock, self._limit = clock, clock + self._slack
        for ordered in self.buffer.release(now) if self.buffer.held else ():
            self._take(ordered, now)
        if self._keys.pressed:
            self._time_out_keys(now)
        if clock - self.start > _HOLE_REPORT_SAMPLES:
            self._report_hole()

    # --- the run ----------------------------------------------------------------------------

    def _begin_run(self) -> None:
        """If what follows may take the short way: nothing is held, and slots begin with packets."""
        buffer, grid, run = self.buffer, self.grid, self.run
        ssrc = buffer.ssrc
        if self._fast_type == _NO_FAST_PATH or ssrc is None or buffer.held or grid.part:
            return
        lag = self._transit + self._next_timestamp - grid.start
        if self._keys.pressed or self._next_timestamp >= _TIMESTAMPS or abs(lag) > self._slack:
            return
        run.pts, run.lag = grid.start, lag
        run.begin(self._fast_type, buffer.expected, self._next_timestamp, ssrc)

    def _end_run(self) -> None:
        self._count_run()
        self.run.end()

    def _count_run(self) -> None:
        """Brings up to date what the run has left behind."""
        run = self.run
        if not run.going_on:
            return
        samples = run.pts - run.since
        packets = samples // run.samples
        run.since = self.grid.start = run.pts
        self._types[self._fast_type] += packets
        self.buffer.expected = (self.buffer.expected + packets) & 0xFFFF
        self._next_timestamp += samples
        self._smooth(run.pts)

    def _smooth(self, pts: int) -> None:
        """The packets before `pts` came in even steps (RFC 3550 A.8)."""
        run = self.run
        self._jitter *= _CALMER ** ((pts - run.smooth_from) // run.samples)
        run.smooth_from = pts

    def _lag_changed(self, lag: int) -> None:
        """The packet that was just taken came earlier or later than the one before."""
        run = self.run
        self._smooth(run.pts - run.samples)
        self._jitter += (abs(lag - run.lag) - self._jitter) / 16
        run.smooth_from = run.pts
        self._transit += lag - run.lag
        run.lag = lag

    def report_block(self, now: float) -> ReportBlock | None:
        self._count_run()
        self._reception.drain(now)
        jitter = self._jitter * self._clock_rate / RTP_CLOCK
        return self._reception.report_block(int(jitter), now)

    def collect(self, now: float, clock: int) -> None:
        """Takes what the lane has decoded since the last tick; for a track with a `deferral`."""
        self._clock, self._limit = clock, clock + self._slack
        if self.deferral is not None:
            for settled in self.deferral.arrived():
                self._recovered, self._shed = settled.recovered, self._shed + settled.shed
                self._settle(settled.ordered, now, settled.decoder)

    def submit(self) -> None:
        """Hands this tick's packets to the lane; for a track with a `deferral`."""
        if self.deferral is not None:
            self.deferral.send(self._packet_samples)

    def stats(self) -> TrackStats:
        self._count_run()
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
            recovered=self.recovered,
            overloaded=0 if self.deferral is None else self.deferral.overloaded,
            goodbye=self._reception.said_goodbye,
            epochs=buffer.epochs,
            ssrc=buffer.ssrc,
            last_packet=self.last_packet,
        )

    def _accept(self, data: bytes, now: float, clock: int) -> None:
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
            if (unit_clock := self._unit_clocks.get(number)) is not None:
                packet = packet._replace(timestamp=unit_clock.units(packet.timestamp))
            self._clock_rate = RTP_CLOCK if unit_clock is None else unit_clock.rate
            self._measure_jitter(packet, clock)
        for ordered in self.buffer.insert(packet, now):
            self._take(ordered, now)
        if self.buffer.held:
            for ordered in self.buffer.release(now):
                self._take(ordered, now)

    def _measure_jitter(self, packet: RtpPacket, clock: int) -> None:
        # RFC 3550 A.8; a new stream, or a clock set anew, has no transit to compare with.
        transit = clock - packet.timestamp
        deviation = abs(transit - self._transit)
        self._transit = transit
        if packet.ssrc == self.buffer.ssrc and deviation < RTP_CLOCK:
            self._jitter += (deviation - self._jitter) / 16

    def _take(self, ordered: Ordered, now: float) -> None:
        """A packet whose turn it is."""
        decoder = self._decoders.get(ordered.packet.payload_type)
        if self.deferral is not None:
            self.deferral.put(ordered, decoder, muted=self.grid.muted)
        else:
            self._settle(ordered, now, decoder)

    def _settle(self, ordered: Ordered, now: float, decoder: Decoder | None) -> None:
        """Gives a packet its place."""
        packet = ordered.packet
        number, payload = packet.payload_type, packet.payload
        self._lost += ordered.lost
        if ordered.begins:
            self._anchor(packet.timestamp)
        if decoder is not None:
            if payload:
                self._take_audio(decoder, packet.timestamp, payload, now)
                self.run.decode = decoder.two_args
                fast = decoder.octet_is_unit and not self._watched and self.deferral is None
                self._fast_type = number if fast else _NO_FAST_PATH
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
        elif number in self._decoders:  # what the lane found to be none of its codec's
            self.bad += 1
            self._lost += 1
        else:
            self.unsupported += 1

    def _take_audio(self, decoder: Decoder, timestamp: int, payload: bytes, now: float) -> None:
        samples = decoder.units(payload)
        hole = signed(timestamp - self._next_timestamp)
        if hole or self._lost:
            self._cross(hole, timestamp)
        self._lost, self._comfort, self._shed = 0, False, 0
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
            self._make_up(missing)
        if hole > missing:
            # The sequence is whole, or the loss does not fill the hole: nothing was sent (DTX).
            cause = GapCause.SHED if self._shed else self.hole_cause
            self.grid.skip(hole - missing, cause or GapCause.SILENCE_SUPPRESSED)

    def _make_up(self, missing: int) -> None:
        """Fills a loss with what the codec has recovered of its end; the rest is a gap."""
        recovered = self._recovered[-missing * self.grid.sample_bytes :]
        units = len(recovered) // self.grid.sample_bytes
        packets = units // self._packet_samples
        if missing > units:
            self.grid.skip(missing - units, GapCause.NETWORK_LOSS, self._lost - packets)
        if recovered:
            self.recovered += packets
            self.grid.conceal(recovered)

    def _anchor(self, timestamp: int) -> None:
        """Ties a timestamp to a place: here if that is near the tick's slot, else to that slot."""
        grid = self.grid
        if self._carried is not None:
            self._carry(self._carried, timestamp)
        elif not self._started:
            self._started = True
            grid.start = self._clock - self._clock % grid.chunk_samples
        elif self._clock - grid.frontier >= 2 * grid.chunk_samples:
            self._skip_to(self._clock, self._cause(), self._lost)
        self._lost = 0
        self._next_timestamp = timestamp

    def _carry(self, carried: Carried, timestamp: int) -> None:
        """The first packet of a leg that moved here takes its place."""
        grid = self.grid
        here = self._clock - self._clock % grid.chunk_samples
        place = carried.place(self.buffer.ssrc, timestamp, here)
        if carried.since is None:
            self._started = True
            grid.start = place - place % grid.chunk_samples
            grid.append(bytes((place - grid.start) * grid.sample_bytes))
        elif place > grid.frontier:
            grid.skip(place - grid.frontier, GapCause.SOURCE_SWITCH)
        self._carried = None

    def _report_hole(self) -> None:
        """Tells what has not come yet and would be late by now."""
        self._end_run()
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
            self._end_run()
            self._skip_to(self.grid.start + behind, GapCause.ARRIVED_LATE)
        self._lag_low, self._lag_until = _FAR_BEHIND, now + _LAG_WINDOW_SECONDS

    def _cause(self) -> GapCause:
        if self._carried is not None:
            return GapCause.SOURCE_SWITCH
        if self.hole_cause is not None:
            return self.hole_cause
        return GapCause.SILENCE_SUPPRESSED if self._comfort else GapCause.NETWORK_LOSS

    def _time_out_keys(self, now: float) -> None:
        for key in self._keys.handle_timeout(now):
            self._tell_key(key, min(self._event_rates.values(), default=RTP_CLOCK))

    def _tell_key(self, key: KeyPress, rate: int) -> None:
        clock = next((c for c in self._unit_clocks.values() if c.rate == rate), None)
        timestamp = key.timestamp if clock is None else clock.look(key.timestamp)
        ahead = signed(timestamp - self._next_timestamp)
        if abs(ahead) > _FARTHEST_KEY:  # its clock is not the audio's
            ahead = 0
        pts = max(0, self.grid.frontier + ahead)
        self.grid.tell(Dtmf(self.handle, key.digit, key.duration * 1000 // rate, pts))
