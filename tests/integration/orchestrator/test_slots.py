"""Slots at a real redis-server: one holder each, and a fence that only grows."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest
from orchestrator.errors import StoreError
from orchestrator.fleet.inheritance import BEAT_SECONDS, Inheritance
from orchestrator.fleet.slots import LEASE_SECONDS, Lease, Replica, Slots
from orchestrator.fleet.tenure import Tenure
from redis.asyncio import Redis

from tests.builders.virtual_time import eventually
from tests.integration.orchestrator.conftest import FAILURE_SECONDS


@pytest.fixture(autouse=True)
def _a_lease_that_outlives_a_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    """In Redis: none ends but by `run_out`. What a replica thinks of its own stays as it is."""
    monkeypatch.setattr("orchestrator.fleet.slots._MILLISECONDS", 600_000)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    connection: Redis = Redis.from_url(redis_url, protocol=2)
    await connection.flushdb()
    yield connection
    await connection.aclose()


@pytest.fixture
def app() -> str:
    return f"voicefork-{secrets.token_hex(3)}"


def slots_of(redis: Redis, name: str) -> Slots:
    return Slots(redis, Replica(name, f"{name}:7070"))


async def taken(slots: Slots, app: str, broken: int = 0) -> Lease:
    lease = await slots.take(app, broken)
    assert lease is not None
    return lease


async def run_out(redis: Redis, app: str) -> None:
    """The end of a lease that nobody has renewed, as Redis does it."""
    assert await redis.delete(f"voicefork:v1:slot:{app}") == 1


async def stand_still() -> None:
    """Longer than a lease, as a replica counts it."""
    await asyncio.sleep(LEASE_SECONDS + 0.1)


async def dead(_: str) -> bool:
    return False


async def living(_: str) -> bool:
    return True


async def apps(redis: Redis) -> set[str]:
    """The slots whose holders have not said goodbye."""
    return {holder.app for holder in await slots_of(redis, "x").holders()}


async def nothing(_: Inheritance) -> None: ...


async def test_a_slot_has_one_holder(redis: Redis, app: str) -> None:
    one, other = slots_of(redis, "one"), slots_of(redis, "other")
    await taken(one, app)
    assert await other.take(app) is None


async def test_of_many_who_want_a_slot_one_gets_it(redis: Redis, app: str) -> None:
    leases = await asyncio.gather(*(slots_of(redis, str(n)).take(app) for n in range(20)))
    assert sum(lease is not None for lease in leases) == 1


async def test_a_slot_whose_holder_died_names_it(redis: Redis, app: str) -> None:
    first = await taken(slots_of(redis, "one"), app)
    await run_out(redis, app)
    lease = await taken(slots_of(redis, "other"), app)
    assert lease.fence > first.fence
    assert lease.before is not None
    assert (lease.before.replica, lease.before.address) == ("one", "one:7070")


async def test_who_was_replaced_learns_it_at_the_next_renewal(redis: Redis, app: str) -> None:
    one = slots_of(redis, "one")
    lease = await taken(one, app)
    await taken(slots_of(redis, "other"), app, broken=lease.fence)
    assert not await one.renew(lease)


async def test_a_lease_that_ran_out_is_renewed_where_nobody_took_it(redis: Redis, app: str) -> None:
    one = slots_of(redis, "one")
    lease = await taken(one, app)
    await run_out(redis, app)
    assert await one.renew(lease)


async def test_a_redis_that_lost_its_memory_takes_nobodys_slot(redis: Redis, app: str) -> None:
    one = slots_of(redis, "one")
    lease = await taken(one, app)
    await redis.flushdb()
    assert await one.renew(lease)
    assert await slots_of(redis, "other").take(app) is None


async def test_a_goodbye_leaves_nothing_to_adopt(redis: Redis, app: str) -> None:
    one = slots_of(redis, "one")
    await one.release(await taken(one, app))
    assert not await one.holders()
    assert (await taken(slots_of(redis, "other"), app)).before is None


async def test_a_replica_takes_a_free_slot_before_a_dead_ones(redis: Redis) -> None:
    await taken(slots_of(redis, "dead"), "voicefork-0")
    await run_out(redis, "voicefork-0")
    tenure = Tenure(slots_of(redis, "one"), dead, fixed="", count=2)
    await tenure.settle()
    assert tenure.app == "voicefork-1"


async def test_a_fixed_slot_of_a_dead_process_is_taken_at_once(redis: Redis, app: str) -> None:
    before = await taken(slots_of(redis, "dead"), app)
    tenure = Tenure(slots_of(redis, "one"), dead, fixed=app, count=4)
    async with asyncio.timeout(FAILURE_SECONDS):  # the lease itself is longer
        await tenure.settle()
    assert tenure.fence > before.fence


async def test_a_fixed_slot_of_a_living_process_is_waited_for(redis: Redis, app: str) -> None:
    holder = slots_of(redis, "other")
    lease = await taken(holder, app)
    tenure = Tenure(slots_of(redis, "one"), living, fixed=app, count=4)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await tenure.settle()
    assert await holder.renew(lease)


async def test_a_dead_replica_is_inherited_once(redis: Redis) -> None:
    await taken(slots_of(redis, "dead"), "voicefork-9")
    await run_out(redis, "voicefork-9")
    inherited: asyncio.Queue[str] = asyncio.Queue()
    over = asyncio.Event()

    async def adopt(lease: Inheritance) -> None:
        inherited.put_nowait(lease.app)
        await over.wait()

    heirs = [Tenure(slots_of(redis, str(n)), dead, fixed="", count=4) for n in range(3)]
    for heir in heirs:
        await heir.settle()
    async with asyncio.TaskGroup() as work:
        tasks = [work.create_task(heir.run(adopt)) for heir in heirs]
        async with asyncio.timeout(FAILURE_SECONDS):
            assert await inherited.get() == "voicefork-9"
            await asyncio.sleep(LEASE_SECONDS)  # the others have looked at it, too
            over.set()
            while "voicefork-9" in await apps(redis):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await asyncio.sleep(2 * BEAT_SECONDS)
        for task in tasks:
            task.cancel()
    assert inherited.empty()


async def test_a_lease_whose_holder_answers_is_not_inherited(redis: Redis) -> None:
    await taken(slots_of(redis, "slow"), "voicefork-9")
    await run_out(redis, "voicefork-9")
    asked: list[str] = []
    adopted: list[str] = []

    async def answers(address: str) -> bool:
        asked.append(address)
        return True

    async def adopt(lease: Inheritance) -> None:
        adopted.append(lease.app)

    heir = Tenure(slots_of(redis, "heir"), answers, fixed="", count=4)
    await heir.settle()
    async with asyncio.TaskGroup() as work:
        running = work.create_task(heir.run(adopt))
        await eventually(lambda: len(asked) >= 2, FAILURE_SECONDS)  # so the first left it as it was
        running.cancel()
    assert (set(asked), adopted) == ({"slow:7070"}, [])


async def test_a_process_that_died_at_our_own_address_is_inherited(redis: Redis) -> None:
    await taken(slots_of(redis, "one"), "voicefork-0")  # and is started again, in another slot
    await run_out(redis, "voicefork-0")
    tenure = Tenure(slots_of(redis, "one"), living, fixed="", count=2)
    await tenure.settle()
    assert tenure.app == "voicefork-1"
    adopted: asyncio.Queue[Inheritance] = asyncio.Queue()
    async with asyncio.TaskGroup() as work:
        running = work.create_task(tenure.run(adopted.put))
        async with asyncio.timeout(FAILURE_SECONDS):
            lease = await adopted.get()
        running.cancel()
    assert lease.app == "voicefork-0"


async def test_a_process_that_stood_still_asks_before_it_touches_anything(
    redis: Redis, app: str
) -> None:
    tenure = Tenure(slots_of(redis, "one"), dead, fixed=app, count=4)
    await tenure.settle()
    assert await tenure.permit()
    await taken(slots_of(redis, "other"), app, broken=tenure.fence)
    await stand_still()
    assert not await tenure.permit()
    assert tenure.lost.is_set()


async def test_a_redis_that_is_away_takes_nobodys_permission() -> None:
    away: Redis = Redis.from_url("redis://127.0.0.1:9", protocol=2)
    tenure = Tenure(slots_of(away, "one"), dead, fixed="voicefork-0", count=4)
    await tenure.settle()
    assert (tenure.app, tenure.lease) == ("voicefork-0", None)
    assert await tenure.permit()
    with pytest.raises(StoreError):
        await slots_of(away, "one").take("voicefork-0")
    await away.aclose()


async def test_calls_that_are_given_away_are_taken_at_once(redis: Redis) -> None:
    giver = Tenure(slots_of(redis, "giver"), living, fixed="voicefork-0", count=4)
    heir = Tenure(slots_of(redis, "heir"), living, fixed="voicefork-1", count=4)
    await giver.settle()
    await heir.settle()
    taken_over: asyncio.Queue[Inheritance] = asyncio.Queue()

    async def adopt(lease: Inheritance) -> None:
        taken_over.put_nowait(lease)

    async with asyncio.TaskGroup() as work:
        running = [work.create_task(each.run(adopt)) for each in (giver, heir)]
        await eventually(lambda: giver.others and heir.others, FAILURE_SECONDS)
        assert await giver.permit()
        assert await giver.hand_over(FAILURE_SECONDS)  # the lease itself is longer
        assert not await giver.permit()
        assert (await taken_over.get()).lease.fence > giver.fence
        for task in running:
            task.cancel()


async def test_a_replica_without_another_keeps_its_calls(redis: Redis, app: str) -> None:
    tenure = Tenure(slots_of(redis, "one"), living, fixed=app, count=4)
    await tenure.settle()
    assert not await tenure.hand_over()
    assert await tenure.permit()


async def test_calls_that_nobody_takes_are_kept(redis: Redis) -> None:
    giver = Tenure(slots_of(redis, "giver"), living, fixed="voicefork-0", count=4)
    await giver.settle()
    await taken(slots_of(redis, "busy"), "voicefork-1")  # lives, and takes nothing
    async with asyncio.TaskGroup() as work:
        running = work.create_task(giver.run(nothing))
        await eventually(lambda: giver.others, FAILURE_SECONDS)
        assert not await giver.hand_over(0.5)
        assert await giver.permit()
        assert not giver.lost.is_set()
        running.cancel()
    holders = {holder.app: holder for holder in await slots_of(redis, "x").holders()}
    assert (holders["voicefork-0"].alive, holders["voicefork-0"].offered) == (True, False)


async def test_a_replica_that_died_with_redis_memory_is_inherited(redis: Redis) -> None:
    dead_one = Tenure(slots_of(redis, "dead"), dead, fixed="voicefork-0", count=4)
    heir = Tenure(slots_of(redis, "heir"), dead, fixed="voicefork-1", count=4)
    await dead_one.settle()
    await heir.settle()
    told, inherited = asyncio.Event(), asyncio.Event()
    heir.forgotten = told.set

    async def adopt(lease: Inheritance) -> None:
        assert lease.app == "voicefork-0"
        inherited.set()

    async with asyncio.TaskGroup() as work:
        running = work.create_task(heir.run(adopt))
        await eventually(lambda: heir.others, FAILURE_SECONDS)
        await redis.flushdb()
        async with asyncio.timeout(FAILURE_SECONDS):
            await told.wait()
            await inherited.wait()
        running.cancel()


async def test_a_fence_grows_even_when_redis_forgets(redis: Redis, app: str) -> None:
    one = slots_of(redis, "one")
    lease = await taken(one, app)
    await redis.flushdb()
    await asyncio.sleep(1.1)
    await taken(slots_of(redis, "other"), app)
    assert not await one.renew(lease)


async def test_an_heir_that_stood_still_asks_before_it_touches_anything(
    redis: Redis, app: str
) -> None:
    one = slots_of(redis, "one")
    inheritance = Inheritance(one, await taken(one, app))
    assert await inheritance.permit()
    await stand_still()
    await run_out(redis, app)
    assert await inheritance.permit()  # nobody has come meanwhile
    await stand_still()
    await run_out(redis, app)
    await taken(slots_of(redis, "other"), app)
    assert not await inheritance.permit()


async def test_of_two_heirs_of_a_slot_only_the_later_goes_on(redis: Redis, app: str) -> None:
    """The first one stands still in its adoption, and the second takes the slot meanwhile."""
    one = slots_of(redis, "one")
    first = Inheritance(one, await taken(one, app))
    await run_out(redis, app)
    async with asyncio.TaskGroup() as work:
        other = slots_of(redis, "other")
        second = Inheritance(other, await taken(other, app))
        keeping = work.create_task(second.keep())
        async with asyncio.timeout(FAILURE_SECONDS):
            await first.keep()  # ends by itself
        assert [await each.permit() for each in (first, second)] == [False, True]
        keeping.cancel()


async def test_an_adoption_goes_on_while_redis_is_away(redis: Redis, app: str) -> None:
    lease = await taken(slots_of(redis, "one"), app)
    away: Redis = Redis.from_url("redis://127.0.0.1:9", protocol=2)
    inheritance = Inheritance(slots_of(away, "one"), lease)
    await stand_still()
    assert await inheritance.permit()
    await away.aclose()


@pytest.mark.parametrize("strange", ["", "12x", "²", b"\xff\xfe"])
async def test_a_fence_that_is_no_number_is_the_stores_failure(
    redis: Redis, app: str, strange: str | bytes
) -> None:
    slots = slots_of(redis, "one")
    lease = await taken(slots, app)
    await redis.set(f"voicefork:v1:slot:{app}:fence", strange)
    with pytest.raises(StoreError):
        await slots.holds(lease)
    await redis.delete(f"voicefork:v1:slot:{app}")
    with pytest.raises(StoreError):
        await slots.take(app)
    await redis.hset("voicefork:v1:slots", app, strange)
    assert await slots.holders() == []
