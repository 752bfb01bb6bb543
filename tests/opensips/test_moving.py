"""Two real workers behind a real OpenSIPS: calls are spread, and move when a worker goes."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import aiohttp
import grpc
import pytest
from redis.asyncio import Redis as RedisClient
from voicefork.worker.v1 import worker_pb2
from voicefork.worker.v1.worker_pb2_grpc import WorkerControlStub
from voicefork_cli.lab.opensips import OpenSips, OpenSipsPlan, render_opensips, run_opensips
from voicefork_cli.lab.ours import Service, WorkerPlan, open_worker
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.redis import Redis, open_redis
from voicefork_cli.sim.caller import CarrierCaller, open_caller
from voicefork_cli.sim.source import Tone
from voicefork_sdk.server import AgentServer

from tests.builders.moving_forks import TONE_HZ, CountingAgent, until
from tests.opensips.mi import count
from tests.opensips.tables import make_database

CALLS = 6
MOVED_CALLS = CALLS // 2
BEAT_SAMPLES = 3200  # what an AI had of the time after a dead worker's last beat; with room
MOVED_SECONDS = 6.0  # a lease of 1.5 s, the probe of the owner, the re-INVITEs; with room


@dataclass(slots=True)
class House:
    edge: OpenSips
    workers: tuple[Service, Service]
    session: aiohttp.ClientSession
    ai: CountingAgent
    redis: Redis
    lab: Lab
    running: AsyncExitStack  # the edge, which may be restarted

    async def live(self, worker: Service) -> dict[str, int]:
        """Packets of the customer by call, of the worker's live calls."""
        found: dict[str, int] = {}
        for call in (await self._get(worker, "calls"))["live"]:
            told = await self._get(worker, f"calls/{call['call_id']}")
            legs = {leg["kind"]: leg["counters"].get("packets", 0) for leg in told["legs"]}
            found[call["call_id"]] = legs.get("customer", 0)
        return found

    async def _get(self, worker: Service, path: str) -> Any:
        async with self.session.get(f"http://{worker.addresses['admin']}/{path}") as response:
            return await response.json()

    async def restart(self, how: signal.Signals) -> None:
        self.edge.program.signal(how)
        await self.running.aclose()
        edge = run_opensips(self.lab, self.edge.home)
        self.edge = await self.running.enter_async_context(edge)

    async def hand_over(self, call: str) -> None:
        """Moves a call of the first worker to the second, and both live on."""
        first, second = self.workers
        request = worker_pb2.HandOverRequest(call_id=call, to=second.addresses["control"])
        async with grpc.aio.insecure_channel(first.addresses["control"]) as channel:
            stub: Any = WorkerControlStub(channel)
            await stub.HandOver(request)

    async def forks_stored(self) -> int:
        client: RedisClient = RedisClient.from_url(self.redis.url, protocol=2)
        found = await client.keys("voicefork:pool:fork*:*")
        await client.aclose()
        return len(found)

    async def hears_all(self, seconds: float = 1.0) -> None:
        """The AI hears every call, now."""
        begun = time.time()
        await asyncio.sleep(seconds)
        for heard in self.ai.heard.values():
            assert heard.last_wall > begun

    async def until(self, worker: Service, calls: int, seconds: float) -> dict[str, int]:
        """Waits until that many calls are live there and each has audio of the customer."""
        found: dict[str, int] = {}
        async with asyncio.timeout(seconds):
            while len(found) != calls or min(found.values(), default=1) == 0:
                await asyncio.sleep(0.1)
                found = await self.live(worker)
        return found


@pytest.fixture
async def house(lab: Lab, edge_plan: Callable[..., OpenSipsPlan]) -> AsyncIterator[House]:
    async with AsyncExitStack() as opened:
        redis = await opened.enter_async_context(open_redis(lab))
        ai = CountingAgent()
        vendor = await opened.enter_async_context(AgentServer(ai.on_call))
        url = f"grpc://{vendor.address}"
        options = ("--drain-seconds", "20", "--dial", "fork")
        first, second = [
            await opened.enter_async_context(
                open_worker(lab, WorkerPlan(agent=url, redis=redis.url, name=name, options=options))
            )
            for name in ("first", "second")
        ]
        uris = [f"sip:{one.addresses['sip']};transport=tcp" for one in (first, second)]
        database = make_database(lab.folder / "edge.db")
        plan = edge_plan(redis=redis.url, workers=uris, database=database)
        running = await opened.enter_async_context(AsyncExitStack())
        edge = await running.enter_async_context(run_opensips(lab, render_opensips(lab, plan)))
        session = await opened.enter_async_context(aiohttp.ClientSession())
        await asyncio.sleep(1)  # both beat
        yield House(edge, (first, second), session, ai, redis, lab, running)


