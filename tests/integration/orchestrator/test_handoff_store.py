"""Handoffs in a real Redis: one winner, no revision lost, and what a stream follower sees."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import pytest
from orchestrator.bus.envelope import envelope_of
from orchestrator.bus.handoff_store import RedisHandoffStore
from orchestrator.bus.redis_stream import RedisStream
from orchestrator.errors import StoreError
from orchestrator.handoff.ports import Created, Fenced, Known, Occupied, Record
from orchestrator.handoff.state import State, view
from orchestrator.handoff.tracks import Left
from orchestrator.model import CallId, Context, HandoffId
from redis.asyncio import Redis

from tests.builders.handoffs import PLACE, Driven, request
from tests.integration.orchestrator.conftest import FAILURE_SECONDS

STORY = Context(summary="disputes a charge", slots={"amount": 150})


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    connection: Redis = Redis.from_url(redis_url, protocol=2)
    yield connection
    await connection.aclose()


@pytest.fixture
def store(redis: Redis) -> RedisHandoffStore:
    return RedisHandoffStore(redis, "replica-1")


def fresh(**changes: object) -> State:
    """A handoff of its own tenant, so that tests share one Redis."""
    tenant = f"t{secrets.token_hex(4)}"
    asked = request(place=replace(PLACE, tenant=tenant), **changes)
    return State(asked, created_at=100.0, changed_at=100.0)


def later(state: State, revision: int) -> State:
    return replace(state, revision=revision, changed_at=100.0 + revision)


async def waits(redis: Redis) -> None:
    """Until somebody's read stands in Redis for what comes next."""
    async with asyncio.timeout(FAILURE_SECONDS):
        while not (await redis.info("clients"))["blocked_clients"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_handoff_is_loaded_as_it_was_created(store: RedisHandoffStore) -> None:
    state = fresh()
    tenant = state.request.place.tenant
    assert await store.create(Record(state, STORY, "f1")) == Created()
    assert await store.load(tenant, state.request.handoff_id) == (state, STORY)
    assert await store.latest_of_call(tenant, PLACE.call_id) == state.request.handoff_id


async def test_the_same_request_is_known(store: RedisHandoffStore) -> None:
    state = fresh()
    await store.create(Record(state, STORY, "f1"))
    again = replace(state, request=replace(state.request, handoff_id=HandoffId("h2")))
    assert await store.create(Record(again, STORY, "f2")) == Known(HandoffId("h1"), "f1")


async def test_of_many_at_once_one_is_created(store: RedisHandoffStore) -> None:
    state = fresh()
    many = [
        replace(state, request=replace(state.request, handoff_id=HandoffId(f"h{number}")))
        for number in range(10)
    ]
    answers = await asyncio.gather(*(store.create(Record(one, STORY, "f")) for one in many))
    assert answers.count(Created()) == 1
    assert len({answer.handoff for answer in answers if isinstance(answer, Known)}) == 1


def another(state: State, name: str) -> State:
    """Of the same call, by another request."""
    asked = replace(state.request, handoff_id=HandoffId(name), request_id=f"r-{name}")
    return replace(state, request=asked)


async def test_of_many_requests_of_one_call_one_has_the_caller(store: RedisHandoffStore) -> None:
    state = fresh()
    many = [another(state, f"h{number}") for number in range(10)]
    answers = await asyncio.gather(*(store.create(Record(one, STORY, "f")) for one in many))
    assert answers.count(Created()) == 1
    winner = many[answers.index(Created())].request.handoff_id
    assert answers.count(Occupied(winner)) == 9


async def test_a_caller_who_was_let_go_is_anybodys(store: RedisHandoffStore) -> None:
    state = fresh()
    await store.create(Record(state, STORY, "f"))
    left = replace(later(state, 2), caller=Left())
    await store.save(left, (view(left),), 1, None)
    assert await store.create(Record(another(state, "h2"), STORY, "f")) == Created()


async def test_a_caller_is_given_from_one_handoff_to_the_next(store: RedisHandoffStore) -> None:
    state = fresh()
    await store.create(Record(state, STORY, "f"))
    second, third = another(state, "h2"), another(state, "h3")
    first_id, second_id = state.request.handoff_id, second.request.handoff_id
    assert await store.create(Record(second, STORY, "f", first_id)) == Created()
    assert await store.create(Record(third, STORY, "f", first_id)) == Occupied(second_id)


async def test_the_end_of_an_older_handoff_frees_no_caller(store: RedisHandoffStore) -> None:
    state = fresh()
    await store.create(Record(state, STORY, "f"))
    second = another(state, "h2").request.handoff_id
    await store.create(Record(another(state, "h2"), STORY, "f", state.request.handoff_id))
    left = replace(later(state, 2), caller=Left())
    await store.save(left, (view(left),), 1, None)
    assert await store.create(Record(another(state, "h3"), STORY, "f")) == Occupied(second)


async def test_what_was_never_stored_is_nothing(store: RedisHandoffStore) -> None:
    assert await store.load("nobody", HandoffId("h1")) is None
    assert await store.latest_of_call("nobody", CallId("call-1")) is None


async def test_a_save_keeps_every_view_since_the_last(store: RedisHandoffStore) -> None:
    state = fresh()
    tenant, handoff = state.request.place.tenant, state.request.handoff_id
    await store.create(Record(state, STORY, "f1"))
    await store.save(later(state, 4), [view(later(state, n)) for n in (2, 3, 4)], 1, None)
    history = await store.history(tenant, handoff, 0, 0.1)
    assert [past.revision for past in history] == [1, 2, 3, 4]
    assert [past.revision for past in await store.history(tenant, handoff, 2, 0.1)] == [3, 4]


async def test_another_writer_is_fenced_off_by_the_revision(redis: Redis) -> None:
    mine, theirs = RedisHandoffStore(redis, "a"), RedisHandoffStore(redis, "b")
    state = fresh()
    await mine.create(Record(state, STORY, "f1"))
    await theirs.save(later(state, 2), [view(later(state, 2))], 1, None)
    with pytest.raises(Fenced):
        await mine.save(later(state, 2), [view(later(state, 2))], 1, None)


async def test_a_save_that_was_done_unheard_may_be_repeated(store: RedisHandoffStore) -> None:
    state = fresh()
    await store.create(Record(state, STORY, "f1"))
    for _ in range(2):
        await store.save(later(state, 2), [view(later(state, 2))], 1, None)
    await store.save(later(state, 3), [view(later(state, n)) for n in (2, 3)], 1, None)
    history = await store.history(state.request.place.tenant, state.request.handoff_id, 0, 0.1)
    assert [past.revision for past in history] == [1, 2, 3]


async def test_the_past_is_not_written_over(store: RedisHandoffStore) -> None:
    state = fresh()
    await store.create(Record(state, STORY, "f1"))
    await store.save(later(state, 5), [view(later(state, 5))], 1, None)
    with pytest.raises(Fenced):
        await store.save(later(state, 4), [view(later(state, 4))], 3, None)


async def test_a_handoff_of_a_lost_redis_is_stored_as_new(store: RedisHandoffStore) -> None:
    state = later(fresh(), 3)
    tenant, handoff = state.request.place.tenant, state.request.handoff_id
    await store.save(state, [view(state)], 0, STORY)
    assert await store.load(tenant, handoff) == (state, STORY)
    assert await store.latest_of_call(tenant, PLACE.call_id) == handoff


async def test_a_changed_context_goes_with_the_state(store: RedisHandoffStore) -> None:
    state = fresh()
    await store.create(Record(state, STORY, "f1"))
    patched = STORY.merged(Context(sentiment="angry"))
    await store.save(later(state, 2), [view(later(state, 2))], 1, patched)
    loaded = await store.load(state.request.place.tenant, state.request.handoff_id)
    assert loaded is not None
    assert loaded[1] == patched


async def test_a_follower_waits_for_the_next_view(store: RedisHandoffStore, redis: Redis) -> None:
    state = fresh()
    tenant, handoff = state.request.place.tenant, state.request.handoff_id
    await store.create(Record(state, STORY, "f1"))
    waiting = asyncio.ensure_future(store.history(tenant, handoff, 1, FAILURE_SECONDS))
    await waits(redis)
    await store.save(later(state, 2), [view(later(state, 2))], 1, None)
    assert [past.revision for past in await waiting] == [2]


async def test_everything_lives_a_day(store: RedisHandoffStore, redis: Redis) -> None:
    state = fresh()
    await store.create(Record(state, STORY, "f1"))
    await store.save(later(state, 2), [view(later(state, 2))], 1, None)
    keys = await redis.keys(f"voicefork:v1:{state.request.place.tenant}:*")
    lives = [await redis.ttl(key) for key in keys]
    assert len(keys) == 5
    assert all(24 * 3600 - 60 < life <= 24 * 3600 for life in lives)


async def test_a_redis_that_is_away_is_a_store_error() -> None:
    async with Redis.from_url("redis://127.0.0.1:1", protocol=2) as away:
        store = RedisHandoffStore(away, "a")
        with pytest.raises(StoreError):
            await store.create(Record(fresh(), STORY, "f1"))


async def test_damage_in_redis_is_a_store_error(store: RedisHandoffStore, redis: Redis) -> None:
    state = fresh()
    tenant, handoff = state.request.place.tenant, state.request.handoff_id
    await store.create(Record(state, STORY, "f1"))
    await redis.hset(f"voicefork:v1:{tenant}:handoff:{handoff}", "state", "{}")
    with pytest.raises(StoreError):
        await store.load(tenant, handoff)


async def test_a_screen_follows_the_contexts_from_now_on(redis: Redis) -> None:
    stream = RedisStream(redis)
    state = Driven(fresh()).state
    tenant = state.request.place.tenant
    old, new = (envelope_of(state, replace(STORY, summary=text), 100.0) for text in ("old", "new"))
    await stream.append(old)
    async with aclosing(stream.follow(tenant, wait_seconds=FAILURE_SECONDS)) as following:
        first = asyncio.ensure_future(anext(following))
        await waits(redis)
        await stream.append(new)
        assert (await first)[1] == new


async def test_a_screen_may_read_what_was_kept(redis: Redis) -> None:
    stream = RedisStream(redis)
    state = fresh()
    envelope = envelope_of(state, STORY, 100.0)
    await stream.append(envelope)
    async with aclosing(stream.follow(state.request.place.tenant, "0")) as following:
        assert (await anext(following))[1] == envelope
