"""`voicefork context` at a real Redis, with what the orchestrator publishes."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from types import MappingProxyType

import pytest
from orchestrator.bus.envelope import Envelope
from orchestrator.bus.redis_stream import RedisStream, context_key
from orchestrator.model import CallId, Context, HandoffId, Speaker, TranscriptLine
from redis.asyncio import Redis as Client
from redis.exceptions import RedisError
from rich.console import Console
from voicefork_cli.lab.processes import Lab, find_program
from voicefork_cli.lab.redis import Redis, open_redis
from voicefork_cli.operator.context import ContextPlan, run_context

WAIT_SECONDS = 20.0
SLOTS: Mapping[str, str] = MappingProxyType({"amount": "40 EUR"})


@pytest.fixture
async def redis(lab: Lab) -> AsyncIterator[Redis]:
    async with open_redis(lab) as redis:
        yield redis


def envelope(summary: str, tenant: str = "default") -> Envelope:
    context = Context(
        summary=summary,
        slots=dict(SLOTS),
        customer_reference="C-4092",
        transcript_tail=(TranscriptLine(Speaker.CUSTOMER, "I want to dispute this.", None),),
    )
    return Envelope(
        HandoffId("h-1"), "r-1", CallId("c-1"), tenant, 1, time.time(), "dispute", context=context
    )


async def publish(url: str, *summaries: str, tenant: str = "default") -> None:
    async with Client.from_url(url, protocol=2) as client:
        for summary in summaries:
            await RedisStream(client).append(envelope(summary, tenant))


def console() -> Console:
    return Console(file=io.StringIO(), width=100)


def written(screen: Console) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


@asynccontextmanager
async def following(plan: ContextPlan) -> AsyncIterator[tuple[Console, Console]]:
    screen, complaints = console(), console()
    task = asyncio.create_task(run_context(plan, screen, complaints))
    try:
        yield screen, complaints
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not check():  # noqa: ASYNC110 - what is waited for is a text on a screen
            await asyncio.sleep(0.02)


async def once(plan: ContextPlan) -> tuple[int, str, str]:
    screen, complaints = console(), console()
    code = await run_context(plan, screen, complaints)
    return code, written(screen), written(complaints)


async def test_the_newest_context_is_shown(redis: Redis) -> None:
    await publish(redis.url, "the old one", "the new one")
    code, screen, _ = await once(ContextPlan(redis.url))
    assert code == 0
    assert "the old one" not in screen
    for text in ("the new one", "dispute", "C-4092", "40 EUR", "I want to dispute this."):
        assert text in screen


async def test_from_the_start_all_are_shown_in_their_order(redis: Redis) -> None:
    await publish(redis.url, *(f"number {n};" for n in range(150)))
    _, screen, _ = await once(ContextPlan(redis.url, from_start=True))
    places = [screen.index(f"number {n};") for n in range(150)]
    assert places == sorted(places)


async def test_another_tenants_contexts_are_not_shown(redis: Redis) -> None:
    await publish(redis.url, "of a bank", tenant="bank")
    code, screen, complaint = await once(ContextPlan(redis.url))
    assert (code, screen) == (0, "")
    assert "No context of tenant default" in complaint
    assert "of a bank" in (await once(ContextPlan(redis.url, tenant="bank")))[1]


async def test_following_shows_what_is_published_from_now_on(redis: Redis) -> None:
    await publish(redis.url, "before")
    async with following(ContextPlan(redis.url, follow=True)) as (screen, _):
        await _waited_for(redis.url)
        await publish(redis.url, "one", "two")
        await until(lambda: "two" in written(screen))
    assert "one" in written(screen)
    assert "before" not in written(screen)


async def test_following_from_the_start_shows_what_is_kept_first(redis: Redis) -> None:
    await publish(redis.url, "before")
    plan = ContextPlan(redis.url, follow=True, from_start=True)
    async with following(plan) as (screen, _):
        await until(lambda: "before" in written(screen))
        await publish(redis.url, "after")
        await until(lambda: "after" in written(screen))


async def test_an_entry_that_is_no_context_is_named_and_passed_over(redis: Redis) -> None:
    async with Client.from_url(redis.url, protocol=2) as client:
        for text in (b"{", b'{"v": 2, "type": "handoff.context"}', b'"text"', b"[1]"):
            await client.xadd(context_key("default"), {"json": text})
    await publish(redis.url, "readable")
    _, screen, _ = await once(ContextPlan(redis.url, from_start=True))
    assert screen.count("not a context this version can read") == 4
    assert "readable" in screen


async def test_redis_away_is_an_error_that_hides_the_password(lab: Lab) -> None:
    port = lab.ports.single()
    plan = ContextPlan(f"redis://user:secret@127.0.0.1:{port}/0")
    code, _, complaint = await once(plan)
    assert code == 1
    assert "Redis at 127.0.0.1 does not answer" in complaint
    assert "secret" not in complaint


async def test_an_address_that_is_none_of_redis_is_refused() -> None:
    code, _, complaint = await once(ContextPlan("http://127.0.0.1"))
    assert code == 1
    assert "--redis" in complaint


async def test_redis_that_comes_back_is_followed_again_without_a_loss(lab: Lab) -> None:
    port = lab.ports.single()
    where = ("--bind", "127.0.0.1", "--port", port, "--dir", lab.folder)
    argv = (find_program("redis-server", "apt-get install redis-server"), *where)
    url = f"redis://127.0.0.1:{port}/0"
    plan = replace(ContextPlan(url), follow=True)
    async with following(plan) as (screen, complaints):
        await until(lambda: "trying again" in written(complaints))
        async with lab.program("redis-a", argv):
            await until(lambda: "Redis is back" in written(complaints))
            await publish(url, "first")
            await until(lambda: "first" in written(screen))
            async with Client.from_url(url, protocol=2) as client:
                await client.save()
            before = written(complaints).count("trying again")
        await until(lambda: written(complaints).count("trying again") > before)
        async with lab.program("redis-b", argv):
            await _answers(url)
            await publish(url, "second")
            await until(lambda: "second" in written(screen))
    assert written(screen).count("first") == 1


async def _waited_for(url: str) -> None:
    """Until a reader stands in Redis: what is published from then on is new to it."""
    async with asyncio.timeout(WAIT_SECONDS), Client.from_url(url, protocol=2) as client:
        while not (await client.info("clients"))["blocked_clients"]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def _answers(url: str) -> None:
    async with asyncio.timeout(WAIT_SECONDS), Client.from_url(url, protocol=2) as client:
        while True:
            try:
                await client.exists("any")
            except RedisError:
                await asyncio.sleep(0.05)
            else:
                return
