"""The values of a handoff: ids, targets, phases, outcomes, context, plan, and the handoff as seen.

Pure counterparts of `voicefork.handoff.v1`: the enums carry its numbers, so that api/ translates by
value. Times are seconds since the epoch by a clock that never steps back, durations are seconds
unless the name says `_ms`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NewType

HandoffId = NewType("HandoffId", str)
"""Made by the orchestrator; ids of bridges and channels are derived from it."""

CallId = NewType("CallId", str)
"""X-Voicefork-Call: the call's identity in every part of Voicefork (a UUIDv7)."""

ChannelId = NewType("ChannelId", str)
"""An Asterisk channel's unique id."""

BridgeId = NewType("BridgeId", str)
"""An ARI bridge's id."""

NodeName = NewType("NodeName", str)
"""The Asterisk node a channel lives on; bridges cannot span nodes."""


class Pattern(IntEnum):
    AUTO = 1
    DIALPLAN = 2
    ATTENDED = 3
    WARM_WHISPER = 4
    REFER = 5


class Fallback(IntEnum):
    NEXT_TARGET = 1
    VOICEMAIL = 2
    BACKUP_CENTRE = 3
    CALLBACK = 4
    HOLDING_MENU = 5
    RETURN_TO_BOT = 6


class Phase(IntEnum):
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


class Outcome(IntEnum):
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


class Speaker(IntEnum):
    UNSPECIFIED = 0
    CUSTOMER = 1
    BOT = 2
    AGENT = 3


class Authentication(IntEnum):
    UNSPECIFIED = 0
    NONE = 1
    PARTIAL = 2
    VERIFIED = 3


# --- targets --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue of the PBX, reached through its dialplan."""

    name: str


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension of the PBX; an empty context means the configured one."""

    number: str
    context: str = ""


@dataclass(frozen=True, slots=True)
class SipUri:
    """Somebody outside this PBX."""

    uri: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One phone, in the PBX's own words: PJSIP/alice."""

    name: str


Target = Queue | Extension | SipUri | Endpoint


# --- context --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TranscriptLine:
    speaker: Speaker
    text: str
    at: float | None = None  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class Evidence:
    """A piece of proof; pts are samples since the start of the stream, as in agent.v1 Audio."""

    kind: str
    text: str
    from_pts: int = 0
    to_pts: int = 0


@dataclass(frozen=True, slots=True)
class Context:
    """What the human needs in order not to ask everything again."""

    summary: str = ""
    transcript_tail: tuple[TranscriptLine, ...] = ()
    slots: Mapping[str, object] = field(default_factory=dict)  # JSON values
    authentication: Authentication = Authentication.UNSPECIFIED
    customer_reference: str = ""
    evidence: tuple[Evidence, ...] = ()
    briefing_text: str = ""
    briefing_audio: bytes = b""  # PCM_S16LE, 8 kHz
    sentiment: str = ""
    briefing_spoken: bool = False  # the AI briefs the agent itself: it is waited for

    def merged(self, patch: Context) -> Context:
        """This context with `patch` in it: set fields replace, repeated append, slots merge.

        Of what grows only the latest is kept.
        """
        return Context(
            summary=patch.summary or self.summary,
            transcript_tail=(self.transcript_tail + patch.transcript_tail)[-TRANSCRIPT_LINES:],
            slots=dict(list({**self.slots, **patch.slots}.items())[-SLOTS:]),
            authentication=patch.authentication or self.authentication,
            customer_reference=patch.customer_reference or self.customer_reference,
            evidence=(self.evidence + patch.evidence)[-EVIDENCE_PIECES:],
            briefing_text=patch.briefing_text or self.briefing_text,
            briefing_audio=patch.briefing_audio or self.briefing_audio,
            sentiment=patch.sentiment or self.sentiment,
            briefing_spoken=patch.briefing_spoken or self.briefing_spoken,
        )


TRANSCRIPT_LINES = 50
EVIDENCE_PIECES = 50
SLOTS = 200
SUMMARY_CHARACTERS = 2000
BRIEFING_AUDIO_BYTES = 30 * 8000 * 2


