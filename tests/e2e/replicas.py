"""Two orchestrators at one Asterisk, and what a test does to them."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import grpc
import pytest_asyncio
from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork_cli.lab.asterisk import AsteriskPlan, open_asterisk
from voicefork_cli.lab.ours import (
    OrchestratorPlan,
    Service,
    WorkerPlan,
    open_orchestrator,
    open_worker,
)
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.redis import open_redis
from voicefork_cli.lab.rtpengine import open_rtpengine
from voicefork_cli.sim.phone import AgentPhone, open_phone

from tests.e2e.ears import AGENT, until_hears
from tests.e2e.stage import Stage
from tests.e2e.switchboard import Scene, Switchboard
from tests.e2e.watch import Handoffs, Watch
from tests.fakes.puppet_agent import Vendor, open_puppet

ADOPTED_SECONDS = 30.0  # a lease and a question, usually two seconds
DEAD, GIVEN = "adopting the dead", "adopting what a replica gives away"  # in the heir's log
REPLACED = 3  # exit code
HEALTHY_SECONDS = 2.0  # a replica buries nobody before it has watched for a lease
RULES = {
    "destinations": {"allow": {"number": "+1*"}},
    "default": {"targets": ["PJSIP/agent-1"], "ring_seconds": 12},
    "rules": [
        {"name": "key", "when": {"intent": ["key"]}, "accept_key": "1", "accept_seconds": 12},
        {"name": "two", "when": {"intent": ["two"]}, "targets": ["PJSIP/agent-2"]},
    ],
}


@dataclass(slots=True)
class Company:
    """What outlives the orchestrators of a test."""

    stage: Stage
    vendor: Vendor
    phones: dict[str, AgentPhone]
    routing: str


@asynccontextmanager
async def open_company(lab: Lab, rules: Mapping[str, Any]) -> AsyncIterator[Company]:
    async with AsyncExitStack() as opened:
        enter: Callable[[Any], Awaitable[Any]] = opened.enter_async_context
        vendor = await enter(open_puppet())
        phones = {name: await enter(open_phone(name)) for name in ("agent-1", "agent-2")}
        plan = AsteriskPlan(agents={name: phone.uri for name, phone in phones.items()})
        stage = Stage(
            lab,
            await enter(open_redis(lab)),
            await enter(open_rtpengine(lab)),
            await enter(open_asterisk(lab, plan)),
            {},
            {},
            await enter(aiohttp.ClientSession()),
        )
        # Calls go to the first slot alone: it is known who has them.
        await stage.asterisk.cli("dialplan set global VOICEFORK_SLOTS 1")
        routing = lab.folder / "routing.yaml"
        routing.write_text(json.dumps(rules))  # JSON is YAML
        yield Company(stage, vendor, phones, str(routing))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def company(stage_lab: Lab) -> AsyncIterator[Company]:
    async with open_company(stage_lab, RULES) as company:
        yield company


@dataclass(slots=True)
class Pair:
    """The replica that has the calls, and the one that watches. Requests go to the second."""

    board: Switchboard
    active: Service
    heir: Service
    address: str  # of the active one

    async def kill(self, scene: Scene) -> None:
        """kill -9 of the active one; returns when the other has the call."""
        self.active.program.signal(signal.SIGKILL)
        await self.until_adopted(scene)
        assert DEAD in self.heir.program.log_text()

    async def end(self, *scenes: Scene) -> None:
        """SIGTERM of the active one; returns when the other has the calls.

        They were given to it: it did not wait for the end of a lease.
        """
        self.active.program.signal(signal.SIGTERM)
        for scene in scenes:
            await self.until_adopted(scene)
        assert GIVEN in self.heir.program.log_text()
        assert DEAD not in self.heir.program.log_text()

    async def until_adopted(self, scene: Scene) -> None:
        async with asyncio.timeout(ADOPTED_SECONDS):
            while not await self._has(scene.call_id):  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def stop_for_good(self, scene: Scene) -> None:
        """kill -9; the caller may have left the bot already, then nobody has the call."""
        self.active.program.signal(signal.SIGKILL)
        await self.active.program.wait()

    async def _has(self, call_id: str) -> bool:
        calls = await self.board.stage.calls_of_orchestrator(self.heir)
        return any(call["call_id"] == call_id for call in calls)


def a_replica(
    company: Company, app: str, address: str = "127.0.0.1:0", ari_url: str = ""
) -> AbstractAsyncContextManager[Service]:
    """Whoever places a call by it has agent-2's phone ring. `ari_url`: by way of a relay."""
    options = (
        *("--drain-seconds", "0", "--routing", company.routing, "--grpc", address),
        *("--dial-out", "PJSIP/agent-2"),
        *(("--ari", ari_url) if ari_url else ()),
    )
    stage, name = company.stage, f"{app}-{time.monotonic_ns()}"
    plan = OrchestratorPlan(stage.redis.url, stage.asterisk, name=name, app=app, options=options)
    return open_orchestrator(stage.lab, plan)


@asynccontextmanager
async def a_pair(company: Company, *, heirs: bool = True, ari_url: str = "") -> AsyncIterator[Pair]:
    """`heirs`: False = there is only one replica, which is asked then. `ari_url`: the first's."""
    stage = company.stage
    await stage.forget()
    address = f"127.0.0.1:{stage.lab.ports.single()}"
    async with AsyncExitStack() as opened:
        enter: Callable[[Any], Awaitable[Any]] = opened.enter_async_context
        active = await enter(a_replica(company, "voicefork-0", address, ari_url))
        heir = await enter(a_replica(company, "voicefork-1")) if heirs else active
        channel = await enter(grpc.aio.insecure_channel(heir.addresses["grpc"]))
        both = ",".join({each.addresses["grpc"]: 0 for each in (active, heir)})
        plan = WorkerPlan(
            agent=f"grpc://{company.vendor.address}",
            redis=stage.redis.url,
            orchestrator=f"ipv4:{both}",
        )
        async with open_worker(stage.lab, plan) as worker, stage.edge(worker) as edge:
            await asyncio.sleep(HEALTHY_SECONDS)
            board = Switchboard(
                stage, heir, worker, edge, company.vendor, company.phones, Handoffs(channel)
            )
            try:
                yield Pair(board, active, heir, address)
            finally:
                await stage.sweep()


async def assert_never_alone(scene: Scene, until: int = 0) -> None:
    """Music, bot or agent from the escalation on."""
    scene.assert_never_alone(until)


async def connected(scene: Scene, watch: Watch) -> None:
    """Caller and agent talk, after exactly one call to the agent."""
    final = await watch.final()
    assert final.outcome == pb.OUTCOME_CONNECTED, (watch.phases, pb.Outcome.Name(final.outcome))
    assert final.phase == pb.PHASE_CONNECTED
    await until_hears(scene.caller, AGENT)
    assert len(scene.calls_to()) == 1
    await assert_never_alone(scene)
