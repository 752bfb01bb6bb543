"""One m-line of the fork: datagrams in, slots of audio, gaps and keys out."""

from __future__ import annotations

from collections import deque

from siprec_worker.errors import RtpError
from siprec_worker.media.carried import Carried, Reached, Tie
from siprec_worker.media.decode import Decoder, silence_unit
from siprec_worker.media.deferred import Deferral, Lane
from siprec_worker.media.grid import ChunkGrid
from siprec_worker.media.interarrival import Interarrival
from siprec_worker.media.jitter import Ordered, ReorderBuffer
from siprec_worker.media.level import level_dbm0
from siprec_worker.media.model import AudioFormat, Dtmf, GapCause, PacketHeard, TrackStats
from siprec_worker.media.payload_table import RTP_CLOCK, Payloads, PayloadTable
from siprec_worker.media.plain_run import PlainRun
from siprec_worker.media.reception import Reception
from siprec_worker.media.timeline import Timeline
from siprec_worker.media.unit_clock import signed
from siprec_worker.protocol.dtmf import KeyPress, KeyReceiver
from siprec_worker.protocol.rtcp import ReportBlock
from siprec_worker.protocol.rtp import HEADER_BYTES, parse_rtp

MAX_PER_TICK = 256  # 5 s: the audio of a call that another worker still has a say in waits here
_HOLE_REPORT_SAMPLES = 1 * RTP_CLOCK  # a hole is told in such pieces while it lasts
_PAUSE_SECONDS = 0.1  # after a longer one the lag is observed anew
_NO_FAST_PATH = -1
_FARTHEST_KEY = 60 * RTP_CLOCK
_TIMESTAMPS = 1 << 32


