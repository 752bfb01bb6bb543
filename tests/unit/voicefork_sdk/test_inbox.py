from __future__ import annotations

from voicefork_sdk.events import Audio, Close, Dtmf, Event, Gap, LegAudio
from voicefork_sdk.inbox import Inbox
from voicefork_sdk.model import PCM_8K, CloseReason, GapCause, Leg, LegKind

CUSTOMER = Leg(1, LegKind.CUSTOMER)
CLOSE = Close(CloseReason.CALL_ENDED)


def audio(pts: int) -> Audio:
    return Audio(pts, (LegAudio(CUSTOMER, bytes(320)),))


def key(digit: str) -> Dtmf:
    return Dtmf(CUSTOMER, digit, 100, 0)


def inbox(limit_ms: int = 1000) -> Inbox:
    return Inbox(PCM_8K, 20, limit_ms)


async def drain(box: Inbox) -> list[Event]:
    box.close(CLOSE)
    events: list[Event] = []
    while not events or not isinstance(events[-1], Close):
        events.append((await box.take())[0])
    return events


async def test_events_come_in_order_and_close_is_last() -> None:
    box = inbox()
    box.put(audio(0), 1)
    box.put(key("5"), 2)
    box.put(CLOSE, 3)
    box.put(audio(160), 4)
    assert await drain(box) == [audio(0), key("5"), audio(160), CLOSE]


async def test_the_oldest_audio_is_shed_and_told_as_one_gap() -> None:
    box = inbox(limit_ms=40)
    dropped = [box.put(audio(pts), pts // 160) for pts in range(0, 800, 160)]
    assert dropped == [0, 0, 20, 20, 20]
    gap = Gap(CUSTOMER, 0, 480, GapCause.SHED)
    assert await drain(box) == [gap, audio(480), audio(640), CLOSE]
    assert box.audio_dropped_ms == 60


async def test_audio_is_taken_when_it_leaves() -> None:
    box = inbox()
    box.put(audio(0), 1)
    box.put(audio(160), 2)
    assert box.taken_seq == 0
    await box.take()
    assert (box.taken_seq, box.taken_pts) == (1, 160)


def test_events_without_audio_need_no_replay() -> None:
    box = inbox()
    box.put(key("1"), 1)
    assert box.taken_seq == 1


def test_audio_replayed_after_a_break_is_skipped() -> None:
    box = inbox()
    box.put(audio(0), 1)
    box.restart()
    box.put(audio(0), 2)
    box.put(audio(160), 3)
    assert [item.event for item in box._waiting] == [audio(0), audio(160)]


def test_what_waited_for_a_resumed_stream_may_wait_here_too() -> None:
    box = inbox(limit_ms=40)
    box.put(audio(0), 1)
    box.restart()
    assert [box.put(audio(160 * number), number) for number in range(1, 200)] == [0.0] * 199


def test_who_is_still_behind_long_after_a_resumed_stream_began_loses_the_oldest() -> None:
    box = inbox(limit_ms=40)
    box.restart()
    dropped = sum(box.put(audio(160 * number), number) for number in range(600))
    assert dropped == 600 * 20 - 40


def test_a_key_replayed_after_a_break_is_one_key() -> None:
    box = inbox()
    box.put(key("5"), 1)
    box.restart()
    box.put(key("5"), 1)
    box.put(key("6"), 2)
    assert [item.event for item in box._waiting] == [key("5"), key("6")]


def test_other_events_are_bounded() -> None:
    box = inbox()
    for number in range(1100):
        box.put(key("1"), number)
    assert box.events_dropped == 100
