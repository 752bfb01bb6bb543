"""The lanes of the handoff bench: one stack, one bare ARI script, a phone for each lane."""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc
from voicefork.handoff.v1 import handoff_pb2_grpc
from voicefork_cli.lab.asterisk import Asterisk, AsteriskPlan
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.stack import Stack, StackPlan, open_stack
from voicefork_cli.lab.templates import shipped
from voicefork_cli.sim.caller import open_caller
from voicefork_cli.sim.edge import open_edge
from voicefork_cli.sim.edge_call import EdgePlan
from voicefork_cli.sim.pacer import open_pacer
from voicefork_cli.sim.phone import Behaviour, open_phone
from voicefork_cli.sim.source import Silence, Tone

from bench.handoff_calls import BOT, Lane
from bench.handoff_ways import (
    ACCEPT_KEY,
    BARE_NUMBER,
    KEYED,
    OURS,
    ByBareScript,
    ByVoicefork,
    Pattern,
    Way,
    phone_of,
    queue_of,
)

TONE_AGENT = shipped("tests/fakes") / "tone_agent.py"
CONTROL_NUMBER = "901"
BARE_APP = "bare"
AMI_NODE = "old"
HOSTED = "bot"  # the phone that is the bot of the node without Stasis
BARE_DIALPLAN = f"""
[from-carrier](+)
exten => {BARE_NUMBER},1,Stasis({BARE_APP},inbound,${{PJSIP_HEADER(read,X-Voicefork-Call)}})
"""


@dataclass(frozen=True, slots=True)
class Rig:
    """All that runs while it is measured."""

    lanes: list[Lane]
    asterisk_version: str
    admin: str  # the orchestrator's page: host:port


@asynccontextmanager
async def open_rig(lab: Lab, count: int, say: Callable[[str], None]) -> AsyncIterator[Rig]:
    """Everything that is needed, and `count` lanes in it. Raises LabError, SimError."""
    numbers = range(1, count + 1)
    async with AsyncExitStack() as opened:
        enter: Callable[[Any], Awaitable[Any]] = opened.enter_async_context
        pacer = opened.enter_context(open_pacer())
        phones = {n: await enter(open_phone(f"agent-{n}", pacer=pacer)) for n in numbers}
        bot = await enter(open_phone(HOSTED, pacer=pacer))
        bot.behaviour = Behaviour(ring_seconds=0.0, source=Tone(BOT))
        asterisk = AsteriskPlan(
            agents={HOSTED: bot.uri} | {f"agent-{n}": p.uri for n, p in phones.items()},
            queues={"voicefork": (), **{queue_of(n): (f"agent-{n}",) for n in numbers}},
            ami=True,
        )
        plan = StackPlan(
            TONE_AGENT,
            asterisk=asterisk,
            orchestrator_options=("--routing", str(_routes(lab))),
            ami_node=AMI_NODE,
        )
        stack: Stack = await enter(open_stack(lab, plan, say))
        say("bare ARI script")
        ways = await _open_ways(lab, stack, enter)

        async def pick() -> list[str]:
            return list(stack.worker_uris)

        edge_plan = EdgePlan(pbx=f"sip:{stack.asterisk.sip}", pick=pick)
        ng = (stack.rtpengine.host, stack.rtpengine.port)
        edge = await enter(open_edge(edge_plan, ng))
        control = await enter(open_caller(pacer=pacer))
        await control.dial(f"sip:{CONTROL_NUMBER}@{stack.asterisk.sip}", Silence())
        rest = random.Random(7).random
        lanes = [Lane(n, phones[n], edge, pacer, control, ways, rest) for n in numbers]
        version = (await stack.asterisk.cli("core show version")).split(" built")[0]
        yield Rig(lanes, version, stack.orchestrator.addresses["admin"])


def _routes(lab: Lab) -> Path:
    """Only whom this file allows may be asked for."""
    routes = lab.folder / "routing.yaml"
    allow = {"endpoint": "PJSIP/agent-*", "queue": "*", "sip": "*@*"}
    keyed = {"name": KEYED, "when": {"intent": [KEYED]}, "accept_key": ACCEPT_KEY}
    document = {
        "destinations": {"allow": allow},
        "default": {"targets": [phone_of(1)], "ring_seconds": 6},
        "rules": [keyed],
    }
    routes.write_text(json.dumps(document))  # JSON is YAML
    return routes


async def _open_ways(
    lab: Lab, stack: Stack, enter: Callable[[Any], Awaitable[Any]]
) -> dict[Pattern, Way]:
    channel = await enter(grpc.aio.insecure_channel(stack.orchestrator.addresses["grpc"]))
    service = handoff_pb2_grpc.HandoffServiceStub(channel)
    session = await enter(aiohttp.ClientSession())
    return {
        **{pattern: ByVoicefork(service, pattern) for pattern in OURS},
        Pattern.BARE: ByBareScript(session, await enter(_open_bare(lab, stack.asterisk))),
    }


@asynccontextmanager
async def _open_bare(lab: Lab, asterisk: Asterisk) -> AsyncIterator[str]:
    """The script, with a number of its own; its address."""
    with (asterisk.etc / "extensions.conf").open("a") as dialplan:
        dialplan.write(BARE_DIALPLAN)
    await asterisk.cli("dialplan reload")
    argv = [sys.executable, "-m", "bench.bare_ari", "--ari", asterisk.http_url, "--app", BARE_APP]
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    env = {"VOICEFORK_ARI_PASSWORD": asterisk.ari_password, "PYTHONPATH": path}
    async with lab.program("bare", argv, env=env) as program:

        async def address() -> str | None:
            return program.log_text().partition("ready bare=")[2].strip() or None

        yield await program.wait_until(address, 10.0)
