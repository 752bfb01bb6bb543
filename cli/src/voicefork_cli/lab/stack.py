"""Everything one call needs, started in order and ended in reverse."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from voicefork_cli.lab.asterisk import Asterisk, AsteriskPlan, open_asterisk
from voicefork_cli.lab.ours import (
    OrchestratorPlan,
    Service,
    WorkerPlan,
    open_agent,
    open_orchestrator,
    open_worker,
)
from voicefork_cli.lab.ports import HOST
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.redis import Redis, open_redis
from voicefork_cli.lab.rtpengine import Rtpengine, open_rtpengine

Progress = Callable[[str], None]
"""Is told what is about to be started, e.g. "Asterisk"."""


@dataclass(frozen=True, slots=True)
class StackPlan:
    """`agent_script` is the AI vendor's server, started with `agent_options`."""

    agent_script: Path
    agent_options: Sequence[str] = ()
    asterisk: AsteriskPlan = field(default_factory=AsteriskPlan)
    workers: int = 1
    worker_options: Sequence[str] = ()
    orchestrator_options: Sequence[str] = ()
    orchestrator_env: Mapping[str, str] = field(default_factory=dict)
    ami_node: str = ""
    """The Asterisk's name as a node driven by AMI alone, beside its own; wants `asterisk.ami`"""


@dataclass(frozen=True, slots=True)
class Stack:
    """What runs; each part's log is `<lab.folder>/<name>.log`."""

    lab: Lab
    redis: Redis
    asterisk: Asterisk
    rtpengine: Rtpengine
    agent: Service
    orchestrator: Service
    workers: tuple[Service, ...]

    @property
    def worker_uris(self) -> tuple[str, ...]:
        """The workers as an edge dials them."""
        return tuple(f"sip:{w.addresses['sip']};transport=tcp" for w in self.workers)


@asynccontextmanager
async def open_stack(
    lab: Lab, plan: StackPlan, progress: Progress = lambda _: None
) -> AsyncIterator[Stack]:
    """Runs everything while the block runs.

    Raises:
        LabError: something is not installed, or did not become ready (with its log's end).
    """
    async with AsyncExitStack() as opened:
        progress("redis")
        redis = await opened.enter_async_context(open_redis(lab))
        progress("rtpengine")
        rtpengine = await opened.enter_async_context(open_rtpengine(lab))
        progress("Asterisk")
        asterisk = await opened.enter_async_context(open_asterisk(lab, plan.asterisk))
        progress("AI agent")
        agent = await opened.enter_async_context(
            open_agent(lab, plan.agent_script, plan.agent_options)
        )
        progress("orchestrator")
        orchestrator = await opened.enter_async_context(
            open_orchestrator(
                lab,
                OrchestratorPlan(
                    redis.url,
                    asterisk,
                    options=(*plan.orchestrator_options, *_by_ami(plan, asterisk)),
                    env=plan.orchestrator_env,
                ),
            )
        )
        workers = []
        for number in range(1, plan.workers + 1):
            progress(f"worker {number}")
            worker = WorkerPlan(
                agent=f"grpc://{agent.addresses['agent']}",
                redis=redis.url,
                orchestrator=orchestrator.addresses["grpc"],
                name=f"worker-{number}",
                asterisk=asterisk,
                options=plan.worker_options,
            )
            workers.append(await opened.enter_async_context(open_worker(lab, worker)))
        yield Stack(lab, redis, asterisk, rtpengine, agent, orchestrator, tuple(workers))


def _by_ami(plan: StackPlan, asterisk: Asterisk) -> tuple[str, ...]:
    if not plan.ami_node:
        return ()
    return ("--ami-nodes", json.dumps({plan.ami_node: f"{HOST}:{asterisk.ami_port}"}))
