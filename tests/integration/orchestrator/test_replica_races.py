"""Two replicas at one real redis-server: whatever races, one wins, and nobody is called twice."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from itertools import count

import pytest
from orchestrator.bus.handoff_store import RedisHandoffStore
from orchestrator.errors import PeerError
from orchestrator.fleet.inheritance import always
from orchestrator.handoff import endings
from orchestrator.handoff.ports import Ports
from orchestrator.handoff.refusals import InProgress, TooLate, UnknownHandoff
from orchestrator.handoff.registry import Registry
from orchestrator.model import CallId, Context, Escalation, Handoff, HandoffId, Outcome, Place
from orchestrator.routing.policy import plan_for
from orchestrator.routing.table import RoutingTable, Treatment
from redis.asyncio import Redis

from tests.builders.handoffs import ALICE
from tests.builders.virtual_time import LoopClock
from tests.fakes.handoff_ports import Counts, FakeBus, FakeCalls, FakeWorker
from tests.fakes.telephony import FakePbx, Phone

SEEDS = range(12)
FINAL = {Outcome.CONNECTED, Outcome.CANCELLED}


@pytest.fixture(autouse=True)
def a_short_look_at_the_caller_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endings, "WATCH_AFTER", 0.05)  # `settled` waits for its end


@dataclass(slots=True)
class Replica:
    registry: Registry
    running: asyncio.Task[None]

    async def die(self) -> None:
        """As a process does: wherever it is."""
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)


@dataclass(slots=True)
class Two:
    """Replicas of one call's PBX."""

    pbx: FakePbx
    place: Place
    one: Replica
    other: Replica

    def asking(self, request_id: str = "r1") -> Escalation:
        return Escalation(request_id, self.place.call_id, context=Context(summary="s"))

    async def adopt(self) -> HandoffId | None:
        """The second replica goes on, and is told what the PBX has."""
        self.pbx.registry = heir = self.other.registry
        call = self.place.call_id
        adopted = await heir.adopt(self.place.tenant, call, always)
        if (agent := heir.agent_of_call(call)) is not None:
            state = "Up" if agent in self.pbx.up else None
            heir.found(call, state, together=False)
        return adopted

    async def settled(self, handoff: HandoffId) -> list[Handoff]:
        """All its revisions, as anybody may read them."""
        async with asyncio.timeout(10):
            changes = self.other.registry.follow(handoff, 0, self.place.tenant)
            return [change async for change in changes]


@asynccontextmanager
async def two_replicas(redis_url: str, *, key: str = "") -> AsyncIterator[Two]:
    pbx, calls = FakePbx(phones={ALICE: Phone(key=key)}), FakeCalls()
    call = CallId(f"call-{secrets.token_hex(4)}")
    place = calls[call] = replace(pbx.place(call), tenant=f"t{secrets.token_hex(4)}")
    table = RoutingTable(Treatment(targets=(ALICE,), queue="support", accept_key=key))
    redis: Redis = Redis.from_url(redis_url, protocol=2)
    numbers = count(1)

    def replica(name: str) -> Replica:
        store = RedisHandoffStore(redis, f"{name}-{call}")
        ports = Ports(pbx, FakeWorker(), FakeBus(), store, LoopClock(), Counts())
        registry = Registry(
            ports,
            calls,
            lambda asked: plan_for(asked, table),
            lambda: HandoffId(f"{call}-{name}{next(numbers)}"),
        )
        return Replica(registry, asyncio.ensure_future(registry.run()))

    two = Two(pbx, place, replica("a"), replica("b"))
    pbx.registry = two.one.registry
    await asyncio.sleep(0)
    try:
        yield two
    finally:
        await two.one.die()
        await two.other.die()
        await redis.aclose()


