"""What audio becomes between a packet and a sink: formats, chunks, gaps, keys, utterances.

Enum values are those of voicefork.agent.v1, so that a sink translates by value. Positions (`pts`)
count 1/8000 s since the call's start, whatever the uplink's rate; `AudioFormat.pts_factor` makes
samples of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum, IntFlag
from typing import NamedTuple


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

    @property
    def pts_factor(self) -> int:
        """Samples in a position of 1/8000 s."""
        return self.sample_rate // 8000


class LegAudio(NamedTuple):  # a tuple: made for every packet, a third of a dataclass's cost
    """chunk_ms of one leg, in the uplink's encoding."""

    handle: int
    data: bytes
    flags: int = 0


class AudioChunk(NamedTuple):
    """Audio of one moment: legs that begin at the same pts."""

    pts: int
    legs: tuple[LegAudio, ...]


class PacketHeard(NamedTuple):
    """One audio packet of a watched leg, for who measures what the caller hears."""

    leg: int
    at: float  # the tick that brought it
    pts: int
    duration_ms: int
    level_dbm0: float


@dataclass(frozen=True, slots=True)
class Gap:
    """[from_pts, to_pts) of a leg that will not come; empty: `packets` were dropped there."""

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


@dataclass(frozen=True, slots=True)
class TrackStats:
    """What became of one m-line's packets. All counts only grow."""

    packets: int = 0  # datagrams that were RTP
    lost: int = 0  # given up; those of them that came afterwards are `late`
    late: int = 0
    duplicates: int = 0
    bad: int = 0  # datagrams that were not RTP
    unsupported: int = 0  # payload types nobody agreed on or nobody can decode
    flooded: int = 0  # ticks in which more came than is ever looked at
    drift_dropped_ms: int = 0  # audio dropped because the sender's clock ran ahead
    realigned: int = 0  # times the leg was moved forward because it fell behind
    jitter_ms: float = 0.0  # RFC 3550 A.8, no finer than the tick
    payload_types: dict[int, int] = field(default_factory=dict)  # packets by payload type
    recovered: int = 0  # of the lost, made up for by the codec (FEC, concealment)
    overloaded: int = 0  # packets that came while the decoders had too much to do
    goodbye: bool = False  # the sender has said RTCP BYE
    epochs: int = 0  # streams heard: SSRC changes and restarts count
    ssrc: int | None = None
    last_packet: float | None = None  # the tick that brought it
    after_gap: int = 0  # packets that came all at once, after they had been told as missing
