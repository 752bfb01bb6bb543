"""Session values to and from voicefork.agent.v1."""

from __future__ import annotations

from contextlib import suppress

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st
from siprec_worker.errors import VendorError
from siprec_worker.media.model import (
    AudioFormat,
    Dtmf,
    Encoding,
    Gap,
    GapCause,
    PlayState,
    PlayStatus,
    Speech,
)
from siprec_worker.session import model as m
from siprec_worker.sinks.wire import Ack, Request, read_response, write_request
from voicefork.agent.v1 import agent_pb2 as pb

OPENING = m.Open(
    m.CallId("c"),
    m.SessionId("s"),
    m.Role.PRIMARY,
    (m.Leg(1, m.LegKind.CUSTOMER, "a", "sip:a@b", "A&B", ("by order",)),),
    tenant="acme",
    headers={"X-DID": "4711"},
)
WIDEBAND = AudioFormat(Encoding.PCM_S16LE, 16000)

REQUESTS = [
    (Gap(1, 2, 3, GapCause.SHED, 4), "gap", "leg: 1 from_pts: 2 to_pts: 3 cause: GAP_CAUSE_SHED"),
    (m.ClockAnchor(8000, 1.5), "clock_anchor", "pts: 8000 wall { seconds: 1 nanos: 500000000 }"),
    (Speech(1, started=True, pts=9), "speech", "leg: 1 started: true pts: 9"),
    (Dtmf(1, "#", 100, 9), "dtmf", 'leg: 1 digit: "#" duration_ms: 100 pts: 9'),
    (
        PlayState("u", PlayStatus.CUT, 20, 40),
        "play_state",
        'utterance_id: "u" state: STATE_CUT played_ms: 20 queued_ms: 40',
    ),
    (m.CallState(m.CallStatus.ANSWERED), "call_state", "state: STATE_ANSWERED"),
    (
        m.PartyChange(2, m.Party.AGENT, "Ann", 7),
        "party_change",
        'leg: 2 party: PARTY_AGENT name: "Ann" pts: 7',
    ),
    (m.Freeze("handoff", "u"), "freeze", 'reason: "handoff" except_utterance_id: "u"'),
    (
        m.HandoffUpdate("h", 11, 1, 5, "r"),
        "handoff_update",
        'handoff_id: "h" phase: PHASE_CONNECTED outcome: OUTCOME_CONNECTED revision: 5 '
        'request_id: "r"',
    ),
    (
        m.Notice(m.Severity.WARNING, "late", "text"),
        "notice",
        'severity: SEVERITY_WARNING code: "late" text: "text"',
    ),
    (Ack(12), "ack", "seq: 12"),
    (
        m.Close(m.CloseReason.DRAINING, "bye"),
        "close",
        'reason: REASON_DRAINING text: "bye"',
    ),
]

RESPONSES = [
    (pb.ConverseResponse(clear=pb.Clear()), m.Clear()),
    (pb.ConverseResponse(mark=pb.Mark(name="x")), m.Mark("x")),
    (
        pb.ConverseResponse(barge_verdict=pb.BargeVerdict(utterance_id="u", interrupt=True)),
        m.BargeVerdict("u", interrupt=True),
    ),
    (pb.ConverseResponse(send_dtmf=pb.SendDtmf(digits="12")), m.SendDtmf("12", 100)),
    (
        pb.ConverseResponse(cancel_escalation=pb.CancelEscalation(request_id="r", reason="no")),
        m.CancelEscalation("r", "no"),
    ),
    (pb.ConverseResponse(hang_up=pb.HangUp(reason="done")), m.HangUp("done")),
    (
        pb.ConverseResponse(hang_up=pb.HangUp(after=Duration(seconds=1, nanos=5_000_000))),
        m.HangUp("", 1005),
    ),
    (pb.ConverseResponse(sensitive=pb.Sensitive(on=True)), m.Sensitive(on=True)),
    (pb.ConverseResponse(ack=pb.Ack(seq=3, pts=4)), Ack(3, 4)),
    (
        pb.ConverseResponse(
            speak=pb.Speak(utterance_id="u", data=b"12", last=True, barge=pb.BARGE_AUTO_CLEAR)
        ),
        m.Speak("u", b"12", last=True, barge=m.Barge.AUTO_CLEAR),
    ),
    (
        pb.ConverseResponse(
            notice=pb.Notice(severity=pb.Notice.SEVERITY_ERROR, code="c", text="t")
        ),
        m.Notice(m.Severity.ERROR, "c", "t"),
    ),
]