def dialled(two: Two) -> set[str]:
    return {step for step in two.pbx.steps if step.startswith("dial ")}


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_replica_that_dies_anywhere_is_gone_on_for(redis_url: str, seed: int) -> None:
    chance = random.Random(seed)
    async with two_replicas(redis_url) as two:
        handoff = await two.one.registry.escalate(two.asking())
        await asyncio.sleep(chance.random() * 0.02)
        await two.one.die()
        await two.adopt()
        changes = await two.settled(handoff.handoff_id)
        assert changes[-1].outcome is Outcome.CONNECTED
        revisions = [change.revision for change in changes]
        assert revisions == sorted(set(revisions))
        assert len(dialled(two)) == 1
        together = two.pbx.bridge_of(two.place.caller)
        assert together is not None
        assert any("agent" in channel for channel in two.pbx.bridges[together])


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_replica_that_was_only_slow_writes_nothing_any_more(
    redis_url: str, seed: int
) -> None:
    chance = random.Random(seed)
    async with two_replicas(redis_url) as two:
        handoff = await two.one.registry.escalate(two.asking())
        await asyncio.sleep(chance.random() * 0.01)
        adopted = await two.adopt()
        changes = await two.settled(handoff.handoff_id)
        assert changes[-1].outcome is Outcome.CONNECTED
        finals = [c.revision for c in changes if c.outcome is Outcome.CONNECTED]
        assert finals == list(range(finals[0], finals[0] + len(finals)))
        assert len(dialled(two)) == 1
        assert adopted in {handoff.handoff_id, None}  # None: it was over already


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_same_request_at_two_replicas_is_one_handoff(redis_url: str, seed: int) -> None:
    chance = random.Random(seed)
    async with two_replicas(redis_url) as two:
        asked = two.asking()

        async def escalate(at: Replica) -> Handoff:
            await asyncio.sleep(chance.random() * 0.002)
            return await at.registry.escalate(asked)

        first, second = await asyncio.gather(escalate(two.one), escalate(two.other))
        assert first.handoff_id == second.handoff_id


@pytest.mark.parametrize("seed", SEEDS)
async def test_of_two_escalations_one_has_the_caller(redis_url: str, seed: int) -> None:
    chance = random.Random(seed)
    async with two_replicas(redis_url) as two:

        async def escalate(request_id: str) -> Handoff | None:
            await asyncio.sleep(chance.random() * 0.002)
            with suppress(InProgress):
                return await two.one.registry.escalate(two.asking(request_id))
            return None

        both = await asyncio.gather(escalate("r1"), escalate("r2"))
        assert sum(handoff is not None for handoff in both) == 1
        assert len(dialled(two)) <= 1


@pytest.mark.parametrize("seed", SEEDS)
async def test_of_two_escalations_at_two_replicas_one_has_the_caller(
    redis_url: str, seed: int
) -> None:
    chance = random.Random(seed)
    async with two_replicas(redis_url) as two:

        async def escalate(at: Replica, request_id: str) -> Handoff | None:
            await asyncio.sleep(chance.random() * 0.002)
            with suppress(InProgress):
                return await at.registry.escalate(two.asking(request_id))
            return None

        both = await asyncio.gather(escalate(two.one, "r1"), escalate(two.other, "r2"))
        winners = [handoff for handoff in both if handoff is not None]
        assert len(winners) == 1
        two.pbx.registry = (two.one if both[0] else two.other).registry


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_cancel_here_or_an_accept_there_wins_never_both(redis_url: str, seed: int) -> None:
    """A replica that stood still hears the agent's key; its heir is asked to cancel."""
    chance = random.Random(seed)
    async with two_replicas(redis_url, key="1") as two:
        handoff = await two.one.registry.escalate(two.asking())
        await asyncio.sleep(chance.random() * 0.02)
        await two.adopt()
        cancelled = True

        async def cancel() -> None:
            nonlocal cancelled
            await asyncio.sleep(chance.random() * 0.002)
            try:
                await two.other.registry.cancel(handoff.handoff_id)
            except (TooLate, UnknownHandoff):  # unknown: it was over before it was adopted
                cancelled = False

        async def accept() -> None:
            await asyncio.sleep(chance.random() * 0.002)
            two.one.registry.agent_accepted(handoff.handoff_id)

        await asyncio.gather(cancel(), accept())
        outcomes = {c.outcome for c in await two.settled(handoff.handoff_id)} & FINAL
        assert outcomes == {Outcome.CANCELLED if cancelled else Outcome.CONNECTED}


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_cancel_or_an_accept_wins_never_both(redis_url: str, seed: int) -> None:
    chance = random.Random(seed)
    async with two_replicas(redis_url, key="1") as two:
        handoff = await two.one.registry.escalate(two.asking())
        await asyncio.sleep(chance.random() * 0.02)
        cancelled = True
        try:
            await two.one.registry.cancel(handoff.handoff_id)
        except TooLate:
            cancelled = False
        except PeerError as error:
            raise AssertionError(error) from error
        outcomes = {c.outcome for c in await two.settled(handoff.handoff_id)} & FINAL
        assert outcomes == {Outcome.CANCELLED if cancelled else Outcome.CONNECTED}
