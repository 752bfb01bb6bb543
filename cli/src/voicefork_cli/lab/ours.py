"""Our own programs as they run in production: separate processes, found by their `ready` line."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from voicefork_cli.lab.asterisk import Asterisk
from voicefork_cli.lab.ports import HOST, PortRange
from voicefork_cli.lab.processes import Lab, Running

READY_SECONDS = 45.0  # two seconds as a rule; on a busy machine ten and more
ANY_PORT = f"{HOST}:0"
WORKER_RTP_PORTS = 600
_READY = re.compile(r"\bready\b.*=.*")
_ADDRESS = re.compile(r"\b([a-z]+)=['\"]?([\w.\[\]:-]+:\d+)")


@dataclass(frozen=True, slots=True)
class Service:
    """One of our programs: its addresses by name (host:port), as its `ready` line gives them."""

    addresses: Mapping[str, str]
    program: Running


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """`agent` is an AI's URL (grpc://host:port); `orchestrator` its gRPC address, "" for none."""

    agent: str
    redis: str = ""
    orchestrator: str = ""
    name: str = "worker-1"
    asterisk: Asterisk | None = None  # lets callers reach the queue without the orchestrator
    options: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class OrchestratorPlan:
    redis: str
    asterisk: Asterisk
    name: str = "orchestrator-1"
    app: str = "voicefork-0"
    options: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)


@asynccontextmanager
async def open_worker(lab: Lab, plan: WorkerPlan) -> AsyncIterator[Service]:
    """A SIPREC worker; addresses: sip, admin, control."""
    with lab.ports.lent_rtp_range(WORKER_RTP_PORTS) as rtp:
        async with _service(lab, plan.name, *_worker_started(plan, rtp)) as service:
            yield service


def _worker_started(plan: WorkerPlan, rtp: PortRange) -> tuple[list[object], dict[str, str]]:
    """Its command line and environment."""
    argv: list[object] = [
        *("-m", "siprec_worker", "--worker-id", plan.name),
        *("--sip", ANY_PORT, "--admin", ANY_PORT, "--control", ANY_PORT),
        *("--rtp-ports", f"{rtp.first}-{rtp.last}", "--agent", plan.agent),
        *("--drain-seconds", "0"),  # a run that is over waits for nobody
        *_given("--redis", plan.redis),
        *_given("--orchestrator", plan.orchestrator),
    ]
    env: dict[str, str] = {}
    if plan.asterisk is not None:
        argv += ["--ari", plan.asterisk.http_url, "--ari-user", plan.asterisk.ari_user]
        env["VOICEFORK_ARI_PASSWORD"] = plan.asterisk.ari_password
    return [*argv, *plan.options], env


@asynccontextmanager
async def open_orchestrator(lab: Lab, plan: OrchestratorPlan) -> AsyncIterator[Service]:
    """An orchestrator at one Asterisk; addresses: grpc, admin."""
    asterisk = plan.asterisk
    argv = [
        *("-m", "orchestrator", "--redis", plan.redis, "--node", asterisk.name),
        *("--ari", asterisk.http_url, "--ari-user", asterisk.ari_user, "--app", plan.app),
        *("--queue-context", "voicefork-queue", "--queue-extension", "s"),
        *("--grpc", ANY_PORT, "--admin", ANY_PORT),
        *plan.options,
    ]
    # A password on a command line is everybody's to read.
    env = {"VOICEFORK_ARI_PASSWORD": asterisk.ari_password, **plan.env}
    async with _service(lab, plan.name, argv, env) as service:
        yield service


@asynccontextmanager
async def open_agent(
    lab: Lab, script: Path, options: Sequence[str] = (), *, name: str = "agent"
) -> AsyncIterator[Service]:
    """An AI vendor's server, e.g. sdk/examples/echo.py; addresses: agent."""
    argv = [script, "--listen", ANY_PORT, *options]
    async with _service(lab, name, argv) as service:
        yield service


@asynccontextmanager
async def _service(
    lab: Lab, name: str, argv: Sequence[object], env: Mapping[str, str] | None = None
) -> AsyncIterator[Service]:
    python = {"PYTHONUNBUFFERED": "1", **(env or {})}
    async with lab.program(name, [sys.executable, *argv], env=python) as program:

        async def addresses() -> dict[str, str] | None:
            ready = _READY.search(program.log_text())
            return dict(_ADDRESS.findall(ready[0])) if ready else None

        yield Service(await program.wait_until(addresses, READY_SECONDS), program)


def _given(flag: str, value: str) -> tuple[str, ...]:
    return (flag, value) if value else ()
