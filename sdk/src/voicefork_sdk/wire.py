"""voicefork.agent.v1 messages into the SDK's values."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from voicefork.agent.v1 import agent_pb2 as pb

from voicefork_sdk.events import (
    Audio,
    CallState,
    ClockAnchor,
    Close,
    Dtmf,
    Event,
    Freeze,
    Gap,
    HandoffUpdate,
    LegAudio,
    Notice,
    PartyChange,
    PlayState,
    Pressure,
    Speech,
)
from voicefork_sdk.model import (
    AudioFlag,
    AudioFormat,
    CallStatus,
    CloseReason,
    Consent,
    Encoding,
    GapCause,
    Leg,
    LegKind,
    Limits,
    Opening,
    Outcome,
    Party,
    Phase,
    PlayStatus,
    PressureLevel,
    Role,
    Severity,
)

log = logging.getLogger(__name__)


def read_opening(
    message: pb.Open, *, uplink: AudioFormat, downlink: AudioFormat, chunk_ms: int
) -> Opening:
    """The vendor's view of an Open, with the formats that were agreed."""
    return Opening(
        call_id=message.call_id,
        session_id=message.session_id,
        role=Role(message.role),
        legs=tuple(
            Leg(leg.handle, LegKind(leg.kind), leg.aor, leg.name, tuple(leg.attribution_warnings))
            for leg in message.legs
        ),
        uplink=uplink,
        downlink=downlink,
        chunk_ms=chunk_ms,
        tenant=message.tenant,
        consent=Consent(message.consent),
        headers=dict(message.headers),
        language=message.language_hint,
        limits=_limits(message.limits),
        direction=message.direction,
        route=message.route,
        traceparent=message.traceparent,
    )


def read_format(message: pb.AudioFormat | pb.Uplink) -> AudioFormat:
    """An unset format is the contract's plainest: PCM_S16LE at 8 kHz."""
    return AudioFormat(
        Encoding(message.encoding) or Encoding.PCM_S16LE, message.sample_rate or 8000
    )


def write_format(audio_format: AudioFormat) -> pb.AudioFormat:
    return pb.AudioFormat(
        encoding=pb.Encoding.ValueType(audio_format.encoding),
        sample_rate=audio_format.sample_rate,
    )


def _limits(message: pb.Limits) -> Limits:
    usual = Limits()
    return Limits(
        message.max_unacked_ms or usual.max_unacked_ms,
        message.replay_ms or usual.replay_ms,
        message.playout_buffer_ms or usual.playout_buffer_ms,
    )


class EventReader:
    """Turns requests into events; knows the legs of its call."""

    def __init__(self, legs: tuple[Leg, ...]) -> None:
        self._legs: Mapping[int, Leg] = {leg.handle: leg for leg in legs}

    def read(self, request: pb.ConverseRequest) -> Event | None:
        """The event of a request; None for what is no event (Open, Ack, a later version's)."""
        match request.WhichOneof("message"):
            case "audio":
                return self._audio(request.audio)
            case "gap":
                gap = request.gap
                return Gap(
                    self._leg(gap.leg), gap.from_pts, gap.to_pts, GapCause(gap.cause), gap.packets
                )
            case "speech":
                speech = request.speech
                return Speech(self._leg(speech.leg), speech.started, speech.pts)
            case "dtmf":
                key = request.dtmf
                return Dtmf(self._leg(key.leg), key.digit, key.duration_ms, key.pts)
            case "party_change":
                change = request.party_change
                return PartyChange(
                    self._leg(change.leg), Party(change.party), change.name, change.pts
                )
            case _:
                return _read_legless(request)

    def _audio(self, audio: pb.Audio) -> Audio:
        return Audio(
            audio.pts,
            tuple(
                LegAudio(self._leg(part.handle), part.data, AudioFlag(part.flags & 0xF))
                for part in audio.legs
            ),
        )

    def _leg(self, handle: int) -> Leg:
        return self._legs.get(handle) or Leg(handle, LegKind.UNKNOWN)


def _read_legless(request: pb.ConverseRequest) -> Event | None:
    match request.WhichOneof("message"):
        case "clock_anchor":
            anchor = request.clock_anchor
            return ClockAnchor(anchor.pts, anchor.wall.ToNanoseconds() / 1e9)
        case "play_state":
            played = request.play_state
            return PlayState(
                played.utterance_id,
                PlayStatus(played.state),
                played.played_ms,
                played.queued_ms,
                played.mark,
            )
        case "call_state":
            return CallState(CallStatus(request.call_state.state))
        case "freeze":
            return Freeze(request.freeze.reason, request.freeze.except_utterance_id)
        case "pressure":
            pressure = request.pressure
            return Pressure(
                PressureLevel(pressure.level),
                pressure.unacked_ms,
                pressure.shed_ms,
                pressure.chunk_ms,
            )
        case "handoff_update":
            update = request.handoff_update
            return HandoffUpdate(
                update.handoff_id,
                Phase(update.phase),
                Outcome(update.outcome),
                update.revision,
                update.request_id,
            )
        case "notice":
            notice = request.notice
            return Notice(Severity(notice.severity), notice.code, notice.text)
        case "close":
            return Close(CloseReason(request.close.reason), request.close.text)
        case _:
            return None
