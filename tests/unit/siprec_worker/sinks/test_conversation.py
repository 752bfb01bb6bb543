"""The rules of a talk with an AI: order, numbers, acknowledgement, shedding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from siprec_worker.errors import VendorError
from siprec_worker.media.model import Dtmf, Gap, GapCause, LegAudio
from siprec_worker.session import model as m
from siprec_worker.sinks.agreed_form import wanted_legs
from siprec_worker.sinks.conversation import Conversation
from siprec_worker.sinks.options import AgentOptions
from voicefork.agent.v1 import agent_pb2 as pb

CHUNK = 160
LEGS = (m.Leg(1, m.LegKind.CUSTOMER, "a"), m.Leg(2, m.LegKind.PBX, "b"))


def opening(role: m.Role = m.Role.SHADOW, limits: m.Limits | None = None) -> m.Open:
    limits = limits or m.Limits(max_unacked_ms=100, replay_ms=100)
    return m.Open(m.CallId("c"), m.SessionId("s"), role, LEGS, limits=limits)


def said(**fields: object) -> bytes:
    return pb.ConverseResponse(**fields).SerializeToString()  # type: ignore[arg-type]


def chunk(number: int, handles: tuple[int, ...] = (1,)) -> tuple[int, list[LegAudio]]:
    return number * CHUNK, [LegAudio(handle, bytes([number & 255]) * 320) for handle in handles]


class Talk:
    """A conversation and everything that has been taken out of it."""

    def __init__(
        self,
        opening: m.Open,
        options: AgentOptions | None = None,
        opened: pb.Opened | None = None,
    ) -> None:
        self.conversation = Conversation(opening, options or AgentOptions())
        self.sent: list[pb.ConverseRequest] = []
        self.drain()
        if opened is not None:
            self.conversation.receive(said(seq=1, opened=opened))

    def audio(self, number: int, handles: tuple[int, ...] = (1,), *, may_send: bool = True) -> None:
        message = self.conversation.audio(*chunk(number, handles), may_send=may_send)
        if message is not None:
            self.sent.append(pb.ConverseRequest.FromString(b"".join(message[1])))

    def drain(self) -> None:
        while (message := self.conversation.next_message()) is not None:
            self.sent.append(pb.ConverseRequest.FromString(b"".join(message[1])))

    def ack(self, seq: int) -> None:
        self.conversation.receive(said(ack=pb.Ack(seq=seq)))

    @property
    def kinds(self) -> list[str]:
        return [str(one.WhichOneof("message")) for one in self.sent]

    def gaps(self) -> list[tuple[int, int, int]]:
        gaps = [one.gap for one in self.sent if one.WhichOneof("message") == "gap"]
        return [(gap.leg, gap.from_pts, gap.to_pts) for gap in gaps]


def opened_talk(**fields: object) -> Talk:
    return Talk(opening(), opened=pb.Opened(**fields))  # type: ignore[arg-type]


def test_the_first_message_is_open_and_nothing_follows_before_opened() -> None:
    talk = Talk(opening())
    talk.audio(0)
    talk.conversation.event(m.CallState(m.CallStatus.EARLY))
    talk.drain()
    assert talk.kinds == ["open"]


def test_what_waited_for_opened_follows_in_order() -> None:
    talk = Talk(opening())
    talk.audio(0)
    talk.conversation.event(m.CallState(m.CallStatus.EARLY))
    talk.audio(1)
    talk.conversation.receive(said(opened=pb.Opened()))
    talk.drain()
    assert talk.kinds == ["open", "audio", "call_state", "audio"]
    assert [one.seq for one in talk.sent] == [1, 2, 3, 4]


def test_audio_beyond_the_limit_before_opened_sheds_the_oldest() -> None:
    talk = Talk(opening())
    for number in range(8):
        talk.audio(number, (1, 2))
    talk.conversation.receive(said(opened=pb.Opened()))
    talk.drain()
    assert talk.kinds == ["open", "gap", "gap"] + ["audio"] * 5
    assert talk.gaps() == [(1, 0, 3 * CHUNK), (2, 0, 3 * CHUNK)]
    assert talk.conversation.counters.shed_ms == 60


def test_a_primary_gets_only_the_customer_of_what_waited() -> None:
    talk = Talk(opening(m.Role.PRIMARY))
    for number in range(8):
        talk.audio(number, (1, 2))
    talk.conversation.event(Gap(2, 0, 160, GapCause.NETWORK_LOSS))
    talk.conversation.receive(said(opened=pb.Opened()))
    talk.drain()
    assert {leg.handle for one in talk.sent for leg in one.audio.legs} == {1}
    assert talk.gaps() == [(1, 0, 3 * CHUNK)]


def test_what_waited_in_another_format_than_the_chosen_is_told_as_a_gap_at_its_rate() -> None:
    talk = Talk(opening())
    talk.audio(0)
    talk.audio(1)
    talk.conversation.event(Dtmf(1, "1", 100, 320))
    wideband = pb.Opened(uplink=pb.Uplink(sample_rate=16000))
    talk.conversation.receive(said(opened=wideband))
    talk.conversation.audio(640, [LegAudio(1, bytes(640))], may_send=True)
    talk.drain()
    assert talk.kinds == ["open", "dtmf", "gap", "audio"]
    assert talk.sent[1].dtmf.pts == 640
    assert talk.gaps() == [(1, 0, 640)]


def test_nothing_un_acked_means_the_whole_limit_may_be_sent() -> None:
    talk = opened_talk()
    for number in range(5):
        talk.audio(number)
        talk.drain()
    assert talk.kinds == ["open"] + ["audio"] * 5
    assert talk.conversation.unacked_ms == 100


def test_above_the_limit_audio_is_shed_until_the_ai_acks() -> None:
    talk = opened_talk()
    for number in range(9):
        talk.audio(number)
        talk.drain()
    assert talk.kinds == ["open"] + ["audio"] * 5 + ["pressure"]
    talk.ack(4)
    talk.audio(9)
    talk.drain()
    assert talk.kinds[7:] == ["pressure", "gap", "audio"]
    assert talk.gaps() == [(1, 5 * CHUNK, 9 * CHUNK)]
    assert talk.conversation.unacked_ms == 60
    assert talk.conversation.counters.acked_seq == 4


def test_what_waits_locally_counts_as_un_acked() -> None:
    talk = opened_talk()
    for number in range(20):
        talk.audio(number, may_send=False)
        assert talk.conversation.unacked_ms <= 100
    talk.drain()
    assert talk.gaps() == [(1, 0, 15 * CHUNK)]


def test_without_acks_only_what_waits_is_bounded() -> None:
    talk = opened_talk(no_ack=True)
    for number in range(50):
        talk.audio(number)
    assert talk.kinds.count("audio") == 50
    assert not talk.conversation.acks


def test_a_backlog_from_before_opened_is_allowed_until_it_is_acked() -> None:
    talk = Talk(opening(limits=m.Limits(max_unacked_ms=100, replay_ms=400)))
    for number in range(20):
        talk.audio(number)
    talk.conversation.receive(said(opened=pb.Opened()))
    talk.drain()
    talk.audio(20)
    assert talk.conversation.unacked_ms == 420
    assert not talk.gaps()
    talk.ack(21)
    for number in range(21, 40):
        talk.audio(number)
    assert talk.conversation.unacked_ms == 100


def test_a_chunk_shorter_than_a_millisecond_is_bounded_too() -> None:
    talk = opened_talk()
    for number in range(500):
        talk.conversation.audio(number, [LegAudio(1, b"\0\0")], may_send=False)
    assert talk.conversation.unacked_ms == 100


def test_close_is_the_last_word_and_follows_what_waits() -> None:
    talk = opened_talk()
    talk.audio(0, may_send=False)
    talk.conversation.close(m.Close(m.CloseReason.CALL_ENDED))
    talk.conversation.close(m.Close(m.CloseReason.DRAINING))
    talk.audio(1)
    talk.conversation.event(m.CallState(m.CallStatus.ENDED))
    talk.drain()
    assert talk.kinds == ["open", "audio", "close"]
    assert talk.conversation.finished


def test_a_shed_stretch_is_told_before_the_goodbye() -> None:
    talk = opened_talk()
    for number in range(7):
        talk.audio(number)
        talk.drain()
    talk.conversation.close(m.Close(m.CloseReason.CALL_ENDED))
    talk.drain()
    assert talk.kinds[-2:] == ["gap", "close"]


def test_close_before_opened_drops_what_waited() -> None:
    talk = Talk(opening())
    talk.audio(0)
    talk.conversation.close(m.Close(m.CloseReason.NOT_ANSWERED))
    talk.drain()
    assert talk.kinds == ["open", "close"]


def test_our_ack_names_the_last_message_heard() -> None:
    talk = opened_talk()
    talk.conversation.receive(said(seq=7, mark=pb.Mark(name="x")))
    talk.conversation.acknowledge()
    talk.drain()
    assert talk.sent[-1].ack.seq == 7


def test_an_ai_that_does_not_number_is_counted_for() -> None:
    talk = Talk(opening())
    for response in (said(opened=pb.Opened()), said(mark=pb.Mark())):
        talk.conversation.receive(response)
    talk.conversation.acknowledge()
    talk.drain()
    assert talk.sent[-1].ack.seq == 2


def test_speaking_before_opened_is_refused() -> None:
    with pytest.raises(VendorError, match="Speak before Opened"):
        Talk(opening()).conversation.receive(said(speak=pb.Speak(data=b"12")))


def test_a_second_opened_is_ignored_and_counted() -> None:
    talk = opened_talk()
    assert talk.conversation.receive(said(opened=pb.Opened())) is None
    assert talk.conversation.counters.ignored == 1


def test_silence_is_measured_in_offered_audio() -> None:
    talk = Talk(opening(), AgentOptions(silence_seconds=0.2), pb.Opened())
    for number in range(9):
        talk.audio(number)
    assert not talk.conversation.silent
    talk.ack(1)
    for number in range(9):
        talk.audio(number)
    assert not talk.conversation.silent
    talk.audio(9)
    assert talk.conversation.silent


def test_events_that_nobody_reads_are_an_overrun() -> None:
    talk = Talk(opening(), AgentOptions(max_queued_events=3))
    for _ in range(3):
        talk.conversation.event(m.CallState(m.CallStatus.EARLY))
    assert not talk.conversation.overrun
    talk.conversation.event(m.CallState(m.CallStatus.ANSWERED))
    assert talk.conversation.overrun


def test_legs_are_those_asked_for_or_the_roles() -> None:
    opened = m.Opened(m.NARROWBAND, 20, m.NARROWBAND)
    assert wanted_legs(opening(m.Role.PRIMARY), opened) == {1}
    assert wanted_legs(opening(m.Role.SHADOW), opened) == {1, 2}
    asked = m.Opened(m.NARROWBAND, 20, m.NARROWBAND, legs=(2,))
    assert wanted_legs(opening(m.Role.PRIMARY), asked) == {2}


steps = st.lists(
    st.sampled_from(["send", "wait", "drain", "ack", "event"]), min_size=1, max_size=120
)


@given(steps)
def test_every_sample_is_sent_or_told_as_shed_in_order(history: list[str]) -> None:
    talk, number, room = opened_talk(), 0, True
    for step in history:
        match step:
            case "send" | "wait":
                room = room and step == "send"
                talk.audio(number, may_send=room)
                number += 1
            case "drain":
                talk.drain()
                room = True
            case "ack":
                talk.ack(len(talk.sent))
            case _:
                talk.conversation.event(m.CallState(m.CallStatus.ANSWERED))
        assert talk.conversation.unacked_ms <= 100
    talk.conversation.close(m.Close(m.CloseReason.CALL_ENDED))
    talk.drain()
    spans = [
        (one.gap.from_pts, one.gap.to_pts)
        if kind == "gap"
        else (one.audio.pts, one.audio.pts + CHUNK)
        for kind, one in zip(talk.kinds, talk.sent, strict=True)
        if kind in ("gap", "audio")
    ]
    starts = [start for start, _ in spans] + [number * CHUNK]
    assert starts == [0] + [end for _, end in spans]
    assert [one.seq for one in talk.sent] == list(range(1, len(talk.sent) + 1))


def test_an_ack_is_not_acked_in_turn() -> None:
    talk = opened_talk()
    talk.conversation.acknowledge()
    talk.ack(1)
    assert not talk.conversation.ack_due
    talk.conversation.acknowledge()
    talk.drain()
    assert talk.kinds == ["open", "ack"]
