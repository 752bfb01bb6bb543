"""What each role may do: told here, at once, and not by a refusal that nobody waits for."""

from __future__ import annotations

import asyncio

import pytest
from voicefork.agent.v1 import agent_pb2 as pb
from voicefork_sdk.call import Call
from voicefork_sdk.conversation import Conversation
from voicefork_sdk.errors import NotAllowed
from voicefork_sdk.model import PCM_8K, Role
from voicefork_sdk.options import AgentOptions
from voicefork_sdk.wire import read_opening

SOUND = bytes(320)


async def a_call(role: Role) -> Call:
    """Answered; nobody reads what is sent."""
    asked = pb.Open(call_id="c", role=role.value)  # type: ignore[arg-type]  # an enum is a number
    asked.limits.playout_buffer_ms = 30_000
    opening = read_opening(asked, uplink=PCM_8K, downlink=PCM_8K, chunk_ms=20)
    conversation = Conversation(opening, AgentOptions())
    answered = pb.CallState(state=pb.CallState.STATE_ANSWERED)
    conversation.receive(pb.ConverseRequest(call_state=answered))
    return Call(conversation, asyncio.TaskGroup())


@pytest.mark.parametrize("role", [Role.SHADOW, Role.ASSIST])
async def test_only_a_primary_speaks_to_the_caller_and_escalates(role: Role) -> None:
    call = await a_call(role)
    assert not call.may_speak
    with pytest.raises(NotAllowed):
        await call.speak("hello", SOUND)
    with pytest.raises(NotAllowed):
        await call.escalate(reason="any")


async def test_an_assist_speaks_to_the_human_alone_and_a_shadow_to_nobody() -> None:
    assert await (await a_call(Role.ASSIST)).tell_agent("advice", SOUND)
    with pytest.raises(NotAllowed):
        await (await a_call(Role.SHADOW)).tell_agent("advice", SOUND)


async def test_a_primary_may_do_all() -> None:
    call = await a_call(Role.PRIMARY)
    assert call.may_speak
    assert await call.speak("hello", SOUND)
    assert await call.tell_agent("briefing", SOUND)
    assert (await call.escalate(reason="any")).request_id
