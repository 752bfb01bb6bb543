"""One orchestrator at two Asterisk nodes: each call is served where it came in."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import grpc
import pytest
import pytest_asyncio
from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork_cli.lab.asterisk import Asterisk, AsteriskPlan, open_asterisk
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
from voicefork_cli.sim.edge import Edge
from voicefork_cli.sim.phone import open_phone

from tests.e2e.ears import AGENT, until_hears
from tests.e2e.stage import Stage
from tests.e2e.switchboard import Switchboard, asking
from tests.e2e.watch import Handoffs
from tests.fakes.puppet_agent import open_puppet

pytestmark = pytest.mark.asyncio(loop_scope="module")

NODES = ("asterisk", "asterisk-2")
RULES = {"default": {"targets": ["PJSIP/agent-1"], "ring_seconds": 6}}


@dataclass(frozen=True, slots=True)
class Estate:
    """An orchestrator with two nodes, and a switchboard at each."""

    orchestrator: Service
    boards: dict[str, Switchboard]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def estate(stage_lab: Lab) -> AsyncIterator[Estate]:
    async with AsyncExitStack() as opened:
        enter: Any = opened.enter_async_context
        vendor = await enter(open_puppet())
        phones = {name: await enter(open_phone(name)) for name in ("agent-1", "agent-2")}
        agents = {name: phone.uri for name, phone in phones.items()}
        first, second = [
            await enter(open_asterisk(stage_lab, AsteriskPlan(name=name, agents=agents)))
            for name in NODES
        ]
        # One account on both, as one orchestrator has one.
        second = await with_password_of(first, second)
        stage = Stage(
            stage_lab,
            await enter(open_redis(stage_lab)),
            await enter(open_rtpengine(stage_lab)),
            first,
            {},
            {},
            await enter(aiohttp.ClientSession()),
        )
        config = stage_lab.folder / "orchestrator.yaml"
        config.write_text(json.dumps({"ari_nodes": {NODES[1]: second.http_url}}))
        routing = stage_lab.folder / "routing.yaml"
        routing.write_text(json.dumps(RULES))
        options = ("--drain-seconds", "0", "--config", str(config), "--routing", str(routing))
        plan = OrchestratorPlan(stage.redis.url, first, options=options)
        orchestrator = await enter(open_orchestrator(stage_lab, plan))
        worker_plan = WorkerPlan(
            agent=f"grpc://{vendor.address}",
            redis=stage.redis.url,
            orchestrator=orchestrator.addresses["grpc"],
        )
        worker = await enter(open_worker(stage_lab, worker_plan))
        service = Handoffs(await enter(grpc.aio.insecure_channel(orchestrator.addresses["grpc"])))
        boards = {}
        for asterisk in (first, second):
            at = replace(stage, asterisk=asterisk)
            edge: Edge = await enter(at.edge(worker))
            boards[asterisk.name] = Switchboard(
                at, orchestrator, worker, edge, vendor, phones, service
            )
        yield Estate(orchestrator, boards)


async def with_password_of(first: Asterisk, second: Asterisk) -> Asterisk:
    """The second node's ARI account gets the first one's password."""
    files = [path for path in second.etc.rglob("*.conf") if "ari" in path.name]
    for path in files:
        path.write_text(path.read_text().replace(second.ari_password, first.ari_password))
    await second.cli("module reload res_ari.so")
    return replace(second, ari_password=first.ari_password)


@pytest.mark.parametrize("name", NODES)
async def test_a_caller_is_handed_over_on_the_node_they_came_in_at(
    estate: Estate, name: str
) -> None:
    board = estate.boards[name]
    async with board.calling() as scene:
        watch = await scene.escalate(asking())
        final = await watch.final()
        assert (final.phase, final.outcome) == (pb.PHASE_CONNECTED, pb.OUTCOME_CONNECTED)
        await until_hears(scene.caller, AGENT)
        await scene.until_stands(["PJSIP/agent-1", "PJSIP/carrier"], ["mix"])


async def test_what_each_node_can_do_is_shown(estate: Estate) -> None:
    board = estate.boards[NODES[0]]
    page = await board.stage.listed(f"http://{estate.orchestrator.addresses['admin']}/nodes")
    assert set(page["nodes"]) == set(NODES)
    for node in page["nodes"].values():
        assert node["connected"]
        assert node["rest_over_websocket"]
        assert node["asterisk"].startswith("22.")


async def test_a_node_that_dies_ends_its_calls_and_no_others(estate: Estate) -> None:
    here, there = (estate.boards[name] for name in NODES)
    async with here.calling() as scene:
        page = f"http://{estate.orchestrator.addresses['admin']}/nodes"
        there.stage.asterisk.program.signal(signal.SIGKILL)
        async with asyncio.timeout(30.0):
            while (await here.stage.listed(page))["nodes"][NODES[1]]["connected"]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        watch = await scene.escalate(asking())
        assert (await watch.final()).phase == pb.PHASE_CONNECTED
        await until_hears(scene.caller, AGENT)