class Track:
    """Give `receive` every datagram, call `drain` once a tick, take what is due from `grid.ready`.

    What is where on the grid is the timeline's to say.
    """

    __slots__ = (
        "_fast_type", "_keys", "_lane", "_pace", "_reception", "_table", "_types", "_uplink",
        "_watched", "bad", "buffer", "deferral", "flooded", "grid", "handle", "heard", "hold_ms",
        "inbox", "receive", "receive_rtcp", "run", "timeline", "unsupported",
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
        self.timeline = Timeline(self.grid, hold_ms)
        self.heard: list[PacketHeard] = []  # of a watched track; who takes them empties it
        self._uplink = uplink
        self._lane = lane
        self.deferral: Deferral | None = None  # made when a codec is heavy, and kept
        self._reception = Reception(self.buffer)
        self.receive_rtcp = self._reception.inbox.append
        self._keys = KeyReceiver()
        self._watched = False
        self._pace = Interarrival()
        self.bad = self.unsupported = self.flooded = 0
        self._types: dict[int, int] = {}
        self._fast_type = _NO_FAST_PATH
        self.set_payloads(payloads)

    def set_payloads(self, payloads: Payloads) -> None:
        """Another payload map, after a re-INVITE; positions and counts go on."""
        self._end_run()
        self._fast_type = _NO_FAST_PATH
        self._table = PayloadTable(payloads, self._uplink)
        if self.deferral is None and self._table.heavy:
            self.deferral = Deferral(self._lane, self.grid.sample_bytes)

    def expect_silence(self, cause: GapCause | None) -> None:
        """What holes are called from now on; None: by their look."""
        self.timeline.hole_cause = cause

    def carry_on(self, carried: Carried) -> None:
        """Goes on with a leg of another worker. Before the first packet."""
        self.timeline.carry_on(carried)

    @property
    def tie(self) -> Tie | None:
        """Where the next packet belongs, for another worker; None before the first."""
        self._count_run()
        return None if self.deferral is not None else self.timeline.tie(self.buffer.ssrc)

    @property
    def reached(self) -> Reached | None:
        """As `tie`, of a leg that brings nothing more here."""
        tie = self.tie
        return None if tie is None else Reached(tie, self.buffer.expected)

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
        inbox, timeline, last = self.inbox, self.timeline, run.heard_at
        timeline.at(clock, len(inbox) + len(self.buffer.held))
        if run.going_on:
            timeline.saw(run.lag - run.samples)
        if last is None or now - last > _PAUSE_SECONDS:
            timeline.watch_anew(now)
        run.heard_at = now
        if len(inbox) == MAX_PER_TICK:
            self.flooded += 1
        left = len(inbox)
        for data in inbox:
            left -= 1
            lag = clock - run.pts
            if run.going_on and timeline.within_reach(lag) and run.takes(data):
                if lag != run.lag:
                    self._lag_changed(lag)
                self.put(data)
            else:
                self._end_run()
                timeline.following = left
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
        timeline = self.timeline
        if timeline.unplaced:
            self._count_run()
            timeline.tell_unplaced()
        if self._keys.pressed:
            self._time_out_keys(now)
        lag = clock - self.start
        timeline.saw(lag)
        if lag > _HOLE_REPORT_SAMPLES:
            self._end_run()
            timeline.report_hole()
        if timeline.falls_behind(now):
            self._end_run()
            timeline.catch_up(now)

    def rest(self, now: float, clock: int) -> None:
        """What a tick without packets may still bring: the end of a hold, of a hole, of a key."""
        run = self.run
        if run.going_on and clock - run.pts <= _HOLE_REPORT_SAMPLES:
            return
        timeline = self.timeline
        timeline.at(clock, len(self.buffer.held))
        timeline.following = 0
        for ordered in self.buffer.release(now) if self.buffer.held else ():
            self._take(ordered, now)
        if timeline.unplaced:
            timeline.tell_unplaced()
        if self._keys.pressed:
            self._time_out_keys(now)
        if clock - self.start > _HOLE_REPORT_SAMPLES:
            self._end_run()
            timeline.report_hole()

    # --- the run ----------------------------------------------------------------------------

    def _begin_run(self) -> None:
        """If what follows may take the short way: nothing is held, and slots begin with packets."""
        buffer, grid, run = self.buffer, self.grid, self.run
        ssrc, timestamp = buffer.ssrc, self.timeline.next_timestamp
        if self._fast_type == _NO_FAST_PATH or ssrc is None or buffer.held or grid.part:
            return
        lag = self._pace.transit + timestamp - grid.start
        if self._keys.pressed or timestamp >= _TIMESTAMPS or not self.timeline.within_reach(lag):
            return
        run.pts, run.lag = grid.start, lag
        run.begin(self._fast_type, buffer.expected, timestamp, ssrc)

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
        self.timeline.next_timestamp += samples
        self._smooth(run.pts)

    def _smooth(self, pts: int) -> None:
        """The packets before `pts` came in even steps."""
        run = self.run
        self._pace.even((pts - run.smooth_from) // run.samples)
        run.smooth_from = pts

    def _lag_changed(self, lag: int) -> None:
        """The packet that was just taken came earlier or later than the one before."""
        run = self.run
        self._smooth(run.pts - run.samples)
        self._pace.shift(lag - run.lag)
        run.smooth_from = run.pts
        run.lag = lag

    # --- what it says of itself -------------------------------------------------------------

    def report_block(self, now: float) -> ReportBlock | None:
        self._count_run()
        self._reception.drain(now)
        jitter = self._pace.jitter * self._pace.rate / RTP_CLOCK
        return self._reception.report_block(int(jitter), now)

    def collect(self, now: float, clock: int) -> None:
        """Takes what the lane has decoded since the last tick; for a track with a `deferral`."""
        if self.deferral is None:
            return
        timeline, arrived = self.timeline, self.deferral.arrived()
        timeline.at(clock, len(arrived))
        for place, settled in enumerate(arrived, 1):
            timeline.following = len(arrived) - place
            timeline.recovered_audio = settled.recovered
            timeline.shed += settled.shed
            self._settle(settled.ordered, now, settled.decoder)
        if timeline.unplaced:
            timeline.tell_unplaced()

    def submit(self) -> None:
        """Hands this tick's packets to the lane; for a track with a `deferral`."""
        if self.deferral is not None:
            self.deferral.send(self.timeline.packet_samples)

    def stats(self) -> TrackStats:
        self._count_run()
        buffer, timeline = self.buffer, self.timeline
        return TrackStats(
            packets=sum(self._types.values()),
            lost=buffer.lost,
            late=buffer.late,
            duplicates=buffer.duplicates,
            bad=self.bad,
            unsupported=self.unsupported,
            flooded=self.flooded,
            drift_dropped_ms=timeline.drift_dropped * 1000 // RTP_CLOCK,
            realigned=timeline.realigned,
            jitter_ms=self._pace.jitter * 1000 / RTP_CLOCK,
            payload_types=dict(self._types),
            recovered=timeline.recovered,
            overloaded=0 if self.deferral is None else self.deferral.overloaded,
            goodbye=self._reception.said_goodbye,
            epochs=buffer.epochs,
            ssrc=buffer.ssrc,
            last_packet=self.last_packet,
            after_gap=timeline.late,
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
        table, buffer = self._table, self.buffer
        if number in table.decoders:
            if (unit_clock := table.unit_clocks.get(number)) is not None:
                packet = packet._replace(timestamp=unit_clock.units(packet.timestamp))
            self._pace.rate = RTP_CLOCK if unit_clock is None else unit_clock.rate
            same = packet.ssrc == buffer.ssrc
            self._pace.measure(clock - packet.timestamp, same_stream=same)
        for ordered in buffer.insert(packet, now):
            self._take(ordered, now)
        if buffer.held:
            for ordered in buffer.release(now):
                self._take(ordered, now)
        if buffer.strays:
            self.timeline.unplaced += buffer.strays if number in table.decoders else 0
            buffer.strays = 0

    def _take(self, ordered: Ordered, now: float) -> None:
        """A packet whose turn it is."""
        decoder = self._table.decoders.get(ordered.packet.payload_type)
        if self.deferral is not None:
            self.deferral.put(ordered, decoder, muted=self.grid.muted)
        else:
            self._settle(ordered, now, decoder)

    def _settle(self, ordered: Ordered, now: float, decoder: Decoder | None) -> None:
        """Gives a packet its place."""
        packet, table = ordered.packet, self._table
        number, payload = packet.payload_type, packet.payload
        self.timeline.lost += ordered.lost
        if ordered.begins:
            self.timeline.anchor(self.buffer.ssrc, packet.timestamp, packet.sequence)
        if decoder is not None:
            if payload:
                self._take_audio(decoder, packet.timestamp, payload, now)
                self.run.decode = decoder.two_args
                fast = decoder.octet_is_unit and not self._watched and self.deferral is None
                self._fast_type = number if fast else _NO_FAST_PATH
        elif number in table.event_rates:
            self._take_event(payload, packet.timestamp, table.event_rates[number], now)
        elif number in table.comfort_types:
            self.timeline.comfort = True
        elif number in table.decoders:  # what the lane found to be none of its codec's
            self.bad += 1
            self.timeline.lost += 1
        else:
            self.unsupported += 1

    def _take_audio(self, decoder: Decoder, timestamp: int, payload: bytes, now: float) -> None:
        samples, timeline, grid = decoder.units(payload), self.timeline, self.grid
        placed = timeline.place(self.buffer.ssrc, timestamp, samples)
        if samples != timeline.packet_samples:
            timeline.packet_samples = samples
            self.buffer.expect_packets_of(samples / RTP_CLOCK)
        if not placed:
            return
        if self._watched:
            level = level_dbm0(decoder.to_linear(payload))
            duration = samples * 1000 // RTP_CLOCK
            self.heard.append(PacketHeard(self.handle, now, grid.frontier, duration, level))
        if grid.muted:
            grid.append(grid.silence * samples)
        else:
            grid.append(decoder.to_uplink(payload))

    # --- keys -------------------------------------------------------------------------------

    def _take_event(self, payload: bytes, timestamp: int, rate: int, now: float) -> None:
        try:
            keys = self._keys.receive(payload, timestamp, now)
        except RtpError:
            self.bad += 1
            return
        for key in keys:
            self._tell_key(key, rate)

    def _time_out_keys(self, now: float) -> None:
        for key in self._keys.handle_timeout(now):
            self._tell_key(key, self._table.event_rate)

    def _tell_key(self, key: KeyPress, rate: int) -> None:
        timestamp = self._table.look(key.timestamp, rate)
        ahead = signed(timestamp - self.timeline.next_timestamp)
        if abs(ahead) > _FARTHEST_KEY:  # its clock is not the audio's
            ahead = 0
        pts = max(0, self.grid.frontier + ahead)
        self.grid.tell(Dtmf(self.handle, key.digit, key.duration * 1000 // rate, pts))