# --- what is asked, and what is decided --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Escalation:
    """A wish for a human, as it was asked."""

    request_id: str
    call_id: CallId
    reason: str = ""
    intent: str = ""
    confidence: float | None = None  # how sure the AI is of the intent, 0 to 1; None = not said
    language: str = ""
    priority: int = 0  # 0 = by rules
    pattern: Pattern = Pattern.AUTO
    target: Target | None = None  # None = by rules
    context: Context = field(default_factory=Context)
    say_first: str = ""  # utterance to finish before the caller is held
    freeze_bot: bool = False
    give_up_after: float | None = None  # None = by rules
    fallbacks: tuple[Fallback, ...] = ()  # () = by rules
    supersede: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a call is in the PBX: the caller's channel, in a bridge with the bot's."""

    call_id: CallId
    tenant: str
    node: NodeName
    caller: ChannelId
    bot: ChannelId  # "" = there is none just now
    bridge: BridgeId
    dialplan_only: bool = False  # no bridges there; the queue's events say what becomes of them


@dataclass(frozen=True, slots=True)
class Limits:
    """How long each step may take, in seconds."""

    phrase: float = 10.0
    ring: float = 30.0
    accept: float = 15.0
    give_up: float = 90.0
    context: float = 0.3  # an accepted agent waits this long for the context
    briefing: float = 30.0  # what the agent is told ends after this, said or not
    live: float = 1.0  # after the merge, for both to be heard; 0 = taken for granted


@dataclass(frozen=True, slots=True)
class DialplanEntry:
    """Where `continue` sends a channel."""

    context: str
    extension: str
    priority: int = 1


@dataclass(frozen=True, slots=True)
class Menu:
    """What a caller on hold is told, and may choose by a key (HOLDING_MENU)."""

    announcement: str  # media of the PBX: "sound:queue-thankyou"
    keys: Mapping[str, Fallback]  # NEXT_TARGET = from the first target again
    every: float = 20.0  # seconds from one announcement to the next
    lasts: float = 120.0  # then the next way out


@dataclass(frozen=True, slots=True)
class QueueState:
    """A queue of the PBX as last seen; None = not known."""

    name: str
    members: int | None = None  # logged in
    available: int | None = None  # of these: not paused, not in use
    waiting: int | None = None
    expected_wait: float | None = None  # seconds


@dataclass(frozen=True, slots=True)
class Plan:
    """What routing decided for one escalation. Pattern is never AUTO."""

    pattern: Pattern
    targets: tuple[Target, ...]  # dialled in order; never a Queue
    queue: DialplanEntry  # the way out that always exists
    queue_name: str = ""
    usual_queue: DialplanEntry | None = None  # the rules' own, where `queue` is another
    fallbacks: tuple[Fallback, ...] = (Fallback.NEXT_TARGET,)
    priority: int = 0
    freeze_bot: bool = False
    accept_key: str = ""  # "" = answering is accepting
    prompt: str = ""  # media played to the agent who must press the key
    music: str = "default"
    limits: Limits = Limits()
    rule: str = ""  # which rule decided
    # A way out without its place is skipped.
    voicemail: DialplanEntry | None = None
    backup: Target | None = None  # BACKUP_CENTRE
    callback: DialplanEntry | None = None
    menu: Menu | None = None  # HOLDING_MENU
    briefing: str = ""  # spoken to the agent where the context brings no briefing of its own
    phrase: str = ""  # told to the caller on hold where the AI has no say_first: text, or "sound:…"
    audit: bool = False  # an entry in the audit trail is due


# --- the handoff as seen from outside -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Timing:
    """What each step took, in milliseconds; None until known."""

    request_to_hold_ms: int | None = None
    ring_ms: int | None = None
    merge_ms: int | None = None
    silent_ms: int | None = None
    missing_ms: int | None = None
    context_lead_ms: int | None = None
    say_first_to_hold_ms: int | None = None
    longest_gap_ms: int | None = None

    @property
    def dead_air_ms(self) -> int | None:
        if self.silent_ms is None or self.missing_ms is None:
            return None
        return self.silent_ms + self.missing_ms


@dataclass(frozen=True, slots=True)
class Witness:
    """What the caller heard since the witness began (voicefork.worker.v1 WitnessReport)."""

    first_hold_audio_ms: int | None = None
    silent_ms: int = 0
    missing_ms: int = 0
    longest_gap_ms: int = 0
    one_way: bool = False
    watched_ms: int = 0
    final: bool = False
    phrase_end_ms: int | None = None
    both_live_ms: int | None = None  # both had sent since what the caller hears last changed


@dataclass(frozen=True, slots=True)
class Handoff:
    """A handoff at one revision."""

    handoff_id: HandoffId
    request_id: str
    call_id: CallId
    tenant: str
    revision: int
    phase: Phase
    outcome: Outcome
    pattern: Pattern
    target: Target | None
    sip_status: int
    q850_cause: int
    timing: Timing
    created_at: float
    changed_at: float
    context_revision: int
    settled: bool  # nothing about it changes any more


@dataclass(frozen=True, slots=True)
class Placed:
    """An order for a call that has become one."""

    tenant: str
    request_id: str
    call: CallId
