"""Who gets the fork: the pool in Redis, and what happens without it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest
from voicefork_cli.lab.opensips import OpenSips
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.redis import Redis, open_redis
from voicefork_cli.sim.caller import CarrierCaller, open_caller
from voicefork_cli.sim.source import Tone

from tests.opensips.beats import Beats, Member, open_beats
from tests.opensips.conftest import Opening
from tests.opensips.mi import count
from tests.opensips.recorder import Recorder
from tests.opensips.sipp.run import Load, carrier, open_pbx

QUESTION_SECONDS = 5  # the breaker


@pytest.fixture
async def redis(lab: Lab) -> AsyncIterator[Redis]:
    async with open_redis(lab) as redis:
        yield redis


@pytest.fixture
async def beats(redis: Redis, recorder: Recorder, spare: Recorder) -> AsyncIterator[Beats]:
    """Both recorders, the first one with more calls than the other."""
    busy = Member("busy", recorder.uri, load=5)
    idle = Member("idle", spare.uri, load=1)
    async with open_beats(redis, busy, idle) as beats:
        yield beats


@pytest.fixture
async def edge(open_edge: Opening, redis: Redis, beats: Beats) -> AsyncIterator[OpenSips]:
    async with open_edge(redis=redis.url) as opensips:
        yield opensips


@pytest.fixture
async def caller() -> AsyncIterator[CarrierCaller]:
    async with open_caller() as caller:
        yield caller


async def dial(caller: CarrierCaller, edge: OpenSips) -> None:
    await caller.dial(f"sip:+14155550199@{edge.sip}", Tone(440))


async def test_the_least_loaded_worker_gets_the_fork(
    edge: OpenSips, caller: CarrierCaller, recorder: Recorder, spare: Recorder
) -> None:
    await dial(caller, edge)
    await spare.fork()
    assert recorder.forks.empty()
    assert await count(edge, "voicefork_pool_failures") == 0


async def test_a_worker_that_drains_gets_none(
    edge: OpenSips, beats: Beats, caller: CarrierCaller, recorder: Recorder
) -> None:
    beats.members[1].draining = True
    await beats.beat()
    await dial(caller, edge)
    await recorder.fork()


async def test_a_worker_that_died_is_out_within_two_seconds(
    edge: OpenSips, beats: Beats, caller: CarrierCaller, recorder: Recorder
) -> None:
    del beats.members[1]
    await asyncio.sleep(2)
    await dial(caller, edge)
    await recorder.fork()


async def test_a_worker_that_is_full_costs_nothing_but_the_next_one_is_asked(
    edge: OpenSips, caller: CarrierCaller, recorder: Recorder, spare: Recorder
) -> None:
    spare.refuses_with = 503
    await dial(caller, edge)
    answered = asyncio.get_running_loop().time()
    await recorder.fork()
    assert asyncio.get_running_loop().time() - answered < 0.5
    assert [request.method for request in spare.requests].count("INVITE") == 1


async def test_nobody_in_the_pool_means_the_set_that_is_watched(
    open_edge: Opening, redis: Redis, caller: CarrierCaller, recorder: Recorder
) -> None:
    async with open_beats(redis), open_edge(redis=redis.url) as edge:
        await dial(caller, edge)
        await recorder.fork()
        assert await count(edge, "voicefork_pool_failures") == 0


async def test_a_redis_that_is_gone_is_asked_once_in_five_seconds(
    edge: OpenSips, redis: Redis, recorder: Recorder, spare: Recorder
) -> None:
    redis.program.signal(signal.SIGKILL)
    await redis.program.wait()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for _ in range(4):
        async with open_caller() as caller:
            await dial(caller, edge)
    async with asyncio.timeout(3):
        while recorder.forks.qsize() + spare.forks.qsize() < 4:  # noqa: ASYNC110 - two queues
            await asyncio.sleep(0.05)
    failures = await count(edge, "voicefork_pool_failures")
    assert 1 <= failures <= 1 + (loop.time() - begun) // QUESTION_SECONDS


async def test_calls_without_a_redis_that_answers_all_succeed_and_wait_for_nothing(
    lab: Lab,
    open_edge: Opening,
    redis: Redis,
    beats: Beats,
    request: pytest.FixtureRequest,
) -> None:
    """50 calls a second while Redis hangs (SIGSTOP) and comes back."""
    async with (
        open_pbx(lab) as (pbx, _),
        open_edge(redis=redis.url, pbx=[{"address": pbx, "sources": [pbx]}], udp_workers=8) as edge,
    ):
        load = asyncio.ensure_future(carrier(lab, edge.sip, Load(rate=50, calls=500, seconds=0.2)))
        await asyncio.sleep(2)
        redis.program.signal(signal.SIGSTOP)
        await asyncio.sleep(6)
        redis.program.signal(signal.SIGCONT)
        outcome = await load
        assert (outcome.good, outcome.failed) == (500, 0)
        assert outcome.percentile(0.99) <= 200
        assert 1 <= await count(edge, "voicefork_pool_failures") <= 6
        median, p99 = (f"{outcome.percentile(share):.1f} ms" for share in (0.5, 0.99))
        shown = f"set-up p50 {median}, p99 {p99}, max {max(outcome.set_up_ms):.1f} ms"
        request.config.get_terminal_writer().line(f"\nRedis stopped, 50 calls/s: {shown}")


async def test_the_pool_is_asked_again_when_redis_is_back(
    edge: OpenSips, redis: Redis, recorder: Recorder, spare: Recorder
) -> None:
    redis.program.signal(signal.SIGSTOP)
    async with open_caller() as caller:
        await dial(caller, edge)
    redis.program.signal(signal.SIGCONT)
    await asyncio.sleep(QUESTION_SECONDS + 1.1)
    before = spare.forks.qsize()
    for _ in range(3):
        async with open_caller() as caller:
            await dial(caller, edge)
    await asyncio.sleep(0.3)
    assert spare.forks.qsize() - before == 3  # the least loaded, not one after the other


async def moved(beats: Beats, dialog: str) -> None:
    """The second recorder takes the fork over, as an adopter tells Redis."""
    fence = await beats.pool.call("vf_put", "idle", dialog, 0, b"state")
    assert int(fence) > 0


async def test_what_belongs_to_a_fork_goes_to_its_owner(
    edge: OpenSips,
    beats: Beats,
    caller: CarrierCaller,
    recorder: Recorder,
    spare: Recorder,
) -> None:
    spare.refuses_with = 503
    await dial(caller, edge)
    fork = await recorder.fork()
    spare.refuses_with = 0
    await fork.audio("customer")
    await moved(beats, fork.invite.call_id)
    recorder.requests.clear()
    spare.requests.clear()
    await caller.hold()
    await spare.asked("ACK")
    await caller.hang_up()
    await spare.asked("BYE")
    methods = [request.method for request in spare.requests if request.method != "OPTIONS"]
    assert methods == ["INVITE", "ACK", "BYE"]
    assert {request.method for request in recorder.requests} <= {"OPTIONS"}


async def test_without_redis_it_goes_to_the_first_one(
    edge: OpenSips, redis: Redis, caller: CarrierCaller, spare: Recorder
) -> None:
    await dial(caller, edge)
    fork = await spare.fork()
    redis.program.signal(signal.SIGSTOP)
    await caller.hold()
    await caller.hang_up()
    async with asyncio.timeout(5):
        await fork.ended.wait()
    redis.program.signal(signal.SIGCONT)