@pytest.fixture
async def callers(house: House) -> AsyncIterator[list[CarrierCaller]]:
    async with AsyncExitStack() as opened:
        callers = []
        for index in range(CALLS):
            caller = await opened.enter_async_context(open_caller())
            await caller.dial(f"sip:+1415555010{index}@{house.edge.sip}", Tone(TONE_HZ))
            callers.append(caller)
        yield callers


async def test_calls_are_spread_evenly(house: House, callers: list[CarrierCaller]) -> None:
    first, second = house.workers
    await house.until(first, MOVED_CALLS, 5)
    await house.until(second, MOVED_CALLS, 5)
    assert await count(house.edge, "voicefork_pool_failures") == 0


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "drained"])
async def test_the_calls_of_a_worker_that_goes_are_the_others_and_end_there(
    house: House,
    callers: list[CarrierCaller],
    how: signal.Signals,
    request: pytest.FixtureRequest,
) -> None:
    first, second = house.workers
    await house.until(first, MOVED_CALLS, 5)
    await asyncio.sleep(1)  # they are stored
    loop = asyncio.get_running_loop()
    signalled = loop.time()
    first.program.signal(how)
    before = await house.until(second, CALLS, MOVED_SECONDS)
    shown = f"{MOVED_CALLS} calls moved {loop.time() - signalled:.1f} s after {how.name}"
    request.config.get_terminal_writer().line(f"\n{shown}")
    async with asyncio.timeout(25):
        code = await first.program.wait()
    assert how is signal.SIGKILL or code == 0
    await asyncio.sleep(1)
    after = await house.live(second)
    assert all(after[call] - packets >= 40 for call, packets in before.items())
    await house.hears_all()
    gaps = [gap for heard in house.ai.heard.values() for gap in heard.gaps]
    missing = sum(heard.missing() for heard in house.ai.heard.values())
    request.config.get_terminal_writer().line(f"samples the AI has not got: {missing}")
    assert house.ai.begun == CALLS
    told = sum(gap.to_pts - gap.from_pts for gap in gaps)
    assert missing <= told <= missing + MOVED_CALLS * BEAT_SAMPLES
    if how is signal.SIGTERM:
        assert missing == 0
        assert sum(heard.slips() for heard in house.ai.heard.values()) == 0
    for caller in callers:
        await caller.hang_up()
    await house.until(second, 0, 3)  # by BYE: silence would take longer


@pytest.fixture
async def caller(house: House) -> AsyncIterator[CarrierCaller]:
    """One call, which the AI hears, moved from the first worker to the second."""
    first, second = house.workers
    async with open_caller() as caller:
        await caller.dial(f"sip:+14155550100@{house.edge.sip}", Tone(TONE_HZ))
        (call,) = await house.until(first, 1, 5)
        await until(lambda: all(len(h.pieces) > 20 for h in house.ai.heard.values()))
        await asyncio.sleep(0.5)
        await house.hand_over(call)
        await house.until(first, 0, 3)
        await house.until(second, 1, 3)
        yield caller


async def test_hold_resume_and_bye_reach_the_owner_of_a_moved_call(
    house: House, caller: CarrierCaller
) -> None:
    _, second = house.workers
    await house.hears_all()
    await caller.hold()
    await asyncio.sleep(0.5)
    await caller.resume()
    await asyncio.sleep(0.5)
    await house.hears_all()
    assert await house.live(house.workers[0]) == {}
    await caller.hang_up()
    await house.until(second, 0, 3)
    (heard,) = house.ai.heard.values()
    assert heard.closed is not None


async def test_without_redis_the_bye_of_a_moved_call_reaches_the_owner_by_the_former_worker(
    house: House, caller: CarrierCaller
) -> None:
    house.redis.program.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(1)
        await house.hears_all()
        await caller.hang_up()
        await house.until(house.workers[1], 0, 5)
    finally:
        house.redis.program.signal(signal.SIGCONT)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "ended"])
async def test_a_moved_call_outlives_a_restart_of_opensips(
    house: House, caller: CarrierCaller, how: signal.Signals
) -> None:
    _, second = house.workers
    await asyncio.sleep(1)  # its dialogs are in the database
    await house.restart(how)
    await asyncio.sleep(3)  # it repeats its re-INVITEs
    await house.hears_all()
    await caller.hold()
    await asyncio.sleep(0.5)
    await caller.resume()
    await asyncio.sleep(0.5)
    await house.hears_all()
    assert len(await house.live(second)) == 1
    assert house.ai.begun == 1
    await caller.hang_up()
    await house.until(second, 0, 5)


async def test_a_call_that_ends_while_its_worker_is_dead_leaves_no_ghost(
    house: House, caller: CarrierCaller
) -> None:
    first, second = house.workers
    assert await house.forks_stored()
    second.program.signal(signal.SIGKILL)  # who has had it since it moved
    await asyncio.sleep(0.2)
    await caller.hang_up()  # its BYE finds nobody
    async with asyncio.timeout(10):
        while await house.forks_stored():  # noqa: ASYNC110 - asked, not told
            await asyncio.sleep(0.1)
    assert await house.live(first) == {}
