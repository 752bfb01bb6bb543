"""Translation between the session's values and voicefork.agent.v1.

Unknown oneof members and enum values of a later contract are ignored, and told to be counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar, cast

from google.protobuf.message import DecodeError
from voicefork.agent.v1 import agent_pb2 as pb
from voicefork.handoff.v1 import handoff_pb2 as handoff_pb

from siprec_worker.errors import VendorError
from siprec_worker.media.model import AudioFormat, Dtmf, Encoding, Gap, PlayState, Speech
from siprec_worker.session import model as m
from siprec_worker.sinks.pressure import Pressure

_CHUNK_MS = range(20, 201, 20)
_RATES = {
    Encoding.PCM_S16LE: (8000, 16000, 24000),
    Encoding.G711_ULAW: (8000,),
    Encoding.G711_ALAW: (8000,),
}
_Choice = TypeVar("_Choice", bound=IntEnum)


@dataclass(frozen=True, slots=True)
class Ack:
    """Everything of the other direction up to `seq` has been taken."""

    seq: int
    pts: int = 0


@dataclass(frozen=True, slots=True)
class Heard:
    """One message of the AI. `message` is None when this side does not know it."""

    seq: int
    message: m.FromAgent | Ack | None
    unknown: int = 0  # enum values replaced by their default, oneof members not known


Request = m.Open | m.ToAgent | m.Close | Ack | Pressure


def write_request(seq: int, message: Request) -> bytes:
    """The serialised ConverseRequest of anything but audio (audio_wire writes that)."""
    request = pb.ConverseRequest(seq=seq)
    match message:
        case m.Open():
            request.open.CopyFrom(_open(message))
        case Gap(leg, from_pts, to_pts, cause, packets):
            value = cast("pb.GapCause.ValueType", cause)
            gap = pb.Gap(leg=leg, from_pts=from_pts, to_pts=to_pts, cause=value, packets=packets)
            request.gap.CopyFrom(gap)
        case m.ClockAnchor(pts, wall):
            request.clock_anchor.pts = pts
            request.clock_anchor.wall.FromNanoseconds(round(wall * 1e9))
        case Speech(leg, started, pts):
            request.speech.CopyFrom(pb.Speech(leg=leg, started=started, pts=pts))
        case Dtmf(leg, digit, ms, pts):
            request.dtmf.CopyFrom(pb.Dtmf(leg=leg, digit=digit, duration_ms=ms, pts=pts))
        case PlayState():
            request.play_state.CopyFrom(_play_state(message))
        case m.CallState(status):
            request.call_state.state = cast("pb.CallState.State.ValueType", status)
        case m.PartyChange(leg, party, name, pts):
            who = cast("pb.PartyChange.Party.ValueType", party)
            request.party_change.CopyFrom(pb.PartyChange(leg=leg, party=who, name=name, pts=pts))
        case m.Freeze(reason, spared):
            request.freeze.CopyFrom(pb.Freeze(reason=reason, except_utterance_id=spared))
        case m.HandoffUpdate():
            request.handoff_update.CopyFrom(_handoff_update(message))
        case m.Notice(severity, code, text):
            level = cast("pb.Notice.Severity.ValueType", severity)
            request.notice.CopyFrom(pb.Notice(severity=level, code=code, text=text))
        case Pressure(level, unacked_ms, shed_ms, chunk_ms):
            how_far = cast("pb.Pressure.Level.ValueType", level)
            request.pressure.CopyFrom(
                pb.Pressure(
                    level=how_far, unacked_ms=unacked_ms, shed_ms=shed_ms, chunk_ms=chunk_ms
                )
            )
        case m.Repeated(body):
            request.MergeFromString(body)
            request.seq = seq
        case Ack(acked, pts):
            request.ack.CopyFrom(pb.Ack(seq=acked, pts=pts))
        case m.Close(why, text):
            close_reason = cast("pb.Close.Reason.ValueType", why)
            request.close.CopyFrom(pb.Close(reason=close_reason, text=text))
    return request.SerializeToString()


def read_response(body: bytes, opening: m.Open) -> Heard:
    """What the AI said. Unset choices of Opened are filled in from `opening`.

    Raises VendorError for bytes that are no ConverseResponse, or an Opened nobody can serve.
    """
    try:
        response = pb.ConverseResponse.FromString(body)
    except DecodeError as error:
        raise VendorError(f"the AI sent {len(body)} bytes that are no ConverseResponse") from error
    seq = response.seq
    match response.WhichOneof("message"):
        case None:
            return Heard(seq, None, 1)
        case "opened":
            return Heard(seq, _opened(response.opened, opening))
        case "speak":
            return _speak(seq, response.speak)
        case "notice":
            notice = response.notice
            severity, odd = _known(m.Severity, notice.severity, m.Severity.INFO)
            return Heard(seq, m.Notice(severity, notice.code, notice.text), odd)
        case _:
            return Heard(seq, _plain(response))


def _plain(response: pb.ConverseResponse) -> m.FromAgent | Ack | None:
    match response.WhichOneof("message"):
        case "clear":
            clear = response.clear
            return m.Clear(tuple(clear.utterance_ids), clear.fade_ms)
        case "mark":
            return m.Mark(response.mark.name)
        case "barge_verdict":
            verdict = response.barge_verdict
            return m.BargeVerdict(verdict.utterance_id, verdict.interrupt)
        case "send_dtmf":
            return m.SendDtmf(response.send_dtmf.digits, response.send_dtmf.duration_ms or 100)
        case "transcript":
            said = response.transcript
            return m.Transcript(said.leg, said.text, said.final, said.SerializeToString())
        case "intent":
            intent = response.intent
            return m.Intent(intent.name, intent.confidence, intent.SerializeToString())
        case "escalate":
            asked = response.escalate
            wire = asked.SerializeToString()
            return m.Escalate(asked.request_id, asked.say_first, asked.freeze_bot, wire)
        case "cancel_escalation":
            withdrawn = response.cancel_escalation
            return m.CancelEscalation(withdrawn.request_id, withdrawn.reason)
        case "hang_up":
            return _hang_up(response.hang_up)
        case "sensitive":
            return m.Sensitive(response.sensitive.on)
        case "ack":
            return Ack(response.ack.seq, response.ack.pts)
        case _:
            return None


def _speak(seq: int, speak: pb.Speak) -> Heard:
    barge, odd = _known(m.Barge, speak.barge, m.Barge.UNSPECIFIED)
    audience, odd_too = _known(m.Audience, speak.audience, m.Audience.CUSTOMER)
    value = m.Speak(speak.utterance_id, speak.data, speak.last, barge, audience)
    return Heard(seq, value, odd + odd_too)


def _hang_up(wish: pb.HangUp) -> m.HangUp:
    if not wish.HasField("after"):
        return m.HangUp(wish.reason)
    # Not ToMilliseconds(): it raises on what a Duration may not hold but the wire can.
    after_ms = wish.after.seconds * 1000 + wish.after.nanos // 1_000_000
    return m.HangUp(wish.reason, max(0, after_ms))


def _opened(opened: pb.Opened, opening: m.Open) -> m.Opened:
    uplink = _format(opened.uplink.encoding, opened.uplink.sample_rate, opening.uplink)
    chunk_ms = opened.uplink.chunk_ms or opening.chunk_ms
    if uplink is None or chunk_ms not in _CHUNK_MS:
        raise VendorError(f"the AI wants audio that cannot be sent: {_words(opened.uplink)}")
    first, *_ = opening.downlink_choices
    downlink = _format(opened.downlink.encoding, opened.downlink.sample_rate, first)
    if downlink is None or downlink not in opening.downlink_choices:
        raise VendorError(f"the AI would speak what was not offered: {_words(opened.downlink)}")
    return m.Opened(
        uplink,
        chunk_ms,
        downlink,
        legs=tuple(opened.legs),
        no_ack=opened.no_ack,
        resume_token=opened.resume_token,
        resumed=opened.resumed,
        features=tuple(opened.features),
    )


def _format(encoding: int, sample_rate: int, proposed: AudioFormat) -> AudioFormat | None:
    chosen, unknown = _known(Encoding, encoding, proposed.encoding)
    rate = sample_rate or proposed.sample_rate
    return None if unknown or rate not in _RATES[chosen] else AudioFormat(chosen, rate)


def _words(message: pb.Uplink | pb.AudioFormat) -> str:
    return " ".join(str(message).split())


def _known(kind: type[_Choice], value: int, default: _Choice) -> tuple[_Choice, int]:
    """The enum's member, or the default; and 1 where the value is of a later contract."""
    try:
        return kind(value), 0
    except ValueError:
        return default, int(value != 0)


