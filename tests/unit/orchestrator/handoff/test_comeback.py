"""A caller whom a queue gave up is taken back by the replica they come to."""

from __future__ import annotations

import asyncio
from typing import Any

from orchestrator.model import CallId, Fallback, Handoff, HandoffId, Outcome, Pattern

from tests.builders.handoffs import ALICE, BOB
from tests.builders.running import CALL, Lab, running
from tests.fakes.handoff_ports import FakeStore

QUEUE: dict[str, Any] = {
    "pattern": Pattern.DIALPLAN,
    "fallbacks": (Fallback.BACKUP_CENTRE,),
    "backup": BOB,
}


async def queued(lab: Lab) -> Handoff:
    done = await lab.settled(await lab.escalate())
    assert done.outcome is Outcome.QUEUED
    await asyncio.sleep(0.1)
    return done


async def back(lab: Lab, handoff: HandoffId, status: str = "JOINEMPTY") -> bool:
    return await lab.registry.queue_ended(handoff, "acme", lab.place.caller, status)


async def test_the_next_way_out_is_taken_by_a_handoff_of_its_own() -> None:
    async with running(**QUEUE) as lab:
        first = await queued(lab)
        assert await back(lab, first.handoff_id)
        latest, _ = await lab.registry.get_of_call(CALL)
        assert latest.handoff_id != first.handoff_id
        done = await lab.until(latest, lambda change: change.outcome is Outcome.BACKUP_CENTRE)
        assert done.target == BOB


async def test_their_hanging_up_is_heard_though_the_call_is_known_no_more() -> None:
    async with running(**QUEUE) as lab:
        lab.pbx.slow["dial"] = asyncio.Event()
        first = await queued(lab)
        assert lab.registry.call_of(lab.place.caller) is None
        assert await back(lab, first.handoff_id)
        assert lab.registry.call_of(lab.place.caller) == CALL
        assert lab.registry.owns(lab.place.caller)
        latest, _ = await lab.registry.get_of_call(CallId(CALL))
        lab.pbx.slow["dial"].set()
        lab.pbx.caller_hangs_up(lab.place)
        assert (await lab.settled(latest)).outcome is Outcome.CALLER_HUNG_UP
        assert lab.registry.call_of(lab.place.caller) is None


async def test_without_a_way_left_the_dialplan_goes_on() -> None:
    async with running(**{**QUEUE, "fallbacks": ()}) as lab:
        first = await queued(lab)
        assert await back(lab, first.handoff_id, "FULL")
        latest, _ = await lab.registry.get_of_call(CALL)
        assert (await lab.settled(latest)).outcome is Outcome.QUEUE_FULL
        assert lab.pbx.in_dialplan[lab.place.caller] is None


async def test_another_replica_finds_the_handoff_in_the_store() -> None:
    store = FakeStore()
    async with running(store=store, **QUEUE) as lab:
        first = await queued(lab)
    async with running(store=store, prefix="g", **QUEUE) as lab:
        assert await back(lab, first.handoff_id)


async def test_a_handoff_that_did_not_end_in_the_queue_takes_nobody_back() -> None:
    async with running(targets=(ALICE,)) as lab:
        talking = await lab.escalate()
        await lab.until(talking, lambda change: change.outcome is Outcome.CONNECTED)
        assert not await back(lab, talking.handoff_id)
        assert not await back(lab, HandoffId("unheard-of"))


async def test_a_store_that_is_away_leaves_the_caller_to_the_dialplan() -> None:
    store = FakeStore()
    async with running(store=store, **QUEUE) as lab:
        first = await queued(lab)
    store.away = True
    async with running(store=store, prefix="g", **QUEUE) as lab:
        assert not await back(lab, first.handoff_id)
