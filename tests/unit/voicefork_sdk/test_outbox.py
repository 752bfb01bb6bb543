from __future__ import annotations

import pytest
from voicefork.agent.v1 import agent_pb2 as pb
from voicefork_sdk.errors import CallEnded
from voicefork_sdk.outbox import Outbox


def speak(name: str) -> pb.ConverseResponse:
    return pb.ConverseResponse(speak=pb.Speak(utterance_id=name))


def mark(name: str) -> pb.ConverseResponse:
    return pb.ConverseResponse(mark=pb.Mark(name=name))


def drained(outbox: Outbox) -> list[pb.ConverseResponse]:
    messages = []
    while outbox:
        messages.append(outbox.pop())
    return messages


async def test_withdrawn_speech_is_not_sent() -> None:
    outbox = Outbox()
    for message in (speak("a"), mark("m"), speak("b")):
        outbox.put(message)
    outbox.withdraw_speech(["a"])
    assert drained(outbox) == [mark("m"), speak("b")]


async def test_all_speech_can_be_withdrawn_and_nothing_else() -> None:
    outbox = Outbox()
    for message in (speak("a"), mark("m")):
        outbox.put(message)
    outbox.withdraw_speech(None)
    assert drained(outbox) == [mark("m")]


async def test_withdrawing_nothing_withdraws_nothing() -> None:
    outbox = Outbox()
    outbox.put(speak("a"))
    outbox.withdraw_speech(())
    assert drained(outbox) == [speak("a")]


async def test_speech_has_a_limit() -> None:
    outbox = Outbox()
    while outbox.has_room:
        outbox.put(speak("a"))
    outbox.pop()
    assert outbox.has_room


async def test_a_closed_outbox_takes_nothing_and_gives_what_it_has() -> None:
    outbox = Outbox()
    outbox.put(mark("m"))
    outbox.close()
    with pytest.raises(CallEnded):
        outbox.put(mark("n"))
    assert drained(outbox) == [mark("m")]


async def test_a_runaway_agent_is_stopped() -> None:
    outbox = Outbox()
    for _ in range(1000):
        outbox.put(mark("m"))
    with pytest.raises(CallEnded):
        outbox.put(mark("m"))