def _open(opening: m.Open) -> pb.Open:
    uplink, limits = opening.uplink, opening.limits
    message = pb.Open(
        call_id=opening.call_id,
        session_id=opening.session_id,
        tenant=opening.tenant,
        role=cast("pb.Role.ValueType", opening.role),
        consent=cast("pb.Consent.ValueType", opening.consent),
        uplink=pb.Uplink(
            encoding=cast("pb.Encoding.ValueType", uplink.encoding),
            sample_rate=uplink.sample_rate,
            chunk_ms=opening.chunk_ms,
        ),
        headers=opening.headers,
        language_hint=opening.language_hint,
        limits=pb.Limits(
            max_unacked_ms=limits.max_unacked_ms,
            replay_ms=limits.replay_ms,
            playout_buffer_ms=limits.playout_buffer_ms,
        ),
        traceparent=opening.traceparent,
        direction=opening.direction,
        route=opening.route,
    )
    if (resume := opening.resume) is not None:
        message.resume.CopyFrom(pb.Resume(token=resume.token, acked_seq=resume.acked_seq))
    for leg in opening.legs:
        kind = cast("pb.LegKind.ValueType", leg.kind)
        added = message.legs.add(handle=leg.handle, kind=kind, aor=leg.aor, name=leg.name)
        added.attribution_warnings.extend(leg.warnings)
    for choice in opening.downlink_choices:
        encoding = cast("pb.Encoding.ValueType", choice.encoding)
        message.downlink_choices.add(encoding=encoding, sample_rate=choice.sample_rate)
    return message


def _play_state(state: PlayState) -> pb.PlayState:
    return pb.PlayState(
        utterance_id=state.utterance_id,
        state=cast("pb.PlayState.State.ValueType", state.status),
        played_ms=state.played_ms,
        queued_ms=state.queued_ms,
        mark=state.mark,
    )


def _handoff_update(update: m.HandoffUpdate) -> pb.HandoffUpdate:
    return pb.HandoffUpdate(
        handoff_id=update.handoff_id,
        phase=cast("handoff_pb.Phase.ValueType", update.phase),
        outcome=cast("handoff_pb.Outcome.ValueType", update.outcome),
        revision=update.revision,
        request_id=update.request_id,
    )
