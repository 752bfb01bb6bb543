"""What a call is to a vendor: formats, legs, roles, and the opening of a conversation.

Enum values are those of voicefork.agent.v1 and voicefork.handoff.v1. A number that this version
does not know becomes UNSPECIFIED (0), as the contract asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Self


class _WireEnum(IntEnum):
    """An enum of the contract: numbers of a later version read as 0."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        return cls(0) if isinstance(value, int) and value else None


class Encoding(_WireEnum):
    UNSPECIFIED = 0
    PCM_S16LE = 1
    G711_ULAW = 2
    G711_ALAW = 3
    OPUS = 4


class Role(_WireEnum):
    UNSPECIFIED = 0
    PRIMARY = 1  # speaks and escalates; one per call
    SHADOW = 2  # listens only
    ASSIST = 3  # helps the human after the handoff


class LegKind(_WireEnum):
    UNSPECIFIED = 0
    CUSTOMER = 1  # what the carrier's party says
    PBX = 2  # what that party hears
    UNKNOWN = 3


class Consent(_WireEnum):
    UNSPECIFIED = 0
    GRANTED = 1
    IMPLIED = 2
    REFUSED = 3
    UNKNOWN = 4


class GapCause(_WireEnum):
    UNSPECIFIED = 0
    NETWORK_LOSS = 1
    SILENCE_SUPPRESSED = 2
    ARRIVED_LATE = 3
    SHED = 4
    PAUSED = 5
    ON_HOLD = 6
    REDACTED = 7
    SOURCE_SWITCH = 8
    RESUME_TOO_OLD = 9


class PlayStatus(_WireEnum):
    UNSPECIFIED = 0
    STARTED = 1
    PROGRESS = 2
    FINISHED = 3
    CUT = 4
    STARVED = 5
    OVERRUN = 6
    MARK = 7


class CallStatus(_WireEnum):
    UNSPECIFIED = 0
    EARLY = 1
    ANSWERED = 2
    ON_HOLD = 3
    ENDED = 4


class Party(_WireEnum):
    UNSPECIFIED = 0
    CUSTOMER = 1
    BOT = 2
    MUSIC = 3
    AGENT = 4
    RINGING = 5


class PressureLevel(_WireEnum):
    UNSPECIFIED = 0
    NONE = 1
    LARGER_CHUNKS = 2
    SHEDDING = 3


class Severity(_WireEnum):
    UNSPECIFIED = 0
    INFO = 1
    WARNING = 2
    ERROR = 3


class CloseReason(_WireEnum):
    UNSPECIFIED = 0
    CALL_ENDED = 1
    NOT_ANSWERED = 2
    HUMAN_CONNECTED = 3
    LEFT_BOT = 4
    CONSENT_REFUSED = 5
    PROTOCOL_ERROR = 6
    DRAINING = 7
    FORK_LOST = 8  # also made by the SDK when the stream broke and nobody resumed it


class Barge(_WireEnum):
    UNSPECIFIED = 0
    NOT_INTERRUPTIBLE = 1
    AUTO_CLEAR = 2
    PAUSE_AND_ASK = 3
    NOTIFY_ONLY = 4


class Audience(_WireEnum):
    UNSPECIFIED = 0
    CUSTOMER = 1
    AGENT = 2
    BOTH = 3


class Phase(_WireEnum):
    """Where a handoff stands; see handoff.proto."""

    UNSPECIFIED = 0
    RECEIVED = 1
    CALLER_HELD = 2
    CONTEXT_PUBLISHED = 3
    CONTEXT_ACKED = 4
    DIALLING = 5
    RINGING = 6
    ANSWERED = 7
    BRIEFING = 8
    ACCEPTED = 9
    MERGING = 10
    CONNECTED = 11
    FALLBACK = 12
    RETURNED = 13
    FAILED = 14
    CANCELLED = 15
    QUEUED = 16

    @property
    def is_final(self) -> bool:
        return self in _FINAL_PHASES


_FINAL_PHASES = frozenset(
    {Phase.CONNECTED, Phase.RETURNED, Phase.FAILED, Phase.CANCELLED, Phase.QUEUED}
)


class Outcome(_WireEnum):
    """How a handoff ended, or why its last attempt failed; see handoff.proto."""

    UNSPECIFIED = 0
    CONNECTED = 1
    BUSY = 2
    NO_ANSWER = 3
    DECLINED = 4
    QUEUE_CLOSED = 5
    QUEUE_FULL = 6
    UNREACHABLE = 7
    AGENT_HUNG_UP = 8
    CALLER_HUNG_UP = 9
    PBX_UNREACHABLE = 10
    PBX_ERROR = 11
    TIMED_OUT = 12
    CANCELLED = 13
    SUPERSEDED = 14
    ONE_WAY_AUDIO = 15
    QUEUED = 16
    VOICEMAIL = 17
    BACKUP_CENTRE = 18
    CALLBACK = 19
    RETURNED_TO_BOT = 20


class AudioFlag(IntFlag):
    NONE = 0
    CONCEALED = 1
    COMFORT_NOISE = 2
    REDACTED = 4
    LATE = 8


@dataclass(frozen=True, slots=True)
class AudioFormat:
    encoding: Encoding
    sample_rate: int  # Hz

    @property
    def bytes_per_sample(self) -> int:
        """2 for linear PCM, 1 for G.711. Opus has none: its packets carry their own length."""
        return 2 if self.encoding is Encoding.PCM_S16LE else 1

    def duration_ms(self, size: int) -> float:
        """How long `size` bytes play."""
        return size * 1000 / (self.bytes_per_sample * self.sample_rate)

    def size(self, milliseconds: int) -> int:
        """Bytes of so many milliseconds."""
        return self.sample_rate * milliseconds // 1000 * self.bytes_per_sample


PCM_8K = AudioFormat(Encoding.PCM_S16LE, 8000)
PCM_16K = AudioFormat(Encoding.PCM_S16LE, 16000)
PCM_24K = AudioFormat(Encoding.PCM_S16LE, 24000)
ULAW = AudioFormat(Encoding.G711_ULAW, 8000)
ALAW = AudioFormat(Encoding.G711_ALAW, 8000)


@dataclass(frozen=True, slots=True)
class Leg:
    """One direction of the call's audio."""

    handle: int
    kind: LegKind
    aor: str = ""
    name: str = ""
    attribution_warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    max_unacked_ms: int = 2000
    replay_ms: int = 5000
    playout_buffer_ms: int = 30_000


@dataclass(frozen=True, slots=True)
class Opening:
    """What is known of a call when it reaches the agent, and the formats agreed for it."""

    call_id: str
    session_id: str
    role: Role
    legs: tuple[Leg, ...]
    uplink: AudioFormat  # what Audio holds
    downlink: AudioFormat  # what speak() takes
    chunk_ms: int
    tenant: str = ""
    consent: Consent = Consent.UNSPECIFIED
    headers: Mapping[str, str] = field(default_factory=dict)
    language: str = ""  # BCP 47 hint
    limits: Limits = Limits()
    direction: str = ""  # "in" or "out", seen from the PBX
    route: str = ""
    traceparent: str = ""

    def leg(self, kind: LegKind) -> Leg | None:
        """The first leg of this kind."""
        return next((leg for leg in self.legs if leg.kind is kind), None)
