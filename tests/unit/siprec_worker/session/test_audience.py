"""One call, several AIs, each with the form it asked for."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from siprec_worker.media.call_audio import CallAudio
from siprec_worker.media.model import AudioFormat, Dtmf, Encoding, Gap, GapCause, LegAudio, Speech
from siprec_worker.session import events as ev
from siprec_worker.session.audience import Audience
from siprec_worker.session.feeds import Feeds, Form
from siprec_worker.session.model import ClockAnchor, Close, CloseReason, Party, PartyChange, ToAgent

from tests.builders.listening import PAYLOADS, PHASE, START, TICK
from tests.builders.rtp import rtp

PCM8 = Form(AudioFormat(Encoding.PCM_S16LE, 8000))
PCM16 = Form(AudioFormat(Encoding.PCM_S16LE, 16_000))
PCM24_60 = Form(AudioFormat(Encoding.PCM_S16LE, 24_000), 60)
ULAW = Form(AudioFormat(Encoding.G711_ULAW, 8000))


class Stream:
    """An AI that writes down what it is sent."""

    def __init__(self) -> None:
        self.audio: list[tuple[int, list[tuple[int, bytes]]]] = []
        self.messages: list[ToAgent] = []
        self.closed: Close | None = None

    def send_audio(self, pts: int, legs: Sequence[LegAudio]) -> None:
        self.audio.append((pts, [(leg.handle, leg.data) for leg in legs]))

    def send(self, message: ToAgent) -> None:
        self.messages.append(message)

    def close(self, close: Close) -> None:
        self.closed = close

    def abandon(self) -> None:
        """Another worker goes on."""

    @property
    def outstanding(self) -> tuple[int, int]:
        return 0, 0

    def left(self) -> tuple[bytes, ...]:
        return ()


class Room:
    """A call of two legs, 1 and 2, and its AIs, who get both."""

    def __init__(self, *forms: Form, watched_for: frozenset[int] = frozenset()) -> None:
        self.heard: list[ev.Heard] = []
        self.feeds = Feeds(
            PCM8, lambda form: CallAudio(START, uplink=form.uplink, chunk_ms=form.chunk_ms)
        )
        self.tracks = {leg: self.feeds.add_track(leg, PAYLOADS) for leg in (1, 2)}
        self.audience = Audience(self.feeds, watched_for, lambda event, _: self.heard.append(event))
        self.streams = [Stream() for _ in forms]
        for agent, (stream, form) in enumerate(zip(self.streams, forms, strict=True)):
            self.audience.add(agent, stream, PCM8)
            self.audience.use(agent, form)
            self.audience.listen(agent, (1, 2))
        self.ticks = 0

    @property
    def now(self) -> float:
        return START + PHASE + self.ticks * TICK

    def tick(self, *numbers: int, payload: bytes | None = None) -> None:
        for number in numbers:
            for leg, track in self.tracks.items():
                track.receive(rtp(number, payload, ssrc=leg))
        self.audience.tick(self.now)
        self.ticks += 1

    def play(self, *numbers: int, payload: bytes | None = None) -> None:
        for number in numbers:
            self.tick(number, payload=payload)


def positions(stream: Stream) -> list[int]:
    return [pts for pts, _ in stream.audio]


def sizes(stream: Stream) -> set[int]:
    return {len(data) for _, legs in stream.audio for _, data in legs}


@pytest.mark.parametrize(
    ("form", "step", "size"),
    [(PCM8, 160, 320), (PCM16, 320, 640), (PCM24_60, 1440, 2880), (ULAW, 160, 160)],
)
def test_each_form_counts_in_its_own_samples(form: Form, step: int, size: int) -> None:
    room = Room(form)
    room.play(*range(12))
    (stream,) = room.streams
    assert sizes(stream) == {size}
    assert positions(stream) == [step * number for number in range(len(stream.audio))]
    assert {len(legs) for _, legs in stream.audio} == {2}


def test_two_forms_of_one_call_are_the_same_call() -> None:
    room = Room(PCM8, PCM16)
    room.play(1, 2, 4, 5, 6, 7)
    narrow, wide = room.streams
    assert [2 * pts for pts in positions(narrow)] == positions(wide)
    assert sizes(wide) == {640}
    assert room.feeds.stats()[1].packets == 6


def test_gaps_and_keys_of_each_form_are_for_those_who_have_it() -> None:
    room = Room(PCM8, PCM16)
    room.play(1, 2, 4, 5, 6, 7)
    gaps = [(h.item, h.agents) for h in room.heard if isinstance(h.item, Gap) and h.item.leg == 1]
    gap = Gap(1, 320, 480, GapCause.NETWORK_LOSS, 1)
    assert sorted(gaps, key=str) == sorted([(gap, (0,)), (gap, (1,))], key=str)


def test_positions_of_events_are_in_the_ais_samples() -> None:
    room = Room(PCM16)
    said: list[ToAgent] = [
        Gap(1, 160, 320, GapCause.SHED, 1),
        Dtmf(1, "5", 100, 160),
        Speech(1, True, 160),
        PartyChange(2, Party.BOT, "", 160),
    ]
    for message in said:
        room.audience.send(0, message)
    room.audience.send_anchor(ClockAnchor(160, 1.0))
    assert room.streams[0].messages == [
        Gap(1, 320, 640, GapCause.SHED, 1),
        Dtmf(1, "5", 100, 320),
        Speech(1, True, 320),
        PartyChange(2, Party.BOT, "", 320),
        ClockAnchor(320, 1.0),
    ]


def test_a_form_that_is_asked_for_later_joins_at_its_place() -> None:
    room = Room(PCM8)
    room.play(1, 2, 3)
    room.audience.use(0, PCM16)
    room.play(4, 5, 6)
    assert positions(room.streams[0]) == [0, 160, 320, 960, 1280, 1600]


def test_a_form_that_nobody_has_any_more_is_made_no_more() -> None:
    room = Room(PCM8, PCM16)
    room.play(1)
    room.audience.remove(1, Close(CloseReason.CALL_ENDED))
    assert room.streams[1].closed == Close(CloseReason.CALL_ENDED)
    assert not room.feeds.others


def test_a_leg_that_comes_later_is_heard_in_every_form() -> None:
    room = Room(PCM8, ULAW)
    room.tracks[3] = room.feeds.add_track(3, PAYLOADS)
    for agent in (0, 1):
        room.audience.listen(agent, (3,))
    room.play(1)
    assert [[leg for leg, _ in s.audio[0][1]] for s in room.streams] == [[3], [3]]
    room.feeds.remove_track(3)
    del room.tracks[3]
    room.play(2)


def test_withheld_audio_reaches_nobody_in_any_form() -> None:
    room = Room(PCM8, PCM16)
    room.play(1, 2)
    room.feeds.withhold(GapCause.REDACTED, room.now)
    room.play(*range(3, 20))
    room.audience.add(2, late := Stream(), PCM8)
    room.audience.use(2, ULAW)
    room.audience.listen(2, (1,))
    room.play(20, 21)
    assert [len(stream.audio) for stream in (*room.streams, late)] == [2, 2, 0]
    room.feeds.withhold(None, room.now)
    room.play(*range(22, 30))
    assert [len(stream.audio) > 5 for stream in room.streams] == [True, True]
    gaps = [h.item for h in room.heard if isinstance(h.item, Gap) and h.agents == (0,)]
    assert {(g.leg, g.from_pts, g.cause) for g in gaps} == {
        (leg, 320, GapCause.REDACTED) for leg in (1, 2)
    }
    assert {g.to_pts for g in gaps} == {positions(room.streams[0])[2]}


def test_an_ai_of_no_interest_in_speech_costs_no_look_at_it() -> None:
    room = Room(PCM8)
    room.play(*range(50), payload=bytes(range(0, 160)))
    assert not [h for h in room.heard if isinstance(h.item, Speech)]


@pytest.mark.parametrize("form", [PCM8, PCM16, ULAW])
def test_speech_is_told_to_all_whatever_form_it_was_found_in(form: Form) -> None:
    room = Room(PCM8, form, watched_for=frozenset({1}))
    buzz = bytes((0x10, 0x20, 0x90, 0xA0) * 40)  # loud, at 2 kHz with harmonics
    room.play(*range(30), payload=buzz)
    room.play(*range(30, 70), payload=b"\xff" * 160)
    speech = [h for h in room.heard if isinstance(h.item, Speech)]
    assert {h.agents for h in speech} == {None}
    assert [h.item.started for h in speech if h.item.leg == 1] == [True, False]  # type: ignore[union-attr]
