"""What audio becomes between a packet and a sink: formats, chunks, gaps, keys, utterances.

Enum values are those of voicefork.agent.v1, so that a sink translates by value. Positions (`pts`)
are samples at the uplink's rate since the call's start.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum, IntFlag


class Encoding(IntEnum):
    PCM_S16LE = 1
    G711_ULAW = 2
    G711_ALAW = 3


class GapCause(IntEnum):
    NETWORK_LOSS = 1
    SILENCE_SUPPRESSED = 2
    ARRIVED_LATE = 3
    SHED = 4
    PAUSED = 5
    ON_HOLD = 6
    REDACTED = 7
    SOURCE_SWITCH = 8
    RESUME_TOO_OLD = 9


class AudioFlag(IntFlag):
    NONE = 0
    CONCEALED = 1
    COMFORT_NOISE = 2
    REDACTED = 4
    LATE = 8


class PlayStatus(IntEnum):
    STARTED = 1
    PROGRESS = 2
    FINISHED = 3
    CUT = 4
    STARVED = 5
    OVERRUN = 6
    MARK = 7


class TalkbackCodec(Enum):
    """What Asterisk's externalMedia takes both ways (`slin16` over RTP is one-way there)."""

    PCMU = 1
    PCMA = 2
    G722 = 3


@dataclass(frozen=True, slots=True)
class AudioFormat:
    encoding: Encoding
    sample_rate: int  # Hz

    @property
    def bytes_per_sample(self) -> int:
        return 2 if self.encoding is Encoding.PCM_S16LE else 1


@dataclass(frozen=True, slots=True)
class LegAudio:
    """chunk_ms of one leg, in the uplink's encoding."""

    handle: int
    data: bytes
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Gap:
    """[from_pts, to_pts) of a leg that will not come."""

    leg: int
    from_pts: int
    to_pts: int
    cause: GapCause
    packets: int = 0


@dataclass(frozen=True, slots=True)
class Dtmf:
    leg: int
    digit: str
    duration_ms: int
    pts: int


@dataclass(frozen=True, slots=True)
class Speech:
    leg: int
    started: bool
    pts: int


@dataclass(frozen=True, slots=True)
class PlayState:
    utterance_id: str
    status: PlayStatus
    played_ms: int = 0
    queued_ms: int = 0
    mark: str = ""
