"""A handoff's runner owes answers: to those who ask, and to those who follow."""

from __future__ import annotations

import asyncio

import pytest
from orchestrator.handoff import runner
from orchestrator.handoff.events import CancelRequested, Event
from orchestrator.handoff.machine import step
from orchestrator.handoff.ports import Fenced
from orchestrator.handoff.refusals import TooLate
from orchestrator.handoff.state import State
from orchestrator.handoff.steps import Step
from orchestrator.model import ChannelId, Handoff, Pattern, Phase

from tests.builders.handoffs import ALICE
from tests.builders.running import CALL, Lab, running
from tests.builders.virtual_time import eventually
from tests.fakes.handoff_ports import FakeStore
from tests.fakes.telephony import Phone

RINGS_ON = Phone(answers=False)


async def held(lab: Lab) -> Handoff:
    lab.pbx.phones[ALICE] = RINGS_ON
    handoff = await lab.escalate()
    return await lab.until(handoff, lambda change: change.phase is Phase.CALLER_HELD)


async def test_who_asks_is_answered_although_the_handoff_crashes_over_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(state: State, event: Event) -> Step:
        if isinstance(event, CancelRequested):
            raise ZeroDivisionError
        return step(state, event)

    async with running() as lab:
        handoff = await held(lab)
        monkeypatch.setattr(runner, "step", broken)
        async with asyncio.timeout(10):
            with pytest.raises(TooLate):
                await lab.registry.cancel(handoff.handoff_id)
        await eventually(lambda: lab.counts["handoff_crashes"])


async def test_who_asks_is_answered_although_another_replica_takes_the_handoff() -> None:
    class Taken(FakeStore):
        async def save(self, *args: object, **kwargs: object) -> None:
            raise Fenced("stored by another")

    store = FakeStore()
    async with running(store) as lab:
        handoff = await held(lab)
        store.save = Taken().save  # type: ignore[method-assign]
        async with asyncio.timeout(10):
            with pytest.raises(TooLate):
                await lab.registry.cancel(handoff.handoff_id)


async def test_a_slow_follower_gets_the_last_revision_too() -> None:
    async with running() as lab:
        handoff = await lab.escalate()
        follower = lab.registry.follow(handoff.handoff_id, 0)
        seen = [await anext(follower)]
        await lab.settled(handoff)
        async with asyncio.timeout(10):
            while lab.registry.in_progress(handoff.call_id) is not None:
                await lab.settled(handoff)
                lab.pbx.caller_hangs_up(lab.place)
                await asyncio.sleep(0.1)
            seen += [change async for change in follower]
        assert [change.revision for change in seen] == list(range(1, len(seen) + 1))
        assert seen[-1].settled


async def test_a_crash_brings_the_caller_to_the_queue_and_takes_the_rest_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(state: State, event: Event) -> Step:
        raise ZeroDivisionError

    async with running() as lab:
        await held(lab)
        monkeypatch.setattr(runner, "step", broken)
        lab.pbx.agent_hangs_up(ChannelId("vf-h1-agent-1"))
        await eventually(lambda: lab.place.caller in lab.pbx.in_dialplan)
        await eventually(lambda: set(lab.pbx.bridges) == {lab.place.bridge})


async def test_a_rescue_that_fails_costs_no_other_handoff(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(state: State, event: Event) -> Step:
        raise ZeroDivisionError

    async with running() as lab:
        await held(lab)
        with monkeypatch.context() as patched:
            patched.setattr(runner, "step", broken)
            lab.pbx.fail("continue", ZeroDivisionError())
            lab.pbx.agent_hangs_up(ChannelId("vf-h1-agent-1"))
            await eventually(lambda: lab.registry.in_progress(CALL) is None)
        lab.pbx.phones[ALICE] = Phone()
        handoff = await lab.escalate("r2")
        await lab.until(handoff, lambda change: change.phase is Phase.CONNECTED)


async def test_an_ended_handoff_of_any_tenant_is_followed_from_its_first_revision() -> None:
    async with running() as lab:
        handoff = await lab.escalate(pattern=Pattern.DIALPLAN)
        await lab.settled(handoff)
        await eventually(lambda: lab.registry.in_progress(CALL) is None)
        await asyncio.sleep(1)
        seen = [change async for change in lab.registry.follow(handoff.handoff_id, 0, "default")]
        assert seen[0].revision == 1
        assert seen[-1].settled


async def test_a_cancel_may_be_repeated_after_the_end() -> None:
    async with running() as lab:
        handoff = await held(lab)
        await lab.registry.cancel(handoff.handoff_id)
        await lab.settled(handoff)
        await asyncio.sleep(1)
        again = await lab.registry.cancel(handoff.handoff_id)
        assert again.phase is Phase.CANCELLED
