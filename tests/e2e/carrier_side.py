"""A stage whose PBX can call out: the callee is a phone behind the carrier, the rest is real."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc
from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork_cli.lab.asterisk import AsteriskPlan, open_asterisk
from voicefork_cli.lab.ours import Service, WorkerPlan, open_worker
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.redis import open_redis
from voicefork_cli.lab.rtpengine import open_rtpengine
from voicefork_cli.sim.edge import Edge, open_edge
from voicefork_cli.sim.edge_call import EdgePlan
from voicefork_cli.sim.phone import AgentPhone, Behaviour, PhoneCall, open_phone
from voicefork_cli.sim.source import Tone

from tests.e2e.ears import CALLER
from tests.e2e.stage import Stage
from tests.e2e.switchboard import ANYBODY
from tests.e2e.watch import Handoffs, Watch
from tests.fakes.puppet_agent import Vendor, open_puppet

CALLEE = "+14155550123"
AGENT = "agent-1"
OTHER = "other"
CALLABLE = {"allow": {**ANYBODY["allow"], "number": "+1*"}}


@dataclass(slots=True)
class Outside:
    """All that stays up for a module."""

    stage: Stage
    orchestrator: Service
    worker: Service
    edge: Edge
    vendor: Vendor
    callee: AgentPhone
    agent: AgentPhone
    service: Handoffs
    other: Vendor  # of the worker's route OTHER

    def behave(self, **behaviour: Any) -> None:
        """What the callee does with the next call."""
        self.callee.behaviour = Behaviour(**{"source": Tone(CALLER), **behaviour})

    async def place(self, request_id: str, to: str = CALLEE, route: str = "") -> str:
        request = pb.PlaceCallRequest(request_id=request_id, to=to, route=route)
        answer: Any = self.service.PlaceCall(request)
        return str((await answer).call_id)

    async def escalate(self, **fields: Any) -> pb.Handoff:
        answer: Any = self.service.Escalate(pb.EscalateRequest(**fields))
        handoff: pb.Handoff = (await answer).handoff
        return handoff

    async def ended(self, handoff_id: str) -> pb.Handoff:
        watch = Watch(handoff_id)
        await watch.follow(self.service)
        return watch.seen[-1]

    async def clear(self, *calls: PhoneCall) -> None:
        """Everybody hangs up, and nothing is left."""
        for call in calls:
            await call.hang_up()
        await self.stage.wait_empty(self.orchestrator, self.worker)


@asynccontextmanager
async def open_outside(
    lab: Lab, rules: Mapping[str, Any], options: Sequence[str] = ()
) -> AsyncIterator[Outside]:
    async with AsyncExitStack() as opened:
        enter: Callable[[Any], Awaitable[Any]] = opened.enter_async_context
        vendor, other = await enter(open_puppet()), await enter(open_puppet())
        callee, agent = await enter(open_phone("callee")), await enter(open_phone(AGENT))
        edge_port = lab.ports.single()
        plan = AsteriskPlan(
            agents={AGENT: agent.uri},
            queues={"voicefork": (AGENT,)},
            carrier=f"sip:127.0.0.1:{edge_port}",
            ami=True,
            record=True,
        )
        stage = Stage(
            lab,
            await enter(open_redis(lab)),
            await enter(open_rtpengine(lab)),
            await enter(open_asterisk(lab, plan)),
            {},
            {},
            await enter(aiohttp.ClientSession()),
        )
        routing = lab.folder / "routing.yaml"
        routing.write_text(json.dumps({"destinations": CALLABLE, **rules}))  # JSON is YAML
        orchestrator = await enter(
            stage.orchestrator(
                *("--routing", str(routing), "--ami", f"127.0.0.1:{stage.asterisk.ami_port}"),
                *("--dial-out", "PJSIP/${EXT}@carrier"),
                *("--dial-out-seconds", "4", *options),
            )
        )
        worker_plan = WorkerPlan(
            agent=f"grpc://{vendor.address}",
            redis=stage.redis.url,
            orchestrator=orchestrator.addresses["grpc"],
            options=("--config", str(_routes(lab, other))),
        )
        worker = await enter(open_worker(lab, worker_plan))

        async def pick() -> list[str]:
            return [f"sip:{worker.addresses['sip']};transport=tcp"]

        plan_of_edge = EdgePlan(pbx=f"sip:{stage.asterisk.sip}", pick=pick, carrier=callee.uri)
        relay = (stage.rtpengine.host, stage.rtpengine.port)
        edge = await enter(open_edge(plan_of_edge, relay, port=edge_port))
        channel = await enter(grpc.aio.insecure_channel(orchestrator.addresses["grpc"]))
        service = Handoffs(channel)
        yield Outside(stage, orchestrator, worker, edge, vendor, callee, agent, service, other)


def _routes(lab: Lab, other: Vendor) -> Path:
    """The worker's: who asks for OTHER by name gets another vendor."""
    config = lab.folder / "worker.yaml"
    agents = [{"url": f"grpc://{other.address}"}]
    route = {"name": OTHER, "did": ["nobody"], "agents": agents}
    config.write_text(json.dumps({"routes": [route]}))  # JSON is YAML
    return config
