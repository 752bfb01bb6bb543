"""The inbox of a handoff keeps its order and its bounds, and what may not be lost."""

from __future__ import annotations

import asyncio

import pytest
from orchestrator.handoff.events import (
    AgentKey,
    AgentLost,
    AgentRinging,
    CallerHeld,
    CallerKey,
    CallerLeft,
    CancelRequested,
    Deadline,
    DeadlinePassed,
    Event,
    WitnessEnded,
)
from orchestrator.handoff.inbox import Answer, Inbox, Question
from orchestrator.model import ChannelId, Outcome

from tests.builders.running import CALL, running
from tests.builders.virtual_time import eventually

AGENT = ChannelId("vf-h1-agent-1")
ROOM = 8


def full() -> Inbox:
    inbox = Inbox(ROOM)
    for _ in range(ROOM):
        assert inbox.put(AgentRinging(1.0, AGENT))
    return inbox


async def test_news_comes_in_the_order_in_which_it_was_put() -> None:
    inbox = Inbox()
    news: list[Event] = [AgentRinging(1.0, AGENT), AgentKey(2.0, AGENT, "1"), CallerLeft(3.0)]
    for event in news:
        inbox.put(event)
    assert [await inbox.take() for _ in news] == news


def test_a_full_inbox_refuses_what_is_common() -> None:
    assert not full().put(AgentRinging(2.0, AGENT))


@pytest.mark.parametrize(
    "event",
    [
        CallerLeft(2.0),
        CallerLeft(2.0, hung_up=False),
        AgentLost(2.0, AGENT),
        DeadlinePassed(2.0, Deadline.RING),
        WitnessEnded(2.0),
        Answer(CallerHeld(2.0, 1), "h1:move:1"),
    ],
    ids=lambda item: type(item).__name__,
)
def test_a_full_inbox_takes_what_may_not_be_lost(event: Event | Answer) -> None:
    inbox = full()
    assert inbox.put(event)
    assert inbox.drain()[-1] == event


def test_beyond_its_bounds_nothing_waits_twice() -> None:
    inbox = full()
    for at in range(100):
        inbox.put(CallerLeft(float(at)))
        inbox.put(CallerLeft(float(at), hung_up=False))
    assert len(inbox) == ROOM + 2


@pytest.mark.parametrize("key", [AgentKey(1.0, AGENT, "5"), CallerKey(1.0, "5")])
def test_keys_leave_room_for_the_rest(key: Event) -> None:
    inbox = Inbox(ROOM)
    assert [inbox.put(key) for _ in range(ROOM)].count(True) == ROOM // 2
    assert inbox.put(AgentRinging(2.0, AGENT))


async def test_a_question_waits_for_room() -> None:
    inbox, answer = full(), asyncio.get_running_loop().create_future()
    question = Question(CancelRequested(2.0), answer)
    asking = asyncio.ensure_future(inbox.ask(question))
    await asyncio.sleep(0)
    assert len(inbox) == ROOM
    await inbox.take()
    await asking
    assert inbox.drain()[-1] is question


async def test_a_caller_who_hangs_up_after_a_flood_of_keys_is_missed() -> None:
    async with running() as lab:
        handoff = await lab.escalate()
        for _ in range(1000):
            lab.registry.caller_key(CALL, "5")
            lab.registry.agent_ringing(AGENT)
        lab.pbx.caller_hangs_up(lab.place)
        assert (await lab.settled(handoff)).outcome is Outcome.CALLER_HUNG_UP
        assert lab.counts["handoff_events_dropped"] > 0
        await eventually(lambda: lab.registry.in_progress(CALL) is None)
