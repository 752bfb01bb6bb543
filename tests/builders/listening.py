"""A call that listens: tracks, ticks and numbered packets."""

from __future__ import annotations

from collections.abc import Mapping

from siprec_worker.media.call_audio import CallAudio, TickOutput
from siprec_worker.media.model import AudioChunk, AudioFormat, Encoding
from siprec_worker.media.track import Track

from tests.builders.rtp import PACKET, rtp

PAYLOADS = {0: ("PCMU", 8000), 8: ("PCMA", 8000), 13: ("CN", 8000), 101: ("telephone-event", 8000)}
ULAW = AudioFormat(Encoding.G711_ULAW, 8000)
START = 100.0
TICK = 0.02
PHASE = 0.011  # ticks are not on the call's grid


class Call:
    """A CallAudio with legs 0..n-1, ticked every 20 ms."""

    def __init__(
        self,
        legs: int = 1,
        *,
        uplink: AudioFormat = ULAW,
        chunk_ms: int = 20,
        wanted: tuple[int, ...] | None = None,
    ) -> None:
        self.audio = CallAudio(START, uplink=uplink, chunk_ms=chunk_ms)
        self.tracks: list[Track] = [self.audio.add_track(leg, PAYLOADS) for leg in range(legs)]
        self.audio.want(range(legs) if wanted is None else wanted)
        self.ticks = 0

    def tick(
        self, *datagrams: bytes, others: Mapping[int, bytes] | None = None
    ) -> list[TickOutput]:
        """One tick, with these datagrams for leg 0 and one each for others."""
        for datagram in datagrams:
            self.tracks[0].receive(datagram)
        for leg, datagram in (others or {}).items():
            self.tracks[leg].receive(datagram)
        out = self.audio.tick(START + PHASE + self.ticks * TICK)
        self.ticks += 1
        return out

    def idle(self, ticks: int) -> list[TickOutput]:
        return [item for _ in range(ticks) for item in self.tick()]

    def play(self, *numbers: int) -> list[TickOutput]:
        """One numbered packet a tick."""
        return [item for number in numbers for item in self.tick(rtp(number))]


def shape(items: list[TickOutput]) -> list[object]:
    """(slot, number of the packet) of chunks of one leg, other things as they are."""
    return [
        (item.pts // PACKET, item.legs[0].data[0]) if isinstance(item, AudioChunk) else item
        for item in items
    ]
