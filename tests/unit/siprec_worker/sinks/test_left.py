"""What one worker's stream leaves to another worker's: nothing is missing, all is told."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from siprec_worker.media.model import AudioFlag, Gap, GapCause, LegAudio
from siprec_worker.session import model as m
from siprec_worker.sinks import wire
from siprec_worker.sinks.conversation import Conversation
from siprec_worker.sinks.left import MAX_BYTES, read_left, write_left
from siprec_worker.sinks.options import AgentOptions
from siprec_worker.sinks.waiting_audio import Chunk
from voicefork.agent.v1 import agent_pb2 as pb

SAMPLES, RATE = 160, 8000
LEGS = (m.Leg(1, m.LegKind.CUSTOMER, "a"),)
OPENING = m.Open(m.CallId("c"), m.SessionId("s"), m.Role.PRIMARY, LEGS)

pieces = st.one_of(
    st.builds(
        lambda number, fill: Chunk(number * SAMPLES, [LegAudio(1, bytes([fill]) * 320)], 20),
        st.integers(0, 10_000),
        st.integers(0, 255),
    ),
    st.builds(
        Gap, st.just(1), st.integers(0, 99), st.integers(100, 999), st.sampled_from(GapCause)
    ),
    st.builds(m.ClockAnchor, st.integers(0, 10_000), st.just(1.5)),
)


def chunk(number: int) -> tuple[int, list[LegAudio]]:
    return number * SAMPLES, [LegAudio(1, bytes([number]) * 320)]


def hear(talk: Conversation, **fields: object) -> None:
    talk.receive(pb.ConverseResponse(**fields).SerializeToString())  # type: ignore[arg-type]


def said(talk: Conversation) -> list[pb.ConverseRequest]:
    found = []
    while (message := talk.next_message()) is not None:
        found.append(pb.ConverseRequest.FromString(b"".join(message[1])))
    return found


def a_broken_one() -> Conversation:
    """Of chunks 0 to 5 the AI has acknowledged three; a gap follows the fifth."""
    talk = Conversation(OPENING, AgentOptions())
    said(talk)
    hear(talk, opened=pb.Opened(resume_token="t"))
    for number in range(5):
        talk.audio(*chunk(number), may_send=True)
    hear(talk, ack=pb.Ack(seq=4))
    talk.event(Gap(1, 800, 960, GapCause.NETWORK_LOSS))
    talk.audio(*chunk(6), may_send=False)
    return talk


def go_on(left: tuple[bytes, ...], *, resumed: bool) -> list[pb.ConverseRequest]:
    talk = Conversation(replace(OPENING, resume=m.Resume("t", 4, left)), AgentOptions())
    said(talk)
    talk.audio(*chunk(7), may_send=False)
    hear(talk, opened=pb.Opened(resume_token="t", resumed=resumed))
    return said(talk)


def test_what_was_not_acknowledged_is_said_again_before_what_came_meanwhile() -> None:
    heard = go_on(a_broken_one().left(), resumed=True)
    audio = [one.audio for one in heard if one.WhichOneof("message") == "audio"]
    assert [one.pts // SAMPLES for one in audio] == [3, 4, 6, 7]
    assert [one.legs[0].data[0] for one in audio] == [3, 4, 6, 7]
    assert [bool(one.legs[0].flags & AudioFlag.LATE) for one in audio] == [True] * 3 + [False]
    (gap,) = [one.gap for one in heard if one.WhichOneof("message") == "gap"]
    assert (gap.from_pts, gap.to_pts, gap.cause) == (800, 960, pb.GAP_CAUSE_NETWORK_LOSS)
    assert [one.seq for one in heard] == list(range(2, 2 + len(heard)))


def test_an_ai_that_has_forgotten_the_call_is_told_of_it_as_a_gap() -> None:
    heard = go_on(a_broken_one().left(), resumed=False)
    audio = [one.audio.pts // SAMPLES for one in heard if one.WhichOneof("message") == "audio"]
    gaps = [
        (one.gap.from_pts, one.gap.to_pts)
        for one in heard
        if one.gap.cause == pb.GAP_CAUSE_RESUME_TOO_OLD
    ]
    assert audio == [7]
    assert gaps == [(480, 800), (960, 1120)]


def test_a_stream_that_nobody_can_go_on_with_leaves_nothing() -> None:
    talk = Conversation(OPENING, AgentOptions())
    talk.audio(*chunk(0), may_send=False)
    assert talk.left() == ()


def test_what_was_left_twice_is_still_all_there() -> None:
    left = a_broken_one().left()
    talk = Conversation(replace(OPENING, resume=m.Resume("t", 4, left)), AgentOptions())
    said(talk)
    assert len(talk.left()) == len(left)


def test_of_too_much_the_oldest_audio_is_told_as_a_gap() -> None:
    size = MAX_BYTES // 10
    chunks = [Chunk(n * 400, [LegAudio(1, bytes(size))], 50) for n in range(12)]
    gap, *kept = [pb.ConverseRequest.FromString(one) for one in write_left(chunks, RATE)]
    assert (gap.gap.from_pts, gap.gap.to_pts) == (0, 800)
    assert gap.gap.cause == pb.GAP_CAUSE_RESUME_TOO_OLD
    assert len(kept) == 10


@given(st.lists(pieces, max_size=20))
def test_what_is_written_is_read_again(items: list[Chunk | m.ToAgent]) -> None:
    found = read_left(write_left(items, RATE), m.NARROWBAND)
    assert len(found) == len(items)
    for item, read in zip(items, found, strict=True):
        if isinstance(item, Chunk):
            assert read == item
        else:
            assert isinstance(read, m.Repeated)
            assert wire.write_request(9, read) == wire.write_request(9, item)


@given(st.lists(st.binary(max_size=64), max_size=8))
def test_any_bytes_end_nothing(messages: list[bytes]) -> None:
    assert len(read_left(messages, m.NARROWBAND)) <= len(messages)
