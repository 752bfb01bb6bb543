"""What can happen to a recorded call's conversation with its AIs."""

from __future__ import annotations

from dataclasses import dataclass

from siprec_worker.media.model import Dtmf, Gap, PlayState, Speech, TalkbackCodec
from siprec_worker.session.model import (
    CallStatus,
    CloseReason,
    FromAgent,
    HandoffUpdate,
    Leg,
    Party,
)


@dataclass(frozen=True, slots=True)
class Recording:
    """The SRC has confirmed the recording session: audio is coming."""

    legs: tuple[Leg, ...]


@dataclass(frozen=True, slots=True)
class Adopted:
    """The fork was another worker's until now; its RTP comes here."""

    legs: tuple[Leg, ...]


@dataclass(frozen=True, slots=True)
class LegsChanged:
    """A line or a party came or went, or the SRC says something else about them."""

    legs: tuple[Leg, ...]


@dataclass(frozen=True, slots=True)
class TalkbackAttached:
    """The PBX has a leg for the bot's voice."""

    codec: TalkbackCodec
    status: CallStatus


@dataclass(frozen=True, slots=True)
class TalkbackDetached:
    """The PBX took the bot's leg away."""

    reason: CloseReason


@dataclass(frozen=True, slots=True)
class StatusChanged:
    status: CallStatus


@dataclass(frozen=True, slots=True)
class PartyChanged:
    """Somebody else speaks on the PBX leg now."""

    party: Party
    name: str


@dataclass(frozen=True, slots=True)
class AgentSaid:
    """A message of the route's `agent`-th AI."""

    agent: int
    message: FromAgent


@dataclass(frozen=True, slots=True)
class Played:
    """The playout has news of an utterance."""

    state: PlayState


@dataclass(frozen=True, slots=True)
class Heard:
    """Something other than audio on a leg."""

    item: Gap | Dtmf | Speech
    agents: tuple[int, ...] | None = None  # who has that form of the audio; None: all


@dataclass(frozen=True, slots=True)
class FreezeAsked:
    reason: str
    phrase: str  # the only utterance that is still played; may be empty


@dataclass(frozen=True, slots=True)
class UnfreezeAsked:
    pass


@dataclass(frozen=True, slots=True)
class HandoffChanged:
    update: HandoffUpdate


@dataclass(frozen=True, slots=True)
class PauseAsked:
    """The orchestrator wants no audio to leave the worker."""


@dataclass(frozen=True, slots=True)
class ResumeAsked:
    pass


@dataclass(frozen=True, slots=True)
class Refused:
    """The orchestrator refused an escalation."""

    request_id: str
    error: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The recording session is over."""

    reason: str


Event = (
    Recording | Adopted | LegsChanged | TalkbackAttached | TalkbackDetached | StatusChanged
    | PartyChanged | AgentSaid | Played | Heard | FreezeAsked | UnfreezeAsked | HandoffChanged
    | PauseAsked | ResumeAsked | Refused | Ended
)  # fmt: skip
