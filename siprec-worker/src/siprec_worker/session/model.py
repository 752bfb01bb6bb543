"""The values of one recorded call: identity, legs, formats, and what is said to and by an AI.

Pure counterparts of `voicefork.agent.v1` (the sinks translate), so that sessions, media and tests
need no generated code. Positions (`pts`) are samples at the uplink's rate since the call's start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NewType

from siprec_worker.media.model import (
    AudioFormat,
    Dtmf,
    Encoding,
    Gap,
    PlayState,
    Speech,
)

CallId = NewType("CallId", str)
"""X-Voicefork-Call: the call's identity in every part of Voicefork (a UUIDv7)."""

SessionId = NewType("SessionId", str)
"""This fork's own id, made by the worker."""

NARROWBAND = AudioFormat(Encoding.PCM_S16LE, 8000)
SPOKEN = (
    NARROWBAND,
    AudioFormat(Encoding.PCM_S16LE, 16_000),
    AudioFormat(Encoding.PCM_S16LE, 24_000),
    AudioFormat(Encoding.G711_ULAW, 8000),
    AudioFormat(Encoding.G711_ALAW, 8000),
)
"""What an AI may speak; the first where it does not say."""


# Enum values are those of voicefork.agent.v1, so that a sink translates by value.
class Role(IntEnum):
    PRIMARY = 1
    SHADOW = 2
    ASSIST = 3


class LegKind(IntEnum):
    CUSTOMER = 1
    PBX = 2
    UNKNOWN = 3


class Consent(IntEnum):
    GRANTED = 1
    IMPLIED = 2
    REFUSED = 3
    UNKNOWN = 4


class CallStatus(IntEnum):
    EARLY = 1
    ANSWERED = 2
    ON_HOLD = 3
    ENDED = 4


class Party(IntEnum):
    CUSTOMER = 1
    BOT = 2
    MUSIC = 3
    AGENT = 4
    RINGING = 5


class CloseReason(IntEnum):
    CALL_ENDED = 1
    NOT_ANSWERED = 2
    HUMAN_CONNECTED = 3
    LEFT_BOT = 4
    CONSENT_REFUSED = 5
    PROTOCOL_ERROR = 6
    DRAINING = 7
    FORK_LOST = 8


class Barge(IntEnum):
    UNSPECIFIED = 0
    NOT_INTERRUPTIBLE = 1
    AUTO_CLEAR = 2
    PAUSE_AND_ASK = 3
    NOTIFY_ONLY = 4


class Audience(IntEnum):
    CUSTOMER = 1
    AGENT = 2
    BOTH = 3


class Severity(IntEnum):
    INFO = 1
    WARNING = 2
    ERROR = 3


@dataclass(frozen=True, slots=True)
class Leg:
    """One direction of the forked call, as the AI is told of it."""

    handle: int
    kind: LegKind
    label: str  # a=label of the m-line
    aor: str = ""
    name: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    max_unacked_ms: int = 2000
    replay_ms: int = 5000
    playout_buffer_ms: int = 30_000


@dataclass(frozen=True, slots=True)
class Resume:
    """Names the broken stream that a new one goes on with."""

    token: str
    acked_seq: int  # the last of its messages that the AI acknowledged
    left: tuple[bytes, ...] = ()  # another worker's messages after that: said again, as written


@dataclass(frozen=True, slots=True)
class Open:
    """The first message of a conversation with an AI."""

    call_id: CallId
    session_id: SessionId
    role: Role
    legs: tuple[Leg, ...]
    uplink: AudioFormat = NARROWBAND
    chunk_ms: int = 20
    downlink_choices: tuple[AudioFormat, ...] = SPOKEN
    tenant: str = ""
    consent: Consent = Consent.UNKNOWN
    headers: Mapping[str, str] = field(default_factory=dict)
    language_hint: str = ""
    direction: str = "in"
    route: str = ""
    limits: Limits = Limits()
    traceparent: str = ""
    resume: Resume | None = None


# --- what the call tells the AI -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClockAnchor:
    pts: int
    wall: float  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class CallState:
    status: CallStatus


@dataclass(frozen=True, slots=True)
class PartyChange:
    leg: int
    party: Party
    name: str
    pts: int


@dataclass(frozen=True, slots=True)
class Freeze:
    reason: str
    except_utterance_id: str = ""


@dataclass(frozen=True, slots=True)
class HandoffUpdate:
    """Phase and outcome are numbers of voicefork.handoff.v1; the session only passes them on."""

    handoff_id: str
    phase: int
    outcome: int
    revision: int
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    severity: Severity
    code: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Close:
    reason: CloseReason
    text: str = ""


@dataclass(frozen=True, slots=True)
class Repeated:
    """An event as another worker has written it for the AI; the number in it is not ours."""

    body: bytes


ToAgent = (
    Gap | ClockAnchor | Speech | Dtmf | PlayState | CallState | PartyChange | Freeze
    | HandoffUpdate | Notice | Repeated
)  # fmt: skip


# --- what the AI says -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Opened:
    """The AI has accepted the call. Unset choices were filled in by the sink from Open."""

    uplink: AudioFormat
    chunk_ms: int
    downlink: AudioFormat
    legs: tuple[int, ...] = ()  # handles it wants; empty = the role's default
    no_ack: bool = False
    resume_token: str = ""
    resumed: bool = False
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Speak:
    utterance_id: str
    data: bytes
    last: bool = False
    barge: Barge = Barge.UNSPECIFIED
    audience: Audience = Audience.CUSTOMER


@dataclass(frozen=True, slots=True)
class Clear:
    utterance_ids: tuple[str, ...] = ()  # empty = everything
    fade_ms: int = 0


@dataclass(frozen=True, slots=True)
class Mark:
    name: str


@dataclass(frozen=True, slots=True)
class BargeVerdict:
    utterance_id: str
    interrupt: bool


@dataclass(frozen=True, slots=True)
class SendDtmf:
    digits: str
    duration_ms: int = 100


@dataclass(frozen=True, slots=True)
class Transcript:
    """Passed on as it came: `wire` is the serialised voicefork.agent.v1.Transcript."""

    leg: int
    text: str
    final: bool
    wire: bytes


@dataclass(frozen=True, slots=True)
class Intent:
    """Passed on as it came: `wire` is the serialised voicefork.agent.v1.Intent."""

    name: str
    confidence: float
    wire: bytes


@dataclass(frozen=True, slots=True)
class Escalate:
    """Passed on as it came: `wire` is the serialised voicefork.handoff.v1.EscalateRequest."""

    request_id: str
    say_first: str
    freeze_bot: bool
    wire: bytes


@dataclass(frozen=True, slots=True)
class CancelEscalation:
    request_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class HangUp:
    reason: str
    after_ms: int | None = None  # None = once everything queued has been played


@dataclass(frozen=True, slots=True)
class Sensitive:
    on: bool


@dataclass(frozen=True, slots=True)
class AgentLost:
    """The stream is over, by the AI's wish or by a failure. Always the last message of a stream."""

    reason: str
    retryable: bool = True


FromAgent = (
    Opened | Speak | Clear | Mark | BargeVerdict | SendDtmf | Transcript | Intent | Escalate
    | CancelEscalation | HangUp | Sensitive | Notice | AgentLost
)  # fmt: skip
