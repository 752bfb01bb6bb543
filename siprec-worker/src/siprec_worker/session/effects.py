"""What a recorded call's conversation wants done; the runner does it, in order."""

from __future__ import annotations

from dataclasses import dataclass

from siprec_worker.media.model import AudioFormat, GapCause, TalkbackCodec
from siprec_worker.session.model import (
    BargeVerdict,
    CancelEscalation,
    Clear,
    Close,
    Escalate,
    HangUp,
    Intent,
    Mark,
    Role,
    SendDtmf,
    Speak,
    ToAgent,
    Transcript,
)


@dataclass(frozen=True, slots=True)
class Dial:
    """Open the conversation with the route's `agent`-th AI."""

    agent: int


@dataclass(frozen=True, slots=True)
class Listen:
    """Send the AI these legs from now on."""

    agent: int
    handles: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class UseForm:
    """The AI gets its audio in this form from now on."""

    agent: int
    uplink: AudioFormat
    chunk_ms: int


@dataclass(frozen=True, slots=True)
class Withhold:
    """No audio and no keys to anybody, for this cause; None: no longer."""

    cause: GapCause | None


@dataclass(frozen=True, slots=True)
class BargeIn:
    """The caller has begun to speak: what the bot says gives way, by its own rule."""


@dataclass(frozen=True, slots=True)
class JudgeBarge:
    verdict: BargeVerdict


@dataclass(frozen=True, slots=True)
class Tell:
    agent: int
    message: ToAgent


@dataclass(frozen=True, slots=True)
class Goodbye:
    agent: int
    close: Close


@dataclass(frozen=True, slots=True)
class SetDownlink:
    """What Speak.data holds from now on."""

    source: AudioFormat


@dataclass(frozen=True, slots=True)
class StartVoice:
    """Send the playout's frames to the PBX from now on."""

    codec: TalkbackCodec


@dataclass(frozen=True, slots=True)
class StopVoice:
    pass


@dataclass(frozen=True, slots=True)
class Play:
    """An order for the playout."""

    order: Speak | Clear | Mark


@dataclass(frozen=True, slots=True)
class FreezeVoice:
    phrase: str


@dataclass(frozen=True, slots=True)
class UnfreezeVoice:
    pass


@dataclass(frozen=True, slots=True)
class BotSpeaks:
    utterance_id: str


@dataclass(frozen=True, slots=True)
class BotReady:
    """The AI of an unanswered call is there: the caller may be answered."""


@dataclass(frozen=True, slots=True)
class PhraseEnded:
    utterance_id: str
    cut: bool


@dataclass(frozen=True, slots=True)
class BotFailed:
    reason: str


@dataclass(frozen=True, slots=True)
class AgentSpeech:
    """A piece of what the call's `agent`-th AI says to the human alone: PCM_S16LE."""

    agent: int
    utterance_id: str
    pcm: bytes
    rate: int  # 8000 or 16000
    position: int  # samples of the utterance before it
    last: bool


@dataclass(frozen=True, slots=True)
class AgentSpeechCleared:
    """That AI wants it silenced; no ids: all of it."""

    agent: int
    utterance_ids: tuple[str, ...]


News = (
    BotSpeaks | BotReady | PhraseEnded | BotFailed | Escalate | CancelEscalation | Intent
    | Transcript | HangUp | SendDtmf | AgentSpeech | AgentSpeechCleared
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Report:
    """Tell the orchestrator."""

    news: News


@dataclass(frozen=True, slots=True)
class Count:
    """Something worth a metric and, once, a log line."""

    what: str
    role: Role


Effect = (
    Dial | Listen | Tell | Goodbye | SetDownlink | StartVoice | StopVoice | Play | FreezeVoice
    | UnfreezeVoice | Report | Count | UseForm | Withhold | BargeIn | JudgeBarge
)  # fmt: skip
