from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from voicefork.agent.v1 import agent_pb2 as pb
from voicefork_sdk.events import Audio, Gap, HandoffUpdate, LegAudio
from voicefork_sdk.model import GapCause, Leg, LegKind, Outcome, Phase
from voicefork_sdk.wire import EventReader

CUSTOMER = Leg(1, LegKind.CUSTOMER)
READER = EventReader((CUSTOMER,))


def test_audio_names_its_leg() -> None:
    part = pb.LegAudio(handle=1, data=b"\1\2")
    event = READER.read(pb.ConverseRequest(audio=pb.Audio(pts=160, legs=[part])))
    assert event == Audio(160, (LegAudio(CUSTOMER, b"\1\2"),))
    assert isinstance(event, Audio)
    assert event.of(LegKind.CUSTOMER) == b"\1\2"
    assert event.of(LegKind.PBX) == b""


def test_a_leg_that_was_never_announced_is_of_unknown_kind() -> None:
    request = pb.ConverseRequest(gap=pb.Gap(leg=9, to_pts=160, cause=pb.GAP_CAUSE_SHED))
    assert READER.read(request) == Gap(Leg(9, LegKind.UNKNOWN), 0, 160, GapCause.SHED)


def test_a_handoff_update_keeps_its_meaning() -> None:
    update = pb.HandoffUpdate(handoff_id="h", phase=14, outcome=2, revision=3, request_id="r")  # type: ignore[arg-type]
    assert READER.read(pb.ConverseRequest(handoff_update=update)) == HandoffUpdate(
        "h", Phase.FAILED, Outcome.BUSY, 3, "r"
    )


def test_what_is_no_event_reads_as_none() -> None:
    assert READER.read(pb.ConverseRequest(seq=1)) is None
    assert READER.read(pb.ConverseRequest(ack=pb.Ack(seq=1))) is None


@given(st.binary(max_size=200))
def test_whatever_parses_as_a_request_is_read(data: bytes) -> None:
    try:
        request = pb.ConverseRequest.FromString(data)
    except Exception:
        return
    READER.read(request)


@given(st.sampled_from([field.name for field in pb.ConverseRequest.DESCRIPTOR.fields][1:]))
def test_every_kind_of_message_is_read(kind: str) -> None:
    request = pb.ConverseRequest()
    getattr(request, kind).SetInParent()
    assert (READER.read(request) is None) == (kind in ("open", "ack"))
