"""Calls live side by side: what fails for one costs neither its caller nor the others."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from orchestrator.errors import NotFound, Unreachable
from orchestrator.fleet import events as on
from orchestrator.fleet.call import EnteredCall, Tenant
from orchestrator.model import CallId

from tests.unit.orchestrator.fleet.surroundings import FORK, open_stage

CALL = EnteredCall(CallId("c1"), Tenant("default"), "ch1", "ulaw")
SECOND = replace(CALL, call_id=CallId("c2"), channel_id="ch2")
C1 = CALL.call_id


async def test_a_call_is_shown_with_its_worker_once_it_talks() -> None:
    async with open_stage() as stage:
        stage.calls.enter(CALL)
        await stage.workers.attached.get()
        stage.calls.post(C1, on.BotSpoke())
        await stage.pbx.until("no-music ch1")
        view = stage.calls.view(C1)
        assert view is not None
        assert (view.state, view.worker_id, view.answered) == ("talking", "w1", True)


async def test_a_hosted_bot_is_dialled_and_talks_without_a_voice_of_the_workers() -> None:
    async with open_stage() as stage:
        stage.calls.enter(replace(CALL, hosted="PJSIP/bot"))
        await stage.pbx.until("hosted c1 PJSIP/bot")
        await stage.pbx.until("no-music ch1")
        view = stage.calls.view(C1)
        assert view is not None
        assert view.state == "talking"
        assert "talkback c1" not in stage.pbx.asked
        assert stage.workers.attached.empty()


async def test_a_hosted_bot_that_cannot_be_reached_means_the_queue() -> None:
    async with open_stage() as stage:
        stage.pbx.failing["hosted"] = Unreachable("POST", "/channels/x", 0, "")
        stage.calls.enter(replace(CALL, hosted="PJSIP/bot"))
        await stage.pbx.until("queue ch1")


async def test_a_caller_who_is_gone_before_the_answer_leaves_nothing_behind() -> None:
    async with open_stage() as stage:
        stage.pbx.failing["answer"] = NotFound("POST", "/channels/ch1/answer", 404, "")
        stage.calls.enter(CALL)
        await stage.until_empty()
        assert "no-bridge c1" in stage.pbx.asked
        assert "queue ch1" not in stage.pbx.asked


async def test_a_bridge_that_cannot_be_made_means_the_queue() -> None:
    async with open_stage() as stage:
        stage.pbx.failing["bridge"] = Unreachable("POST", "/bridges/x", 0, "")
        stage.calls.enter(CALL)
        await stage.pbx.until("queue ch1")


async def test_a_bug_sends_its_caller_to_the_queue_and_leaves_other_calls_alone() -> None:
    async with open_stage() as stage:
        stage.calls.enter(SECOND)
        await stage.workers.attached.get()
        stage.pbx.failing["talkback"] = ZeroDivisionError()
        stage.calls.enter(CALL)
        await stage.pbx.until("queue ch1")
        assert "queue ch2" not in stage.pbx.asked
        assert stage.calls.view(SECOND.call_id) is not None


@pytest.mark.parametrize("failure", [Unreachable("DELETE", "/channels/x", 0, ""), KeyError()])
async def test_a_task_that_fails_leaves_the_calls_alone(failure: Exception) -> None:
    async with open_stage() as stage:
        stage.calls.enter(CALL)
        await stage.workers.attached.get()
        stage.pbx.failing["hang-up"] = failure
        stray = stage.calls.spawn(stage.pbx.hang_up("stray"))
        await asyncio.wait({stray})
        assert "hang-up stray" in stage.pbx.asked
        assert stage.calls.view(C1) is not None


async def test_a_second_channel_under_one_id_is_refused() -> None:
    async with open_stage() as stage:
        assert stage.calls.enter(CALL)
        assert not stage.calls.enter(replace(CALL, channel_id="ch9"))


async def test_a_fork_told_before_the_caller_came_is_remembered() -> None:
    async with open_stage(fork=None) as stage:
        stage.calls.fork_started(C1, FORK)
        stage.calls.enter(CALL)
        assert (await stage.workers.attached.get()).call_id == C1


async def test_a_fork_that_ended_before_the_caller_came_is_forgotten() -> None:
    async with open_stage(fork=None) as stage:
        stage.calls.fork_started(C1, FORK)
        stage.calls.fork_ended(C1, "w1", "bye")
        stage.calls.enter(CALL)
        await stage.pbx.until("bridge c1")
        assert "talkback c1" not in stage.pbx.asked


async def test_a_drain_that_is_not_waited_for_sends_the_callers_to_the_queue() -> None:
    async with open_stage() as stage:
        stage.calls.enter(CALL)
        await stage.workers.attached.get()
        stage.calls.spawn(stage.calls.drain(0.0))
        await stage.pbx.until("queue ch1")
        assert not stage.calls.has_room()
        stage.calls.post(C1, on.CallerLeft())
        await stage.until_empty()


async def test_a_caller_whom_a_handoff_gives_back_during_a_drain_goes_to_the_queue() -> None:
    async with open_stage() as stage:
        stage.calls.enter(CALL)
        await stage.workers.attached.get()
        stage.calls.post(C1, on.HandoffTook())

        def gives_back() -> None:
            stage.calls.post(C1, on.HandoffReturned())

        stage.calls.spawn(stage.calls.drain(0.0, gives_back))
        await stage.pbx.until("queue ch1")
        stage.calls.post(C1, on.CallerLeft())
        await stage.until_empty()


@pytest.mark.parametrize("calls", [(CALL,), (CALL, SECOND)])
async def test_room_is_what_is_left_of_the_most(calls: tuple[EnteredCall, ...]) -> None:
    async with open_stage(max_calls=2) as stage:
        for call in calls:
            stage.calls.enter(call)
        assert stage.calls.has_room() is (len(calls) < 2)


async def test_a_hang_up_is_not_lost_in_a_flood_of_other_news() -> None:
    async with open_stage() as stage:
        stage.calls.enter(CALL)
        await stage.workers.attached.get()
        stage.calls.post(C1, on.CallerHungUp())
        for number in range(1000):
            stage.calls.post(C1, on.ForkEnded(f"w{number + 2}", "another's"))
        await stage.until_empty()


async def test_an_abandoned_call_tells_nobody_anything() -> None:
    async with open_stage() as stage:
        stage.calls.enter(CALL)
        await stage.workers.attached.get()
        asked = list(stage.pbx.asked)
        stage.calls.abandon(C1)
        await stage.until_empty()
        assert stage.pbx.asked == asked
        assert stage.workers.detached.empty()
        assert not stage.calls.knows_channel("ch1")
