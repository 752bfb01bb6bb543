"""One stream after the other under a call, broken at any moment: what the AI has in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from siprec_worker.media.model import AudioFlag, LegAudio
from siprec_worker.session import model as m
from siprec_worker.sinks.audio_wire import AudioWriter
from siprec_worker.sinks.conversation import Conversation
from siprec_worker.sinks.counters import Resumes, StreamCounters
from siprec_worker.sinks.options import AgentOptions
from siprec_worker.sinks.resuming import Resuming
from siprec_worker.sinks.waiting_audio import Backlog
from voicefork.agent.v1 import agent_pb2 as pb

CHUNK = 160
OPTIONS = AgentOptions(silence_seconds=1e6, resume_tries=10**6, backoff_seconds=0.0)
OPENED = m.Opened(m.NARROWBAND, 20, m.NARROWBAND, resume_token="t")


class Pipe:
    """A stream in memory: what is sent waits until it is drained, then the AI has it."""

    def __init__(self, opening: m.Open, receiver: Callable[[m.FromAgent], None]) -> None:
        self.talk = Conversation(opening, OPTIONS)
        self.opening = opening
        self.receiver = receiver
        self.had: list[pb.ConverseRequest] = []
        self.going_away: Callable[[], None] | None = None
        self.over = False
        self.drain()

    @property
    def stats(self) -> StreamCounters:
        return self.talk.counters

    def send_audio(self, pts: int, legs: Sequence[LegAudio]) -> None:
        self.talk.audio(pts, legs, may_send=False)

    def send(self, message: m.ToAgent) -> None:
        self.talk.event(message)

    def close(self, close: m.Close) -> None:
        self.talk.close(close)
        self.drain()
        self.over = True

    def backlog(self) -> Backlog | None:
        return self.talk.backlog()

    def replay(self, backlog: Backlog, *, known: bool) -> None:
        self.talk.replay(backlog.items, known=known)

    def abandon(self) -> None:
        self.over = True

    @property
    def outstanding(self) -> tuple[int, int]:
        return self.stats.acked_seq, self.talk.unacked_ms

    def left(self) -> tuple[bytes, ...]:
        return self.talk.left()

    def drain(self) -> None:
        while not self.over and (message := self.talk.next_message()) is not None:
            self.had.append(pb.ConverseRequest.FromString(b"".join(message[1])))

    def open(self, *, resumed: bool = False) -> None:
        opened = pb.Opened(resume_token="t", resumed=resumed)
        said = self.talk.receive(pb.ConverseResponse(opened=opened).SerializeToString())
        assert said is not None
        self.receiver(said)

    def ack(self) -> None:
        ack = pb.Ack(seq=self.had[-1].seq)
        self.talk.receive(pb.ConverseResponse(ack=ack).SerializeToString())


class Pipes:
    """An AgentConnector of them."""

    def __init__(self) -> None:
        self.made: list[Pipe] = []

    def connect(self, opening: m.Open, receiver: Callable[[m.FromAgent], None]) -> Pipe:
        self.made.append(Pipe(opening, receiver))
        return self.made[-1]

    def flush(self) -> None:
        """Nothing is queued here."""

    async def aclose(self) -> None:
        """Nothing is open here."""


class Line:
    """A call on pipes, and what its AI was given by all of them."""

    def __init__(self, limits: m.Limits, resume: m.Resume | None = None) -> None:
        self.pipes = Pipes()
        self.heard: list[m.FromAgent] = []
        legs = (m.Leg(1, m.LegKind.CUSTOMER, "a"),)
        call = m.Open(m.CallId("c"), m.SessionId("s"), m.Role.PRIMARY, legs, limits=limits)
        call = replace(call, resume=resume)
        connector = Resuming(self.pipes, OPTIONS)
        self.resumes = connector.resumes
        self.stream = connector.connect(call, self.heard.append)
        self.number = 0

    @property
    def pipe(self) -> Pipe:
        """The newest that is not over."""
        return next(pipe for pipe in reversed(self.pipes.made) if not pipe.over)

    def audio(self) -> None:
        data = self.number.to_bytes(2, "big") * CHUNK
        self.stream.send_audio(self.number * CHUNK, [LegAudio(1, data)])
        self.number += 1

    def lose(self, *, retryable: bool = True, pipe: Pipe | None = None) -> None:
        pipe = pipe or self.pipe
        pipe.over = True
        pipe.receiver(m.AgentLost("broken", retryable))

    def missing(self) -> list[int]:
        """The chunks that the AI has neither got nor been told of."""
        known: set[int] = set()
        for pipe in self.pipes.made:
            for one in pipe.had:
                match one.WhichOneof("message"):
                    case "audio":
                        start, data = one.audio.pts // CHUNK, one.audio.legs[0].data
                        numbers = range(start, start + len(data) // (2 * CHUNK))
                        assert data == b"".join(n.to_bytes(2, "big") * CHUNK for n in numbers)
                        known.update(numbers)
                    case "gap":
                        known.update(range(one.gap.from_pts // CHUNK, one.gap.to_pts // CHUNK))
        return [number for number in range(self.number) if number not in known]


async def opened_line(limits: m.Limits | None = None) -> Line:
    line = Line(limits or m.Limits())
    line.pipe.open()
    return line


async def test_what_was_not_acked_is_replayed_late_and_the_session_hears_nothing() -> None:
    line = await opened_line()
    line.audio()
    line.pipe.drain()
    line.pipe.ack()
    line.audio()
    line.pipe.drain()
    line.lose()
    line.audio()
    assert line.pipe.opening.resume == m.Resume("t", 2)
    line.pipe.open(resumed=True)
    line.audio()
    line.pipe.drain()
    flags = [(one.audio.pts // CHUNK, one.audio.legs[0].flags) for one in line.pipe.had[1:]]
    assert flags == [(1, AudioFlag.LATE), (2, AudioFlag.LATE), (3, 0)]
    assert line.heard == [OPENED]


@pytest.mark.parametrize("goes", [False, True])
async def test_a_call_of_another_worker_whose_first_stream_fails_is_tried_again(goes: bool) -> None:
    left = b"".join(AudioWriter().pieces(0, 0, [LegAudio(1, bytes(2 * CHUNK))])[1])
    line = Line(m.Limits(), m.Resume("t", 7, (left,)))
    first, line.number = line.pipe, 1
    line.audio()
    if goes:
        assert first.going_away is not None
        first.going_away()
    line.lose(pipe=first)
    line.audio()
    assert line.pipe is not first
    assert line.pipe.opening.resume == m.Resume("t", 7)
    assert line.heard == []
    line.pipe.open(resumed=True)
    line.pipe.drain()
    assert [one.audio.pts // CHUNK for one in line.pipe.had[1:]] == [0, 1, 2]
    assert line.heard == [replace(OPENED, resumed=True)]


@pytest.mark.parametrize("known", [True, False])
async def test_what_became_of_a_broken_stream_is_counted(known: bool) -> None:
    line = await opened_line()
    line.audio()
    line.lose()
    line.audio()
    line.pipe.open(resumed=known)
    replayed, missed = (40, 0) if known else (0, 40)
    assert line.resumes == Resumes(
        int(known), int(not known), 0, replayed_ms=replayed, missed_ms=missed
    )
    line.lose()
    line.lose(retryable=False)
    assert line.resumes.failed == 1


async def test_a_loss_that_is_final_or_without_a_token_is_told_at_once() -> None:
    line = await opened_line()
    line.lose(retryable=False)
    assert line.heard[-1] == m.AgentLost("broken", retryable=False)
    tokenless = Line(m.Limits())
    tokenless.pipe.receiver(replace(OPENED, resume_token=""))
    tokenless.lose()
    assert isinstance(tokenless.heard[-1], m.AgentLost)
    assert len(tokenless.pipes.made) == 1


async def test_a_resumed_call_in_another_form_is_lost() -> None:
    line = await opened_line()
    line.lose()
    line.pipe.receiver(replace(OPENED, chunk_ms=40, resumed=True))
    assert isinstance(line.heard[-1], m.AgentLost)


async def test_a_call_that_ends_while_it_is_held_tries_no_more() -> None:
    line = await opened_line()
    line.lose()
    line.stream.close(m.Close(m.CloseReason.CALL_ENDED))
    assert line.pipes.made[-1].over
    line.pipes.made[-1].receiver(replace(OPENED, resumed=True))
    assert line.heard == [OPENED]


async def test_a_stream_that_is_to_move_is_used_until_the_next_has_opened() -> None:
    line = await opened_line()
    old = line.pipe
    line.audio()
    assert old.going_away is not None
    old.going_away()
    line.audio()
    old.drain()
    old.receiver(m.Mark("still heard"))
    line.pipe.open(resumed=True)
    line.audio()
    line.pipe.drain()
    old.receiver(m.AgentLost("gone, as it said"))
    assert [one.audio.pts // CHUNK for one in old.had if one.HasField("audio")] == [0, 1]
    assert [one.audio.pts // CHUNK for one in line.pipe.had if one.HasField("audio")] == [0, 1, 2]
    assert line.heard == [OPENED, m.Mark("still heard")]


steps = st.lists(
    st.sampled_from(
        ["audio", "run", "drain", "ack", "break", "resume", "forget", "fail", "move", "old breaks"]
    ),
    max_size=60,
)


@settings(deadline=None)
@given(steps, st.sampled_from([m.Limits(), m.Limits(400, 600)]))
def test_every_sample_reaches_the_ai_or_is_told_whatever_breaks(
    history: list[str], limits: m.Limits
) -> None:
    asyncio.run(_live(history, limits))


async def _live(history: list[str], limits: m.Limits) -> None:
    line = await opened_line(limits)
    for step in history:
        carrying = line.pipe.talk.opened is not None
        match step:
            case "audio":
                line.audio()
            case "run":
                for _ in range(40):
                    line.audio()
            case "drain":
                line.pipe.drain()
            case "ack" if carrying:
                line.pipe.ack()
            case "break" if carrying:
                line.lose()
            case "resume" | "forget" if not carrying:
                line.pipe.open(resumed=step == "resume")
            case "fail" if not carrying:
                made = len(line.pipes.made)
                line.lose()
                while len(line.pipes.made) == made:  # noqa: ASYNC110 - the back-off is none
                    await asyncio.sleep(0)
            case "move" if carrying and line.pipe.going_away is not None:
                line.pipe.going_away()
            case "old breaks" if not carrying:  # under the one that is being moved to
                for pipe in line.pipes.made:
                    if pipe.talk.opened is not None and not pipe.over:
                        line.lose(pipe=pipe)
            case _:
                pass
    if line.pipe.talk.opened is None:
        line.pipe.open(resumed=True)
    line.pipe.drain()
    line.stream.close(m.Close(m.CloseReason.CALL_ENDED))
    assert line.missing() == []
    assert line.heard == [OPENED]
