"""Two real workers behind a real OpenSIPS: calls are spread, and move when a worker goes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from voicefork_cli.lab.opensips import OpenSips
from voicefork_cli.lab.ours import Service, WorkerPlan, open_agent, open_worker
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.redis import open_redis
from voicefork_cli.lab.templates import shipped
from voicefork_cli.sim.caller import CarrierCaller, open_caller
from voicefork_cli.sim.source import Tone

from tests.opensips.conftest import Opening
from tests.opensips.mi import count

ECHO = shipped("sdk/examples") / "echo.py"
CALLS = 6
MOVED_SECONDS = 6.0  # a lease of 1.5 s, the probe of the owner, the re-INVITEs; with room


@dataclass(frozen=True, slots=True)
class House:
    edge: OpenSips
    workers: tuple[Service, Service]
    session: aiohttp.ClientSession

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

    async def until(self, worker: Service, calls: int, seconds: float) -> dict[str, int]:
        """Waits until that many calls are live there and each has audio of the customer."""
        found: dict[str, int] = {}
        async with asyncio.timeout(seconds):
            while len(found) != calls or min(found.values(), default=1) == 0:
                await asyncio.sleep(0.1)
                found = await self.live(worker)
        return found


@pytest.fixture
async def house(lab: Lab, open_edge: Opening) -> AsyncIterator[House]:
    async with AsyncExitStack() as opened:
        redis = await opened.enter_async_context(open_redis(lab))
        agent = await opened.enter_async_context(open_agent(lab, ECHO))
        url = f"grpc://{agent.addresses['agent']}"
        options = ("--drain-seconds", "20")
        first, second = [
            await opened.enter_async_context(
                open_worker(lab, WorkerPlan(agent=url, redis=redis.url, name=name, options=options))
            )
            for name in ("first", "second")
        ]
        uris = [f"sip:{one.addresses['sip']};transport=tcp" for one in (first, second)]
        edge = await opened.enter_async_context(open_edge(redis=redis.url, workers=uris))
        session = await opened.enter_async_context(aiohttp.ClientSession())
        await asyncio.sleep(1)  # both beat
        yield House(edge, (first, second), session)


@pytest.fixture
async def callers(house: House) -> AsyncIterator[list[CarrierCaller]]:
    async with AsyncExitStack() as opened:
        callers = []
        for index in range(CALLS):
            caller = await opened.enter_async_context(open_caller())
            await caller.dial(f"sip:+1415555010{index}@{house.edge.sip}", Tone(440))
            callers.append(caller)
        yield callers


async def test_calls_are_spread_evenly(house: House, callers: list[CarrierCaller]) -> None:
    first, second = house.workers
    await house.until(first, CALLS // 2, 5)
    await house.until(second, CALLS // 2, 5)
    assert await count(house.edge, "voicefork_pool_failures") == 0


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "drained"])
async def test_the_calls_of_a_worker_that_goes_are_the_others_and_end_there(
    house: House,
    callers: list[CarrierCaller],
    how: signal.Signals,
    request: pytest.FixtureRequest,
) -> None:
    first, second = house.workers
    await house.until(first, CALLS // 2, 5)
    await asyncio.sleep(1)  # they are stored
    loop = asyncio.get_running_loop()
    signalled = loop.time()
    first.program.signal(how)
    before = await house.until(second, CALLS, MOVED_SECONDS)
    shown = f"{CALLS // 2} calls moved {loop.time() - signalled:.1f} s after {how.name}"
    request.config.get_terminal_writer().line(f"\n{shown}")
    async with asyncio.timeout(25):
        code = await first.program.wait()
    assert how is signal.SIGKILL or code == 0
    await asyncio.sleep(1)
    after = await house.live(second)
    assert all(after[call] - packets >= 40 for call, packets in before.items())
    for caller in callers:
        await caller.hang_up()
    await house.until(second, 0, 3)  # by BYE: silence would take longer
