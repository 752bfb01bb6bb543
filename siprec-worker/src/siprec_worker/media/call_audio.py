"""All tracks of one call, put in step: slots of the legs that begin together leave together."""

from __future__ import annotations

from collections.abc import Iterable

from siprec_worker.media.carried import Carried, Reached, Tie
from siprec_worker.media.deferred import InlineLane, Lane
from siprec_worker.media.grid import LegEvent
from siprec_worker.media.model import (
    AudioChunk,
    AudioFormat,
    Encoding,
    GapCause,
    LegAudio,
    PacketHeard,
    TrackStats,
)
from siprec_worker.media.payload_table import RTP_CLOCK, Payloads
from siprec_worker.media.track import Track
from siprec_worker.protocol.rtcp import ReportBlock
from siprec_worker.protocol.rtp import HEADER_BYTES

TickOutput = AudioChunk | LegEvent | PacketHeard
_new = tuple.__new__  # a named tuple without its keyword handling: twice a tick for every call
UPLINK = AudioFormat(Encoding.PCM_S16LE, RTP_CLOCK)
UPLINK_RATES = {
    Encoding.PCM_S16LE: (8000, 16_000, 24_000),
    Encoding.G711_ULAW: (8000,),
    Encoding.G711_ALAW: (8000,),
}


def can_make(uplink: AudioFormat) -> bool:
    """A format in which a call's audio can be given."""
    return uplink.sample_rate in UPLINK_RATES[uplink.encoding]


