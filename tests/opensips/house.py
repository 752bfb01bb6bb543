"""Real workers with one AI behind a real OpenSIPS: what is asked of them, what they are told."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import grpc
from redis.asyncio import Redis as RedisClient
from voicefork.worker.v1 import worker_pb2
from voicefork.worker.v1.worker_pb2_grpc import WorkerControlStub
from voicefork_cli.lab.opensips import OpenSips, OpenSipsPlan, render_opensips, run_opensips
from voicefork_cli.lab.ours import Service, WorkerPlan, open_worker
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.redis import Redis, open_redis
from voicefork_sdk.server import AgentServer

from tests.builders.moving_forks import CountingAgent

BEATEN_SECONDS = 1.0  # until all workers have told Redis of themselves


@dataclass(slots=True)
class House:
    """Made by `open_house`."""

    lab: Lab
    redis: Redis
    ai: CountingAgent
    ai_url: str
    session: aiohttp.ClientSession
    opened: AsyncExitStack
    running: AsyncExitStack  # the edge, which may be restarted
    workers: list[Service] = field(default_factory=list)
    edge: OpenSips = field(init=False)

    async def add_worker(self, name: str, *options: str) -> Service:
        """One more in the pool."""
        options = ("--drain-seconds", "20", "--dial", "fork", *options)
        plan = WorkerPlan(agent=self.ai_url, redis=self.redis.url, name=name, options=options)
        worker = await self.opened.enter_async_context(open_worker(self.lab, plan))
        self.workers.append(worker)
        return worker

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


@asynccontextmanager
async def open_house(
    lab: Lab, plan: OpenSipsPlan, names: Sequence[str], options: Sequence[str] = ()
) -> AsyncIterator[House]:
    """A pool of workers of these names, their Redis and AI, and an edge of that plan.

    The edge is told of Redis and of the workers here; `options` are the workers'.
    """
    async with AsyncExitStack() as opened:
        redis = await opened.enter_async_context(open_redis(lab))
        ai = CountingAgent()
        vendor = await opened.enter_async_context(AgentServer(ai.on_call))
        session = await opened.enter_async_context(aiohttp.ClientSession())
        running = AsyncExitStack()
        house = House(lab, redis, ai, f"grpc://{vendor.address}", session, opened, running)
        for name in names:
            await house.add_worker(name, *options)
        uris = [f"sip:{one.addresses['sip']};transport=tcp" for one in house.workers]
        plan = replace(plan, values={"redis": redis.url, "workers": uris, **plan.values})
        await opened.enter_async_context(running)
        edge = run_opensips(lab, render_opensips(lab, plan))
        house.edge = await running.enter_async_context(edge)
        await asyncio.sleep(BEATEN_SECONDS)
        yield house
