"""A registry that runs handoffs on fakes: `async with running() as lab`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from orchestrator.handoff.ports import ContextBus, Mute, Ports, Speech, Store
from orchestrator.handoff.registry import Registry
from orchestrator.model import CallId, Context, Escalation, Handoff, HandoffId, Place
from orchestrator.routing.policy import plan_for
from orchestrator.routing.table import RoutingTable, Treatment

from tests.builders.handoffs import ALICE, BOB
from tests.builders.virtual_time import LoopClock
from tests.fakes.handoff_ports import Counts, FakeBus, FakeCalls, FakeStore, FakeWorker
from tests.fakes.telephony import FakePbx

CALL = CallId("call-1")


@dataclass
class Lab:
    """Everything around the handoffs of one call."""

    pbx: FakePbx
    worker: FakeWorker
    store: Store
    bus: ContextBus
    calls: FakeCalls
    counts: Counts
    table: RoutingTable
    place: Place
    registry: Registry = field(init=False)

    async def escalate(self, request_id: str = "r1", **asked: Any) -> Handoff:
        context = asked.pop("context", Context(summary="disputes a charge"))
        return await self.registry.escalate(Escalation(request_id, CALL, context=context, **asked))

    async def until(self, handoff: Handoff, wanted: Callable[[Handoff], bool]) -> Handoff:
        """Follows the handoff to the first view that is wanted."""
        async with asyncio.timeout(10):
            async for change in self.registry.follow(handoff.handoff_id, 0, handoff.tenant):
                if wanted(change):
                    return change
        raise AssertionError("the handoff settled without it")

    async def settled(self, handoff: Handoff) -> Handoff:
        return await self.until(handoff, lambda change: change.settled)


@asynccontextmanager
async def running(
    store: Store | None = None,
    bus: ContextBus | None = None,
    prefix: str = "h",
    speech: Speech | None = None,
    **treatment: Any,
) -> AsyncIterator[Lab]:
    usual = replace(Treatment(targets=(ALICE, BOB), queue="support"), **treatment)
    pbx, worker, counts, calls = FakePbx(), FakeWorker(), Counts(), FakeCalls()
    place = pbx.place(CALL)
    calls[CALL] = place
    numbers = count(1)
    lab = Lab(
        pbx=pbx,
        worker=worker,
        store=FakeStore() if store is None else store,
        bus=FakeBus() if bus is None else bus,
        calls=calls,
        counts=counts,
        table=RoutingTable(usual),
        place=place,
    )
    clock = LoopClock()
    ports = Ports(pbx, worker, lab.bus, lab.store, clock, counts, speech=speech or Mute())
    lab.registry = pbx.registry = Registry(
        ports,
        calls,
        lambda asked: plan_for(asked, lab.table),
        lambda: HandoffId(f"{prefix}{next(numbers)}"),
    )
    async with owned(lab.registry.run()):
        yield lab


@asynccontextmanager
async def owned(work: Awaitable[None]) -> AsyncIterator[None]:
    """Runs `work` while the block runs."""
    task = asyncio.ensure_future(work)
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
