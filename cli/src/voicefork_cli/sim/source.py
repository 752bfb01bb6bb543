"""What a party says: 20 ms of G.711 at a time. None is no packet at all.

A source belongs to one port: it keeps its place. The pacing thread reads it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np

from voicefork_cli.measure.clicks import click
from voicefork_cli.measure.packets import PACKET_MS, SAMPLE_RATE
from voicefork_cli.measure.pcm import Pcm, encode, tone

FRAME = SAMPLE_RATE * PACKET_MS // 1000
FRAMES_PER_SECOND = 1000 // PACKET_MS


class Source(Protocol):
    def payload(self, codec: str) -> bytes | None:
        """The next 20 ms, or None to send nothing this time."""


class Mute:
    """Sends no packet, as a channel without media."""

    def payload(self, codec: str) -> bytes | None:
        del codec
        return None


class Tone:
    """A steady tone for ever, of whole Hz: `level_dbm0` as in ITU-T G.711."""

    def __init__(self, hz: int, level_dbm0: float = -10.0) -> None:
        self._hz = hz
        self._level = level_dbm0
        self._frame = -1

    def payload(self, codec: str) -> bytes | None:
        self._frame = (self._frame + 1) % FRAMES_PER_SECOND
        return _second_of(self._hz, self._level, codec)[self._frame]


class Silence(Tone):
    """Packets of digital silence for ever."""

    def __init__(self) -> None:
        super().__init__(0)


class Clip:
    """Samples (int16, 8000 Hz) once, then packets of silence; or over and over."""

    def __init__(self, pcm: Pcm, *, repeat: bool = False) -> None:
        whole = max(1, -(-len(pcm) // FRAME))
        self._frames = np.pad(pcm, (0, whole * FRAME - len(pcm))).reshape(whole, FRAME)
        self._repeat = repeat
        self._frame = -1

    @property
    def seconds(self) -> float:
        return len(self._frames) * PACKET_MS / 1000

    @property
    def is_over(self) -> bool:
        return not self._repeat and self._frame + 1 >= len(self._frames)

    def payload(self, codec: str) -> bytes | None:
        if self.is_over:
            return encode(np.zeros(FRAME, np.int16), codec)
        self._frame = (self._frame + 1) % len(self._frames)
        return encode(self._frames[self._frame], codec)


class Clicks(Clip):
    """A 10 ms chirp at the end of every `spacing_ms`, for mouth to ear (measure.clicks).

    A spacing that is no multiple of 20 ms puts them at every place of a packet.
    """

    def __init__(self, spacing_ms: int = 731) -> None:
        one = np.zeros(SAMPLE_RATE * spacing_ms // 1000, np.int16)
        one[-len(click()) :] = click()
        until_whole_packets = PACKET_MS // math.gcd(spacing_ms, PACKET_MS)
        super().__init__(np.tile(one, until_whole_packets), repeat=True)


class Script:
    """Sources one after the other, each for its seconds; the last, with None, for ever."""

    def __init__(self, parts: Sequence[tuple[Source, float | None]]) -> None:
        if not parts:
            raise ValueError("a script needs at least one part")
        self._parts = [
            (source, None if seconds is None else round(seconds * FRAMES_PER_SECOND))
            for source, seconds in parts
        ]
        self._played = 0

    def payload(self, codec: str) -> bytes | None:
        source, frames = self._parts[0]
        while frames is not None and self._played >= frames and len(self._parts) > 1:
            self._parts.pop(0)
            self._played = 0
            source, frames = self._parts[0]
        if frames is not None and self._played >= frames:
            return Silence().payload(codec)
        self._played += 1
        return source.payload(codec)


@lru_cache(maxsize=256)
def _second_of(hz: int, level_dbm0: float, codec: str) -> tuple[bytes, ...]:
    """50 payloads: a tone of whole Hz repeats itself every second."""
    pcm = tone(hz, SAMPLE_RATE, level_dbm0)
    coded = encode(pcm, codec)
    return tuple(coded[at : at + FRAME] for at in range(0, SAMPLE_RATE, FRAME))
