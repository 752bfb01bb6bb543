"""Decoding off the event loop: packets whose turn has come go to a lane, and come back in order.

What comes back a tick later is everything of that track: audio, keys, comfort noise. So nothing
overtakes anything, and the track's clockwork sees a stream that is one tick later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

from siprec_worker.errors import RtpError
from siprec_worker.media.decode import Decoder
from siprec_worker.media.jitter import Ordered

MAX_RECOVERED = 3
"""Lost packets in a row that are made up for (60 ms); of more, the last three."""
MAX_IN_FLIGHT = 16
"""Jobs of one track; a lane that is further behind gets no more of it."""


class Lane(Protocol):
    """Runs jobs in the order they are given, one at a time."""

    def submit(self, job: Callable[[], None]) -> bool:
        """Takes a job that does not raise; False when it has too much to do."""


class InlineLane:
    """Runs every job at once, on the caller's thread."""

    def submit(self, job: Callable[[], None]) -> bool:
        job()
        return True


class Settled(NamedTuple):
    """A packet that may take its place: as it came, or with its payload decoded."""

    ordered: Ordered
    decoder: Decoder | None  # what makes audio of the payload now; None: no audio, or unusable
    recovered: bytes = b""  # audio in place of lost packets before it
    shed: int = 0  # packets before it that the lane had no time for


class _Job:
    """What one track had in one tick. Only the lane touches it until `done`."""

    __slots__ = ("done", "items", "packet_units", "results", "unit_bytes")

    def __init__(
        self, items: list[tuple[Ordered, Decoder | None]], unit_bytes: int, packet_units: int
    ) -> None:
        self.items = items
        self.unit_bytes = unit_bytes
        self.packet_units = packet_units
        self.results: list[Settled] = []
        self.done = False

    def run(self) -> None:
        try:
            for ordered, decoder in self.items:
                self._one(ordered, decoder)
        finally:
            self.done = True

    def _one(self, ordered: Ordered, decoder: Decoder | None) -> None:
        payload = ordered.packet.payload
        if decoder is None or not decoder.heavy or not payload:
            self.results.append(Settled(ordered, decoder))
            return
        try:
            recovered = self._recovered(ordered, decoder)
            pcm = decoder.to_uplink(payload)
        except RtpError:
            self.results.append(Settled(ordered, None))
            return
        packet = ordered.packet._replace(payload=pcm)
        decoded = decoded_in(self.unit_bytes)
        self.results.append(Settled(ordered._replace(packet=packet), decoded, recovered))

    def _recovered(self, ordered: Ordered, decoder: Decoder) -> bytes:
        if not ordered.lost or ordered.begins or decoder.recover is None:
            return b""
        packets = min(ordered.lost, MAX_RECOVERED)
        return decoder.recover(self.packet_units, packets, ordered.packet.payload)


_DECODED: dict[int, Decoder] = {}


def decoded_in(unit_bytes: int) -> Decoder:
    """The decoder of what is decoded already."""
    decoder = _DECODED.get(unit_bytes)
    if decoder is None:
        decoder = Decoder(bytes, bytes, units=lambda audio: len(audio) // unit_bytes)
        _DECODED[unit_bytes] = decoder
    return decoder


def _length_only(decoder: Decoder, payload: bytes, unit_bytes: int) -> Decoder | None:
    """Silence as long as a packet; None for a payload that is none of the codec's."""
    try:
        units = decoder.units(payload)
    except RtpError:
        return None

    def silence(_: bytes) -> bytes:
        return bytes(unit_bytes * units)

    return Decoder(silence, silence, units=lambda _: units)


class Deferral:
    """One track's way through the lane: `put` packets, `send` once a tick, `arrived` the next."""

    __slots__ = ("_batch", "_in_flight", "_lane", "_shed", "_unit_bytes", "overloaded")

    def __init__(self, lane: Lane, unit_bytes: int) -> None:
        self._lane = lane
        self._unit_bytes = unit_bytes
        self._batch: list[tuple[Ordered, Decoder | None]] = []
        self._in_flight: deque[_Job] = deque()
        self._shed = 0
        self.overloaded = 0  # packets the lane did not take

    def put(self, ordered: Ordered, decoder: Decoder | None, *, muted: bool) -> None:
        """`muted`: nobody wants to hear it, its length is enough."""
        payload = ordered.packet.payload
        if muted and payload and decoder is not None and decoder.heavy:
            decoder = _length_only(decoder, payload, self._unit_bytes)
        self._batch.append((ordered, decoder))

    def send(self, packet_units: int) -> None:
        """Hands on what was put. `packet_units`: how long a packet is, for lost ones."""
        if not self._batch:
            return
        job = _Job(self._batch, self._unit_bytes, packet_units)
        heavy = any(decoder is not None and decoder.heavy for _, decoder in self._batch)
        self._batch = []
        if not heavy:
            job.run()
        elif len(self._in_flight) >= MAX_IN_FLIGHT or not self._lane.submit(job.run):
            job.items = self._without_audio(job.items)
            job.run()
        self._in_flight.append(job)

    def _without_audio(
        self, items: list[tuple[Ordered, Decoder | None]]
    ) -> list[tuple[Ordered, Decoder | None]]:
        kept = [item for item in items if item[1] is None]
        shed = len(items) - len(kept)
        self.overloaded += shed
        self._shed += shed
        return kept

    def arrived(self) -> list[Settled]:
        """What is through, in order."""
        out: list[Settled] = []
        while self._in_flight and self._in_flight[0].done:
            job = self._in_flight.popleft()
            out += job.results
        if self._shed and not self._in_flight:
            for place, settled in enumerate(out):
                if settled.decoder is not None:
                    out[place] = settled._replace(shed=self._shed)
                    self._shed = 0
                    break
        return out
