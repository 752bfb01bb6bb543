"""A node's guard at a real redis-server: one replica drives it, and another when that is gone."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from orchestrator.fleet.guard import BEAT_SECONDS, Guard
from orchestrator.fleet.slots import LEASE_SECONDS
from redis.asyncio import Redis

from tests.integration.orchestrator.conftest import FAILURE_SECONDS
from tests.integration.orchestrator.relay import open_relay

LONG_SECONDS = 600.0  # a lease that no stall of this process outlasts


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    connection: Redis = Redis.from_url(redis_url, protocol=2)
    yield connection
    await connection.aclose()


@pytest.fixture
def node() -> str:
    return f"node-{secrets.token_hex(3)}"


class Driver:
    """What a replica does with a node that is its own. `written`: the fence that is in it."""

    def __init__(self, redis: Redis, node: str, replica: str) -> None:
        self.guard = Guard(redis, node, replica)
        self.written: int | None = None
        self.driving = False
        self.lost = 0

    async def drive(self) -> None:
        self.driving = True
        try:
            await asyncio.Event().wait()
        finally:
            self.driving = False

    async def ask(self) -> int | None:
        return self.written

    def note_loss(self) -> None:
        self.lost += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Driver]:
        async with asyncio.TaskGroup() as work:
            task = work.create_task(self.guard.run(self.drive, self.note_loss, self.ask))
            yield self
            task.cancel()


async def until(fits: Callable[[], bool]) -> None:
    async with asyncio.timeout(FAILURE_SECONDS):
        while not fits():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_one_of_two_replicas_drives_the_node(
    redis: Redis, node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.fleet.guard.LEASE_SECONDS", LONG_SECONDS)
    lease = f"voicefork:v1:ami:{node}"
    one, other = Driver(redis, node, "one"), Driver(redis, node, "other")
    async with one.running():
        await until(lambda: one.driving)
        async with other.running():
            for _ in range(2):  # it is renewed
                await redis.pexpire(lease, round(LONG_SECONDS * 100))
                async with asyncio.timeout(FAILURE_SECONDS):
                    while await redis.pttl(lease) < LONG_SECONDS * 500:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
            assert (one.driving, other.driving) == (True, False)
            assert (await one.guard.permit(), await other.guard.permit()) == (True, False)


async def test_who_leaves_is_followed_at_once(redis: Redis, node: str) -> None:
    one, other = Driver(redis, node, "one"), Driver(redis, node, "other")
    async with one.running():
        await until(lambda: one.driving)
    assert not one.driving
    async with other.running():
        await until(lambda: other.driving)


async def test_who_dies_is_followed_when_the_lease_is_over(redis: Redis, node: str) -> None:
    await redis.set(f"voicefork:v1:ami:{node}", "dead", px=round(LEASE_SECONDS * 1000))
    other = Driver(redis, node, "other")
    async with other.running():
        await until(lambda: other.driving)


async def test_who_was_replaced_stops_driving_and_may_say_nothing(redis: Redis, node: str) -> None:
    one = Driver(redis, node, "one")
    async with one.running():
        await until(lambda: one.driving)
        await redis.set(f"voicefork:v1:ami:{node}", "other", px=60_000)
        await until(lambda: not one.driving)
        assert not await one.guard.permit()
        await until(lambda: one.lost == 1)
    assert await redis.get(f"voicefork:v1:ami:{node}") == b"other"


async def test_who_stood_still_while_another_one_came_and_left_begins_anew(
    redis: Redis, node: str
) -> None:
    one = Driver(redis, node, "one")
    async with one.running():
        await until(lambda: one.driving)
        async with redis.pipeline(transaction=True) as pipe:
            pipe.set(f"voicefork:v1:ami:{node}:last", "other")
            pipe.delete(f"voicefork:v1:ami:{node}")
            await pipe.execute()
        await until(lambda: one.lost == 1)
        await until(lambda: one.driving)
        await asyncio.sleep(2 * BEAT_SECONDS)
        assert one.lost == 1


async def test_a_redis_without_memory_costs_nobody_the_node(redis: Redis, node: str) -> None:
    one = Driver(redis, node, "one")
    async with one.running():
        await until(lambda: one.driving)
        await redis.delete(f"voicefork:v1:ami:{node}", f"voicefork:v1:ami:{node}:last")
        async with asyncio.timeout(FAILURE_SECONDS):
            while await redis.get(f"voicefork:v1:ami:{node}") != b"one":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await asyncio.sleep(2 * BEAT_SECONDS)
        assert (one.driving, one.lost) == (True, 0)


async def test_who_stood_still_asks_before_the_node_is_told_anything(
    redis: Redis, node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So long that it does not notice by itself, and take the node back, between two steps here.
    monkeypatch.setattr("orchestrator.fleet.guard.BEAT_SECONDS", 1.5)
    monkeypatch.setattr("orchestrator.fleet.guard.LIMIT_SECONDS", FAILURE_SECONDS)
    one = Driver(redis, node, "one")
    async with one.running():
        await until(lambda: one.driving)
        await redis.set(f"voicefork:v1:ami:{node}:last", "other")
        await redis.set(f"voicefork:v1:ami:{node}", "other", px=60_000)
        monkeypatch.setattr(one.guard, "_beat", one.guard._beat - 2 * LEASE_SECONDS)
        assert not await one.guard.permit()
        await redis.delete(f"voicefork:v1:ami:{node}")  # also when that one goes at once
        assert not await one.guard.permit()
        await until(lambda: one.lost == 1)
        await until(lambda: one.driving)


@asynccontextmanager
async def cut_off(redis_url: str, node: str) -> AsyncIterator[Driver]:
    """A driver whose lease Redis confirms no longer."""
    async with open_relay(redis_url) as relay:
        connection: Redis = Redis.from_url(relay.url.replace("http:", "redis:"), protocol=2)
        one = Driver(connection, node, "one")
        async with one.running():
            await until(lambda: one.driving)
            assert one.guard.confirmed
            relay.cut()
            await until(lambda: not one.guard.confirmed)
            yield one
        await connection.aclose()


async def test_without_redis_who_drives_goes_on(redis_url: str, node: str) -> None:
    async with cut_off(redis_url, node) as one:
        for written in (None, 0, one.guard.fence):  # silent, begun anew, ours
            one.written = written
            await asyncio.sleep(2 * BEAT_SECONDS)
            assert one.driving
            assert await one.guard.permit()


async def test_who_alone_has_no_redis_heeds_the_fence_that_its_successor_wrote(
    redis: Redis, redis_url: str, node: str
) -> None:
    async with cut_off(redis_url, node) as one:
        other = Driver(redis, node, "other")
        async with other.running():
            await until(lambda: other.driving)
            assert other.guard.fence > one.guard.fence
            assert await one.guard.permit()  # it has not looked at the node yet
            one.written = other.guard.fence
            assert not await one.guard.permit()
            await until(lambda: one.lost == 1)
            await asyncio.sleep(2 * BEAT_SECONDS)
            assert (one.driving, one.lost) == (False, 1)


async def test_a_node_that_answers_too_late_says_nothing_of_now(
    redis_url: str, node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.fleet.guard.SETTLE_SECONDS", 0.0)
    async with cut_off(redis_url, node) as one:
        assert not await one.guard.permit()
        assert one.driving
