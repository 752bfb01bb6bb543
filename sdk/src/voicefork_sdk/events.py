"""What `Call.events()` yields: everything the call tells the agent, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass

from voicefork_sdk.model import (
    AudioFlag,
    CallStatus,
    CloseReason,
    GapCause,
    Leg,
    LegKind,
    Outcome,
    Party,
    Phase,
    PlayStatus,
    PressureLevel,
    Severity,
)


@dataclass(frozen=True, slots=True)
class LegAudio:
    """What one leg said in this moment, in the uplink format."""

    leg: Leg
    payload: bytes
    flags: AudioFlag = AudioFlag.NONE


@dataclass(frozen=True, slots=True)
class Audio:
    """One moment of the call; every leg in it starts at the same pts."""

    pts: int  # samples at the uplink's rate since the start of the stream
    legs: tuple[LegAudio, ...]

    def of(self, kind: LegKind) -> bytes:
        """The audio of the first leg of this kind; empty when it is not in this message."""
        return next((part.payload for part in self.legs if part.leg.kind is kind), b"")


@dataclass(frozen=True, slots=True)
class Gap:
    """[from_pts, to_pts) of a leg that will not come. Nothing is invented for it."""

    leg: Leg
    from_pts: int
    to_pts: int
    cause: GapCause
    packets: int = 0  # 0 = not known


@dataclass(frozen=True, slots=True)
class ClockAnchor:
    """Ties a position to the clock on the wall; every 5 s."""

    pts: int
    wall: float  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class Speech:
    """Somebody began or stopped speaking on a leg."""

    leg: Leg
    started: bool
    pts: int


@dataclass(frozen=True, slots=True)
class Dtmf:
    """A key, once per press."""

    leg: Leg
    digit: str
    duration_ms: int
    pts: int


@dataclass(frozen=True, slots=True)
class PlayState:
    """What became of an utterance; played_ms is what went out towards the caller."""

    utterance_id: str
    status: PlayStatus
    played_ms: int = 0
    queued_ms: int = 0
    mark: str = ""


@dataclass(frozen=True, slots=True)
class CallState:
    status: CallStatus


@dataclass(frozen=True, slots=True)
class PartyChange:
    """Who speaks on a leg now."""

    leg: Leg
    party: Party
    name: str
    pts: int


@dataclass(frozen=True, slots=True)
class Freeze:
    """Stop talking: only the utterance named is still played."""

    reason: str
    except_utterance_id: str = ""


@dataclass(frozen=True, slots=True)
class Pressure:
    """How far this agent is behind, seen from the call."""

    level: PressureLevel
    unacked_ms: int
    shed_ms: int
    chunk_ms: int


@dataclass(frozen=True, slots=True)
class HandoffUpdate:
    """A milestone of an escalation."""

    handoff_id: str
    phase: Phase
    outcome: Outcome
    revision: int
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    severity: Severity
    code: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Resumed:
    """The stream broke and goes on; audio that was on its way is replayed, flagged LATE."""


@dataclass(frozen=True, slots=True)
class Close:
    """The end: always the last event of a call."""

    reason: CloseReason
    text: str = ""


Event = (
    Audio | Gap | ClockAnchor | Speech | Dtmf | PlayState | CallState | PartyChange | Freeze
    | Pressure | HandoffUpdate | Notice | Resumed | Close
)  # fmt: skip