class CallAudio:
    """Give each track its datagrams, and call `tick` after every drain of the sockets.

    A slot waits for a leg that is late, but lives, until `hold_ms` after its end; then the leg
    follows alone. Nothing waits for a leg that was not heard within `hold_ms`.
    """

    __slots__ = (
        "_chunk_ms",
        "_chunk_samples",
        "_deferred",
        "_even",
        "_hold",
        "_hold_ms",
        "_lane",
        "_others",
        "_patience",
        "_queues",
        "_runs",
        "_start",
        "_tracks",
        "_uplink",
        "_wanted",
        "_watching",
    )

    def __init__(
        self,
        start: float,
        *,
        uplink: AudioFormat = UPLINK,
        chunk_ms: int = 20,
        hold_ms: int = 40,
        lane: Lane | None = None,
    ) -> None:
        """`start` is the moment of pts 0; heavy codecs are decoded on `lane`, else here.

        Raises ValueError for an uplink that is neither PCM at 8, 16 or 24 kHz nor G.711.
        """
        if not can_make(uplink):
            raise ValueError(f"no uplink of {uplink.encoding.name} at {uplink.sample_rate} Hz")
        self._start = start
        self._uplink = uplink
        self._chunk_ms = chunk_ms
        self._chunk_samples = RTP_CLOCK * chunk_ms // 1000
        self._hold_ms = hold_ms
        self._hold = hold_ms / 1000
        self._patience = self._chunk_samples + RTP_CLOCK * hold_ms // 1000
        self._lane = lane or InlineLane()
        self._tracks: dict[int, Track] = {}
        self._deferred: list[Track] = []
        self._watching = False
        self._select(())

    def add_track(self, handle: int, payloads: Payloads) -> Track:
        """A new leg; its `receive` takes the datagrams. It is not wanted yet."""
        track = Track(handle, payloads, self._uplink, self._chunk_ms, self._hold_ms, self._lane)
        self._tracks[handle] = track
        self._find_deferred()
        self._select(self._wanted)
        return track

    def update_track(self, handle: int, payloads: Payloads) -> None:
        """Another payload map for a leg, after a re-INVITE."""
        self._tracks[handle].set_payloads(payloads)
        self._find_deferred()

    def carry_on(self, handle: int, carried: Carried) -> None:
        """The leg was another worker's; before its first packet."""
        self._tracks[handle].carry_on(carried)

    def leave(self, leaving: bool) -> None:
        """Another worker is about to hear the legs: what is not heard here is no hole."""
        for track in self._tracks.values():
            track.timeline.leaving = leaving

    def tie(self, handle: int) -> Tie | None:
        return self._tracks[handle].tie

    def reached(self, handle: int) -> Reached | None:
        return self._tracks[handle].reached

    def remove_track(self, handle: int) -> None:
        del self._tracks[handle]
        self._find_deferred()
        self._select(track for track in self._wanted if track.handle != handle)

    def want(self, handles: Iterable[int]) -> None:
        """The legs whose audio, gaps and keys `tick` gives; the others are only counted."""
        wanted = set(handles)
        self._select(track for handle, track in self._tracks.items() if handle in wanted)
        for handle, track in self._tracks.items():
            track.grid.mute(handle not in wanted)

    def watch(self, handles: Iterable[int]) -> None:
        """The legs that `tick` gives a PacketHeard of every audio packet of, wanted or not."""
        watched = set(handles)
        self._watching, self._even = bool(watched), False
        for handle, track in self._tracks.items():
            track.watch(handle in watched)

    def expect_silence(self, handle: int, cause: GapCause | None) -> None:
        """What holes of a leg are called from now on (ON_HOLD, PAUSED); None: by their look."""
        self._tracks[handle].expect_silence(cause)

    def position(self, now: float) -> int:
        """The pts of a moment; 0 for one before the start, as a tick that was due then may be."""
        return max(0, self._clock(now))

    def tick(self, now: float) -> list[TickOutput]:
        """What is due: of each leg in rising pts, legs of the same pts together."""
        clock = self._clock(now)
        if self._even:
            chunk = self._plain_chunk(now, clock)
            if chunk is not None:
                return [chunk]
        out: list[TickOutput] = []
        for track in self._deferred:
            track.collect(now, clock)
        for track in self._tracks.values():
            if track.inbox:
                track.drain(now, clock)
            else:
                track.rest(now, clock)
            if track.heard:
                out += track.heard
                track.heard.clear()
        for track in self._deferred:
            track.submit()
        while (chunk := self._even_chunk()) is not None:
            out.append(chunk)
        for _, ready in self._queues:
            if ready:
                self._take_due(out, now, clock)
                break
        self._even = self._is_even()
        return out

    def _clock(self, now: float) -> int:
        # To the nearest: ticks and calls begin at whole milliseconds, and a position just below
        # a whole number now and just above it then would look like jitter.
        return round((now - self._start) * RTP_CLOCK)

    def _plain_chunk(self, now: float, clock: int) -> AudioChunk | None:
        """Nearly every tick: each leg has brought just the packet that was due.

        None when one has not; the packets of the others have their slots then.
        """
        legs: list[LegAudio] = []
        for track in self._others:
            if track.inbox:
                track.drain(now, clock)
            else:
                track.rest(now, clock)
        pts = 0
        for run in self._runs:
            data = run.step(now, clock)
            if data is None:
                for track, leg in zip(self._wanted, legs, strict=False):
                    track.grid.ready.append((pts, leg.data, 0, None))
                return None
            pts = run.pts - run.samples
            legs.append(_new(LegAudio, (run.handle, run.decode(data[HEADER_BYTES:], 2), 0)))
        return _new(AudioChunk, (pts, tuple(legs)))

    def _is_even(self) -> bool:
        """All wanted legs are in a run, at the same place, and nothing waits."""
        runs = self._runs
        if not runs or self._deferred or self._watching:
            return False
        pts = runs[0].pts
        return all(run.going_on and run.pts == pts for run in runs) and not any(
            ready for _, ready in self._queues
        )

    def stats(self) -> dict[int, TrackStats]:
        return {handle: track.stats() for handle, track in self._tracks.items()}

    def heard_at(self) -> float | None:
        """When the last packet of any leg came; None before the first."""
        heard = [t.last_packet for t in self._tracks.values() if t.last_packet is not None]
        return max(heard, default=None)

    def report_blocks(self, now: float) -> list[ReportBlock]:
        """What an RTCP receiver report says of the legs; ask every few seconds."""
        blocks = (track.report_block(now) for track in self._tracks.values())
        return [block for block in blocks if block is not None]

    def _find_deferred(self) -> None:
        self._even = False
        self._deferred = [t for t in self._tracks.values() if t.deferral is not None]

    def _select(self, tracks: Iterable[Track]) -> None:
        self._even = False
        self._wanted = list(tracks)
        self._others = [track for track in self._tracks.values() if track not in self._wanted]
        self._runs = [track.run for track in self._wanted]
        self._queues = [(track.handle, track.grid.ready) for track in self._wanted]

    def _even_chunk(self) -> AudioChunk | None:
        """The usual case, the cheap way: the next slot of every leg has the same pts."""
        legs = []
        first = None
        for handle, ready in self._queues:
            if not ready:
                return None
            pts, audio, flags, _ = ready[0]
            if first is None:
                first = pts
            if audio is None or pts != first:
                return None
            legs.append(_new(LegAudio, (handle, audio, flags)))
        if first is None:
            return None
        for _, ready in self._queues:
            ready.popleft()
        return _new(AudioChunk, (first, tuple(legs)))

    def _take_due(self, out: list[TickOutput], now: float, clock: int) -> None:
        """What is uneven: slots in rising pts, as far as nobody has to be waited for."""
        while (pts := self._lowest(out)) is not None and self._complete(pts, now, clock):
            legs = []
            for handle, ready in self._queues:
                if ready and ready[0][0] == pts:
                    _, audio, flags, _ = ready.popleft()
                    legs.append(LegAudio(handle, audio or b"", flags))
            out.append(AudioChunk(pts, tuple(legs)))

    def _lowest(self, out: list[TickOutput]) -> int | None:
        """The pts of the next slot; events before it are told on the way."""
        lowest = None
        for _, ready in self._queues:
            while ready:
                pts, _, _, event = ready[0]
                if event is None:
                    if lowest is None or pts < lowest:
                        lowest = pts
                    break
                out.append(event)
                ready.popleft()
        return lowest

    def _complete(self, pts: int, now: float, clock: int) -> bool:
        """False while a leg may still bring this slot."""
        if clock >= pts + self._patience:
            return True
        for track in self._wanted:
            grid = track.grid
            if (
                not grid.ready
                and track.start <= pts
                and track.last_packet is not None
                and now - track.last_packet <= self._hold
            ):
                return False
        return True
