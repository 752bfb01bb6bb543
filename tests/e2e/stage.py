"""Everything one call needs, once for a whole module: real programs and tone agents."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from redis.asyncio import Redis as RedisClient
from voicefork_cli.lab.asterisk import Asterisk, open_asterisk
from voicefork_cli.lab.ours import (
    OrchestratorPlan,
    Service,
    WorkerPlan,
    open_agent,
    open_orchestrator,
    open_worker,
)
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.redis import Redis, open_redis
from voicefork_cli.lab.rtpengine import Rtpengine, open_rtpengine
from voicefork_cli.lab.templates import shipped
from voicefork_cli.sim.edge import Edge, open_edge
from voicefork_cli.sim.edge_call import EdgePlan
from voicefork_cli.sim.src import SrcSettings

from tests.e2e.diary import Diary

TONE_AGENT = shipped("tests/fakes") / "tone_agent.py"
GONE_SECONDS = 15.0


DEFAULT = "tone"


@dataclass(frozen=True, slots=True)
class Guest:
    """A tone agent: its options, and the numbers whose calls it gets ("tone" gets the others')."""

    options: Sequence[str] = ()
    numbers: Sequence[str] = ()
    shadow: str = ""  # another guest that listens on these numbers, too


@dataclass(frozen=True, slots=True)
class Stage:
    """The programs that are nobody's in particular, and the agents."""

    lab: Lab
    redis: Redis
    rtpengine: Rtpengine
    asterisk: Asterisk
    agents: Mapping[str, Service]
    guests: Mapping[str, Guest]
    session: aiohttp.ClientSession

    def diary(self, agent: str) -> Diary:
        """What the agent writes from now on."""
        return Diary(self.agents[agent])

    @asynccontextmanager
    async def orchestrator(
        self, *options: str, env: Mapping[str, str] | None = None
    ) -> AsyncIterator[Service]:
        plan = OrchestratorPlan(
            self.redis.url,
            self.asterisk,
            options=("--drain-seconds", "0", *options),
            env=env or {},
        )
        async with open_orchestrator(self.lab, plan) as service:
            yield service

    @asynccontextmanager
    async def worker(
        self, orchestrator: Service, name: str = "worker-1", options: Sequence[str] = ()
    ) -> AsyncIterator[Service]:
        """A worker whose routes lead each number to its agent."""
        config = self.lab.folder / f"{name}.yaml"
        config.write_text(json.dumps({"routes": self._routes()}))  # JSON is YAML
        plan = WorkerPlan(
            agent=self._url(DEFAULT),
            redis=self.redis.url,
            orchestrator=orchestrator.addresses["grpc"],
            name=name,
            options=("--config", str(config), *options),
        )
        async with open_worker(self.lab, plan) as service:
            yield service

    def _url(self, name: str) -> str:
        return f"grpc://{self.agents[name].addresses['agent']}"

    def _routes(self) -> list[dict[str, object]]:
        routes: list[dict[str, object]] = []
        for name, guest in self.guests.items():
            agents = [{"url": self._url(name)}]
            if guest.shadow:
                agents.append({"url": self._url(guest.shadow), "role": "shadow"})
            if guest.numbers:
                routes.append({"name": name, "did": list(guest.numbers), "agents": agents})
        return routes

    @asynccontextmanager
    async def edge(
        self, *workers: Service, fork_when: asyncio.Event | None = None
    ) -> AsyncIterator[Edge]:
        """A carrier's way in. `fork_when`: the edge has found a worker."""

        async def pick() -> list[str]:
            if fork_when is not None:
                await fork_when.wait()
            return [f"sip:{worker.addresses['sip']};transport=tcp" for worker in workers]

        src = SrcSettings(owner=self.owner)
        plan = EdgePlan(pbx=f"sip:{self.asterisk.sip}", pick=pick, src=src)
        async with open_edge(plan, (self.rtpengine.host, self.rtpengine.port)) as edge:
            yield edge

    async def owner(self, sip_call_id: str) -> str | None:
        """Who has a fork's dialog now, as local_route asks it."""
        async with self._store() as store:
            found = await store.get(f"fork:owner:{sip_call_id}")
            return None if found is None else str(found)

    async def listed(self, url: str) -> Any:
        async with self.session.get(url) as response:
            assert response.ok, await response.text()
            return await response.json()

    async def ari(self, what: str) -> list[dict[str, Any]]:
        """The node's channels or bridges."""
        url = f"{self.asterisk.ari_url}/{what}"
        async with self.session.get(url, headers=self.asterisk.authorization) as response:
            found: list[dict[str, Any]] = await response.json()
            return found

    async def applications(self) -> list[str]:
        """Which dialplan application each channel of the node is in."""
        return [str(channel["dialplan"]["app_name"]) for channel in await self.ari("channels")]

    async def calls_of_worker(self, worker: Service) -> list[dict[str, Any]]:
        pages = await self.listed(f"http://{worker.addresses['admin']}/calls")
        return list(pages["live"])

    async def calls_of_orchestrator(self, orchestrator: Service) -> list[dict[str, Any]]:
        calls = await self.listed(f"http://{orchestrator.addresses['admin']}/calls")
        return list(calls["calls"] if isinstance(calls, dict) else calls)

    async def rendezvous(self) -> list[str]:
        """What is left in Redis of calls' two halves."""
        async with self._store() as store:
            return [str(key) for key in await store.keys("voicefork:v1:*:call:*")]

    async def forks(self) -> list[str]:
        """What is left in Redis of forks and their owners."""
        async with self._store() as store:
            names = ("voicefork:pool:fork:*", "voicefork:pool:forks:*", "fork:owner:*")
            return [str(key) for name in names for key in await store.keys(name)]

    async def sweep(self) -> None:
        """Whatever a test left behind is gone: it must not fail the next one."""
        for channel in await self.ari("channels"):
            url = f"{self.asterisk.ari_url}/channels/{channel['id']}"
            await self.session.delete(url, headers=self.asterisk.authorization)
        for bridge in await self.ari("bridges"):
            url = f"{self.asterisk.ari_url}/bridges/{bridge['id']}"
            await self.session.delete(url, headers=self.asterisk.authorization)
        await self.forget()

    async def forget(self) -> None:
        """What a program that was killed could not take away: Redis forgets it in six hours."""
        async with self._store() as store:
            await store.flushdb()

    def _store(self) -> RedisClient:
        return RedisClient.from_url(self.redis.url, protocol=2, decode_responses=True)

    async def wait_in_queue(self, seconds: float = GONE_SECONDS) -> None:
        """Somebody waits in the queue, and no bridge is left."""

        async def queued() -> bool | None:
            return ("Queue" in await self.applications() and not await self.ari("bridges")) or None

        await self.asterisk.program.wait_until(queued, seconds)

    async def left_behind(
        self, orchestrator: Service | None = None, worker: Service | None = None
    ) -> dict[str, Any]:
        """What is still there of calls, wherever it is: empty values when all is clean."""
        left: dict[str, Any] = {
            "channels": [channel["name"] for channel in await self.ari("channels")],
            "bridges": [bridge["id"] for bridge in await self.ari("bridges")],
            "rendezvous": await self.rendezvous(),
        }
        if orchestrator is not None:
            left["orchestrator"] = await self.calls_of_orchestrator(orchestrator)
        if worker is not None:
            left["worker"] = await self.calls_of_worker(worker)
        return {place: things for place, things in left.items() if things}

    async def wait_empty(
        self, orchestrator: Service | None = None, worker: Service | None = None
    ) -> None:
        """Nothing of any call is left; fails with what is."""
        left: dict[str, Any] = {}
        try:
            async with asyncio.timeout(GONE_SECONDS):
                while left := await self.left_behind(orchestrator, worker):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"left behind: {left}") from None


@asynccontextmanager
async def open_stage(lab: Lab, guests: Mapping[str, Guest]) -> AsyncIterator[Stage]:
    """redis, rtpengine, Asterisk and all agents, started together."""
    async with AsyncExitStack() as opened:
        store = await opened.enter_async_context(open_redis(lab))
        rtpengine = await opened.enter_async_context(open_rtpengine(lab))
        asterisk = await opened.enter_async_context(open_asterisk(lab))
        agents = {
            name: await opened.enter_async_context(
                open_agent(lab, TONE_AGENT, guest.options, name=f"agent-{name}")
            )
            for name, guest in guests.items()
        }
        session = await opened.enter_async_context(aiohttp.ClientSession())
        yield Stage(lab, store, rtpengine, asterisk, agents, guests, session)