def opened(**fields: object) -> bytes:
    return pb.ConverseResponse(opened=pb.Opened(**fields)).SerializeToString()  # type: ignore[arg-type]


@pytest.mark.parametrize(("message", "kind", "text"), REQUESTS, ids=[one[1] for one in REQUESTS])
def test_what_the_call_says_is_written(message: Request, kind: str, text: str) -> None:
    written = pb.ConverseRequest.FromString(write_request(7, message))
    assert (written.seq, written.WhichOneof("message")) == (7, kind)
    assert " ".join(str(getattr(written, kind)).split()).startswith(text)


def test_the_opening_is_written() -> None:
    written = pb.ConverseRequest.FromString(write_request(1, OPENING)).open
    assert (written.call_id, written.session_id, written.tenant) == ("c", "s", "acme")
    assert (written.role, written.consent) == (pb.ROLE_PRIMARY, pb.CONSENT_UNKNOWN)
    assert written.uplink == pb.Uplink(
        encoding=pb.ENCODING_PCM_S16LE, sample_rate=8000, chunk_ms=20
    )
    assert written.legs[0].name == "A&B"
    assert list(written.legs[0].attribution_warnings) == ["by order"]
    assert [(one.encoding, one.sample_rate) for one in written.downlink_choices] == [
        (choice.encoding.value, choice.sample_rate) for choice in m.SPOKEN
    ]
    assert written.limits.max_unacked_ms == 2000
    assert dict(written.headers) == {"X-DID": "4711"}


@pytest.mark.parametrize(("said", "value"), RESPONSES)
def test_what_the_ai_says_is_read(said: pb.ConverseResponse, value: object) -> None:
    said.seq = 5
    heard = read_response(said.SerializeToString(), OPENING)
    assert (heard.seq, heard.message, heard.unknown) == (5, value, 0)


def test_transcript_and_intent_are_passed_on_as_they_came() -> None:
    said = pb.Transcript(leg=1, from_pts=2, to_pts=3, text="hi", final=True, language="en")
    heard = read_response(pb.ConverseResponse(transcript=said).SerializeToString(), OPENING)
    assert heard.message == m.Transcript(1, "hi", final=True, wire=said.SerializeToString())
    meant = pb.Intent(name="pay", confidence=0.5)
    heard = read_response(pb.ConverseResponse(intent=meant).SerializeToString(), OPENING)
    assert heard.message == m.Intent("pay", 0.5, meant.SerializeToString())


def test_an_unset_choice_is_what_was_proposed() -> None:
    assert read_response(opened(), OPENING).message == m.Opened(m.NARROWBAND, 20, m.NARROWBAND)


def test_the_ai_chooses_format_chunk_and_legs() -> None:
    uplink = pb.Uplink(encoding=pb.ENCODING_PCM_S16LE, sample_rate=16000, chunk_ms=100)
    heard = read_response(opened(uplink=uplink, legs=[1], no_ack=True), OPENING)
    assert heard.message == m.Opened(WIDEBAND, 100, m.NARROWBAND, legs=(1,), no_ack=True)


@pytest.mark.parametrize(
    "fields",
    [
        {"uplink": pb.Uplink(encoding=pb.ENCODING_OPUS)},
        {"uplink": pb.Uplink(encoding=77)},  # type: ignore[arg-type]
        {"uplink": pb.Uplink(encoding=pb.ENCODING_G711_ULAW, sample_rate=16000)},
        {"uplink": pb.Uplink(sample_rate=44100)},
        {"uplink": pb.Uplink(chunk_ms=30)},
        {"downlink": pb.AudioFormat(sample_rate=48000)},
    ],
    ids=str,
)
def test_an_opened_that_nobody_can_serve_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(VendorError):
        read_response(opened(**fields), OPENING)


def test_unknown_members_and_values_are_ignored_and_counted() -> None:
    later_member = b"\x08\x09" + b"\xfa\x07\x00"  # seq 9, field 127
    heard = read_response(later_member, OPENING)
    assert (heard.seq, heard.message, heard.unknown) == (9, None, 1)
    speak = pb.ConverseResponse(speak=pb.Speak(barge=99, audience=98))  # type: ignore[arg-type]
    heard = read_response(speak.SerializeToString(), OPENING)
    assert (heard.message, heard.unknown) == (m.Speak("", b""), 2)


@given(st.binary(max_size=60))
def test_never_anything_but_vendor_error_on_any_bytes(body: bytes) -> None:
    with suppress(VendorError):
        read_response(body, OPENING)
