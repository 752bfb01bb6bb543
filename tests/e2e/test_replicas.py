"""Two orchestrators, one of which is killed in the middle of a call: the other one goes on."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import grpc
import pytest
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

from tests.e2e.ears import AGENT, BOT, MUSIC, until_hears
from tests.e2e.stage import Stage
from tests.e2e.switchboard import Scene, Switchboard, asking
from tests.e2e.watch import Handoffs, Watch
from tests.fakes.puppet_agent import Vendor, open_puppet

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADOPTED_SECONDS = 3.0
HEALTHY_SECONDS = 2.0  # a replica buries nobody before it has watched for a lease
RULES = {
    "default": {"targets": ["PJSIP/agent-1"], "ring_seconds": 12},
    "rules": [
        {"name": "key", "when": {"intent": ["key"]}, "accept_key": "1", "accept_seconds": 12}
    ],
}


@dataclass(slots=True)
class Company:
    """What outlives the orchestrators of a test."""

    stage: Stage
    vendor: Vendor
    phones: dict[str, AgentPhone]
    routing: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def company(stage_lab: Lab) -> AsyncIterator[Company]:
    async with AsyncExitStack() as opened:
        enter: Callable[[Any], Awaitable[Any]] = opened.enter_async_context
        vendor = await enter(open_puppet())
        phones = {name: await enter(open_phone(name)) for name in ("agent-1", "agent-2")}
        plan = AsteriskPlan(agents={name: phone.uri for name, phone in phones.items()})
        stage = Stage(
            stage_lab,
            await enter(open_redis(stage_lab)),
            await enter(open_rtpengine(stage_lab)),
            await enter(open_asterisk(stage_lab, plan)),
            {},
            {},
            await enter(aiohttp.ClientSession()),
        )
        # Calls go to the first slot alone: it is known who has them.
        await stage.asterisk.cli("dialplan set global VOICEFORK_SLOTS 1")
        routing = stage_lab.folder / "routing.yaml"
        routing.write_text(json.dumps(RULES))  # JSON is YAML
        yield Company(stage, vendor, phones, str(routing))


@dataclass(slots=True)
class Pair:
    """The replica that has the calls, and the one that watches. Requests go to the second."""

    board: Switchboard
    active: Service
    heir: Service

    async def kill(self, scene: Scene) -> float:
        """kill -9 of the active one; seconds until the other has the call."""
        killed = time.monotonic()
        self.active.program.signal(signal.SIGKILL)
        async with asyncio.timeout(10.0):
            while not await self._has(scene.call_id):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return time.monotonic() - killed

    async def _has(self, call_id: str) -> bool:
        calls = await self.board.stage.calls_of_orchestrator(self.heir)
        return any(call["call_id"] == call_id for call in calls)


def a_replica(company: Company, app: str) -> AbstractAsyncContextManager[Service]:
    options = ("--drain-seconds", "0", "--routing", company.routing)
    stage, name = company.stage, f"{app}-{time.monotonic_ns()}"
    plan = OrchestratorPlan(stage.redis.url, stage.asterisk, name=name, app=app, options=options)
    return open_orchestrator(stage.lab, plan)


@asynccontextmanager
async def a_pair(company: Company) -> AsyncIterator[Pair]:
    stage = company.stage
    await stage.forget()
    async with (
        a_replica(company, "voicefork-0") as active,
        a_replica(company, "voicefork-1") as heir,
        grpc.aio.insecure_channel(heir.addresses["grpc"]) as channel,
    ):
        both = ",".join(each.addresses["grpc"] for each in (active, heir))
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
                yield Pair(board, active, heir)
            finally:
                await stage.sweep()


async def assert_never_alone(scene: Scene, until: int = 0) -> None:
    """Music, bot or agent from the escalation on."""
    now = until or time.time_ns()
    heard = scene.heard(now)
    beyond = scene.beyond_control(now)
    assert (heard.silent_ms, beyond.missing_ms) == (0, 0)


async def connected(scene: Scene, watch: Watch) -> None:
    """Caller and agent talk, after exactly one call to the agent."""
    final = await watch.final()
    assert (final.phase, final.outcome) == (pb.PHASE_CONNECTED, pb.OUTCOME_CONNECTED)
    await until_hears(scene.caller, AGENT)
    assert len(scene.calls_to()) == 1
    await assert_never_alone(scene)


async def test_a_bot_goes_on_when_its_orchestrator_is_killed(company: Company) -> None:
    async with a_pair(company) as pair, pair.board.calling() as scene:
        scene.escalated_ns = time.time_ns()
        assert await pair.kill(scene) <= ADOPTED_SECONDS
        await until_hears(scene.caller, BOT)
        await assert_never_alone(scene)
        watch = await scene.escalate(asking())
        await connected(scene, watch)


@pytest.mark.parametrize(
    "phase",
    [pb.PHASE_CALLER_HELD, pb.PHASE_DIALLING, pb.PHASE_RINGING],
    ids=["held", "dialling", "ringing"],
)
async def test_an_agent_who_is_called_is_connected_by_the_heir(
    company: Company, phase: pb.Phase.ValueType
) -> None:
    async with a_pair(company) as pair, pair.board.calling() as scene:
        pair.board.behave(ring_seconds=4.0)
        watch = await scene.escalate_by_service(asking())
        await watch.until(phase)
        seconds = await pair.kill(scene)
        await until_hears(scene.caller, MUSIC)
        await connected(scene, watch)
        assert seconds <= ADOPTED_SECONDS


async def test_an_agent_who_was_asked_for_the_key_is_connected_by_the_heir(
    company: Company,
) -> None:
    async with a_pair(company) as pair, pair.board.calling() as scene:
        pair.board.behave(ring_seconds=0.0)
        watch = await scene.escalate_by_service(asking(intent="key"))
        await watch.until(pb.PHASE_ANSWERED)
        seconds = await pair.kill(scene)
        await until_hears(scene.caller, MUSIC)
        await scene.calls_to()[0].press("1")
        await connected(scene, watch)
        assert seconds <= ADOPTED_SECONDS


@pytest.mark.parametrize("milliseconds", [0, 5, 10, 20, 40])
async def test_a_merge_is_finished_by_the_heir(company: Company, milliseconds: int) -> None:
    async with a_pair(company) as pair, pair.board.calling() as scene:
        pair.board.behave(ring_seconds=0.5)
        watch = await scene.escalate_by_service(asking())
        await scene.until_answered()
        await asyncio.sleep(milliseconds / 1000)
        seconds = await pair.kill(scene)
        await watch.final()
        await until_hears(scene.caller, AGENT)
        assert len(scene.calls_to()) == 1
        assert seconds <= ADOPTED_SECONDS


async def test_a_conversation_has_the_heir_to_end_it(company: Company) -> None:
    async with a_pair(company) as pair, pair.board.calling() as scene:
        pair.board.behave(ring_seconds=0.0)
        watch = await scene.escalate_by_service(asking())
        await watch.until(pb.PHASE_CONNECTED)
        await until_hears(scene.caller, AGENT)
        assert await pair.kill(scene) <= ADOPTED_SECONDS
        await assert_never_alone(scene)
        await scene.calls_to()[0].hang_up()
        async with asyncio.timeout(1.0):
            await scene.caller.ended.wait()
