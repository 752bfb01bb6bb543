"""How messages grow, and shrink again, with what is un-acked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from siprec_worker.media.model import LegAudio
from siprec_worker.session import model as m
from siprec_worker.sinks.conversation import Conversation
from siprec_worker.sinks.options import AgentOptions
from siprec_worker.sinks.pressure import Gauge, Level
from voicefork.agent.v1 import agent_pb2 as pb

CHUNK = 160
LIMIT = 2000


@pytest.mark.parametrize(
    ("unacked_ms", "chunk_ms"), [(1000, 20), (1020, 40), (1260, 60), (1520, 100), (2000, 100)]
)
def test_messages_grow_in_stages(unacked_ms: int, chunk_ms: int) -> None:
    gauge = Gauge(LIMIT, 20)
    gauge.weigh(unacked_ms)
    assert gauge.chunk_ms == chunk_ms


def test_messages_keep_their_size_until_the_pressure_is_over() -> None:
    gauge = Gauge(LIMIT, 20)
    told = [gauge.weigh(unacked) for unacked in (1300, 900, 600, 1100, 500, 600)]
    assert told == [True, False, False, False, True, False]
    assert (gauge.level, gauge.chunk_ms) == (Level.NONE, 20)


def test_shedding_is_over_before_the_pressure_is() -> None:
    gauge = Gauge(LIMIT, 20)
    gauge.weigh(LIMIT, shed=True)
    gauge.weigh(1600)
    assert gauge.level is Level.SHEDDING
    gauge.weigh(1400)
    assert (gauge.level, gauge.chunk_ms) == (Level.LARGER_CHUNKS, 100)


@pytest.mark.parametrize(("slot_ms", "largest_ms"), [(20, 100), (40, 200), (60, 180), (200, 200)])
def test_no_message_is_larger_than_the_contract_allows(slot_ms: int, largest_ms: int) -> None:
    gauge = Gauge(LIMIT, slot_ms)
    gauge.weigh(LIMIT, shed=True)
    assert gauge.chunk_ms == largest_ms


class Line:
    """A conversation that is open, and what an AI was sent of it."""

    def __init__(self, limit_ms: int = LIMIT) -> None:
        legs = (m.Leg(1, m.LegKind.CUSTOMER, "a"), m.Leg(2, m.LegKind.PBX, "b"))
        limits = m.Limits(max_unacked_ms=limit_ms, replay_ms=limit_ms)
        call = m.Open(m.CallId("c"), m.SessionId("s"), m.Role.SHADOW, legs, limits=limits)
        self.talk = Conversation(call, AgentOptions(silence_seconds=1e6))
        self.sent: list[pb.ConverseRequest] = []
        self.number = 0
        self.drain()
        self.talk.receive(pb.ConverseResponse(opened=pb.Opened()).SerializeToString())

    def audio(self, *, may_send: bool = True) -> None:
        value = self.number.to_bytes(2, "big") * CHUNK
        legs = [LegAudio(1, value), LegAudio(2, value)]
        message = self.talk.audio(self.number * CHUNK, legs, may_send)
        self.number += 1
        if message is not None:
            self.sent.append(pb.ConverseRequest.FromString(b"".join(message[1])))
        elif may_send:
            self.drain()

    def drain(self) -> None:
        while (message := self.talk.next_message()) is not None:
            self.sent.append(pb.ConverseRequest.FromString(b"".join(message[1])))

    def ack(self, seq: int) -> None:
        self.talk.receive(pb.ConverseResponse(ack=pb.Ack(seq=seq)).SerializeToString())
        self.drain()

    @property
    def pressures(self) -> list[tuple[int, int]]:
        told = [one.pressure for one in self.sent if one.WhichOneof("message") == "pressure"]
        return [(one.level, one.chunk_ms) for one in told]

    def samples(self, leg: int) -> list[tuple[int, int, bytes | None]]:
        """Every span of a leg that was sent (with its bytes) or told as shed, as it came."""
        spans: list[tuple[int, int, bytes | None]] = []
        for one in self.sent:
            match one.WhichOneof("message"):
                case "audio":
                    data = next(x.data for x in one.audio.legs if x.handle == leg)
                    spans.append((one.audio.pts, one.audio.pts + len(data) // 2, data))
                case "gap" if one.gap.leg == leg and one.gap.cause == pb.GAP_CAUSE_SHED:
                    spans.append((one.gap.from_pts, one.gap.to_pts, None))
        return spans


def test_an_ai_that_falls_behind_gets_larger_messages_and_is_told() -> None:
    line = Line()
    for _ in range(200):
        line.audio()
    assert line.pressures == [
        (pb.Pressure.LEVEL_LARGER_CHUNKS, 40),
        (pb.Pressure.LEVEL_LARGER_CHUNKS, 60),
        (pb.Pressure.LEVEL_LARGER_CHUNKS, 100),
        (pb.Pressure.LEVEL_SHEDDING, 100),
    ]
    sizes = [len(one.audio.legs[0].data) for one in line.sent if one.HasField("audio")]
    assert set(sizes) == {320, 640, 960, 1600}
    assert line.talk.unacked_ms == LIMIT


def test_an_ai_that_catches_up_gets_small_messages_again() -> None:
    line = Line()
    for _ in range(120):
        line.audio()
    line.ack(len(line.sent))
    line.audio()
    assert line.pressures[-1] == (pb.Pressure.LEVEL_NONE, 20)
    assert len(line.sent[-1].audio.legs[0].data) == 320
    told = [one.pressure for one in line.sent if one.WhichOneof("message") == "pressure"]
    assert told[-1].shed_ms == line.talk.counters.shed_ms == 400


def test_an_event_keeps_its_place_when_messages_are_larger() -> None:
    line = Line()
    for _ in range(90):
        line.audio()
    line.ack(1)
    begun = len(line.sent)
    line.audio()
    line.talk.event(m.CallState(m.CallStatus.ON_HOLD))
    line.audio()
    line.drain()
    kinds = [one.WhichOneof("message") for one in line.sent[begun:]]
    assert kinds[:2] == ["audio", "call_state"]


histories = st.lists(
    st.sampled_from(["run", "run", "one", "stuck", "drain", "ack", "ack all", "event"]),
    min_size=1,
    max_size=60,
)


@given(histories, st.sampled_from([100, 400, LIMIT]))
def test_every_sample_is_sent_once_or_told_as_shed_exactly(
    history: list[str], limit_ms: int
) -> None:
    line = Line(limit_ms)
    for step in history:
        match step:
            case "run":
                for _ in range(25):
                    line.audio()
                    assert line.talk.unacked_ms <= limit_ms
            case "one":
                line.audio()
            case "stuck":
                line.audio(may_send=False)
            case "drain":
                line.drain()
            case "ack":
                line.ack(len(line.sent) // 2)
            case "ack all":
                line.ack(len(line.sent))
            case _:
                line.talk.event(m.CallState(m.CallStatus.ANSWERED))
        assert line.talk.unacked_ms <= limit_ms
    line.talk.close(m.Close(m.CloseReason.CALL_ENDED))
    line.drain()
    for leg in (1, 2):
        spans = line.samples(leg)
        starts = [start for start, _, _ in spans] + [line.number * CHUNK]
        assert starts == [0] + [end for _, end, _ in spans]
        for start, end, data in spans:
            numbers = range(start // CHUNK, end // CHUNK)
            whole = b"".join(number.to_bytes(2, "big") * CHUNK for number in numbers)
            assert data in (None, whole)
