"""A PBX with a bot of its own, which is one of its phones and makes REFERs."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import grpc
from voicefork_cli.lab.asterisk import AsteriskPlan, Installation, open_asterisk
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
from voicefork_cli.lab.tones import write_tone
from voicefork_cli.measure.tones import tone_timeline
from voicefork_cli.sim.caller import CarrierCaller, open_caller
from voicefork_cli.sim.edge import Edge
from voicefork_cli.sim.phone import AgentPhone, Behaviour, PhoneCall, open_phone
from voicefork_cli.sim.source import Tone

from tests.e2e.alone import assert_never_alone
from tests.e2e.ears import BOT, CALLER, INTRO, TONES, until_hears
from tests.e2e.stage import Stage
from tests.e2e.watch import Handoffs
from tests.fakes.puppet_agent import open_puppet
from tests.integration.orchestrator.relay import Relay, open_relay

STASIS, DIALPLAN, AMI = "920", "921", "922"
AMI_NODE = "old"
TRUNK = "trunk"
SOON = 20.0
BOT_SEQUENCE = 20_000  # its first RTP packet's
RULES = {
    "default": {
        "targets": ["PJSIP/agent-1"],
        "ring_seconds": 4,
        "fallbacks": ["return_to_bot", "next_target"],  # on a node without Stasis the second
        "voicemail": "2000@voicefork-voicemail",
    },
    "queues": {"voicefork": {}},
}


@dataclass(slots=True)
class House:
    """All that stays up for a module."""

    stage: Stage
    edge: Edge
    bot: AgentPhone
    agent: AgentPhone
    orchestrator: Service
    worker: Service
    service: Handoffs
    centre: AgentPhone  # outside, behind the trunk
    heir: Service | None = None  # a second orchestrator; it came later
    to_redis: Relay | None = None  # of the first one alone

    @asynccontextmanager
    async def talking(self, number: str) -> AsyncIterator[tuple[CarrierCaller, PhoneCall]]:
        """A caller who hears the bot, and the bot's own leg. In the end nothing is left."""
        self.bot.behaviour = Behaviour(
            ring_seconds=0.1, source=Tone(BOT), first_sequence=BOT_SEQUENCE
        )
        async with open_caller() as caller:
            await caller.dial(self.edge.uri.replace("sip:", f"sip:{number}@"), Tone(CALLER))
            bot = await self.bot.next_call()
            await until_hears(caller, BOT)
            yield caller, bot
            await caller.hang_up()
        for call in (*self.bot.calls, *self.agent.calls, *self.centre.calls):
            await call.hang_up()
        await self.stage.wait_empty(self.orchestrator, self.worker)

    def uri(self, user: str) -> str:
        return f"sip:{user}@{self.stage.asterisk.sip}"


@asynccontextmanager
async def open_house(  # noqa: PLR0913 - keywords, most of them
    lab: Lab,
    refers: str,
    *,
    name: str = "asterisk",
    installation: Installation | None = None,
    heir: bool = False,
    record: bool = False,
) -> AsyncIterator[House]:
    """`refers`: who does REFERs, as --refers says. `installation`: of another Asterisk.

    `heir`: there is a second orchestrator, which is the one that is asked; the way from the first
    one to Redis can be cut then. `record`: by MixMonitor.
    """
    async with AsyncExitStack() as opened:
        vendor = await opened.enter_async_context(open_puppet())
        bot = await opened.enter_async_context(open_phone("bot"))
        agent = await opened.enter_async_context(open_phone("agent-1"))
        centre = await opened.enter_async_context(open_phone("centre"))
        plan = AsteriskPlan(
            name=name,
            installation=installation,
            agents={"bot": bot.uri, "agent-1": agent.uri, TRUNK: centre.uri},
            queues={"voicefork": ("agent-1",)},
            ami=True,
            record=record,
        )
        stage = Stage(
            lab,
            await opened.enter_async_context(open_redis(lab)),
            await opened.enter_async_context(open_rtpengine(lab)),
            await opened.enter_async_context(open_asterisk(lab, plan)),
            {},
            {},
            await opened.enter_async_context(aiohttp.ClientSession()),
        )
        routing = lab.folder / "routing.yaml"
        announcement = lab.folder / "announcement"
        write_tone(announcement.with_suffix(".wav"), INTRO, seconds=1)
        routing.write_text(json.dumps(_rules(centre, announcement)))  # JSON is YAML
        options = (
            *("--refers", refers, "--routing", str(routing), "--trunk", TRUNK),
            *("--ami-nodes", json.dumps({AMI_NODE: f"127.0.0.1:{stage.asterisk.ami_port}"})),
        )
        relay = await opened.enter_async_context(open_relay(stage.redis.url)) if heir else None
        own = ("--redis", relay.url.replace("http:", "redis:")) if relay is not None else ()
        orchestrators = [await opened.enter_async_context(stage.orchestrator(*options, *own))]
        if heir:
            plan_of_heir = OrchestratorPlan(
                *(stage.redis.url, stage.asterisk, "orchestrator-2", "voicefork-1", options)
            )
            orchestrators.append(
                await opened.enter_async_context(open_orchestrator(lab, plan_of_heir))
            )
        addresses = [each.addresses["grpc"] for each in orchestrators]
        worker_plan = WorkerPlan(
            agent=f"grpc://{vendor.address}",
            redis=stage.redis.url,
            orchestrator=f"ipv4:{','.join(addresses)}",
        )
        worker = await opened.enter_async_context(open_worker(lab, worker_plan))
        edge = await opened.enter_async_context(stage.edge(worker))
        channel = await opened.enter_async_context(grpc.aio.insecure_channel(addresses[-1]))
        yield House(
            *(stage, edge, bot, agent, orchestrators[0], worker, Handoffs(channel), centre),
            heir=orchestrators[-1] if heir else None,
            to_redis=relay,
        )


def _rules(centre: AgentPhone, announcement: Path) -> dict[str, object]:
    backup = {
        "name": "backup",
        "when": {"intent": ["backup"]},
        "backup": centre.uri,
        "fallbacks": ["backup_centre", "voicemail"],
    }
    hasty = {**backup, "name": "hasty", "when": {"intent": ["hasty"]}, "ring_seconds": 1}
    menu = {
        "name": "menu",
        "when": {"intent": ["menu"]},
        "fallbacks": ["holding_menu", "voicemail"],
        "menu": {
            "announcement": f"sound:{announcement}",
            "keys": {"1": "next_target", "2": "voicemail"},
            "every_seconds": 3,
            "lasts_seconds": 4,
        },
    }
    mailbox = {"name": "mailbox", "when": {"intent": ["mailbox"]}, "fallbacks": ["voicemail"]}
    return {**RULES, "rules": [backup, hasty, menu, mailbox]}


@asynccontextmanager
async def an_impatient_queue(house: House, seconds: int = 2) -> AsyncIterator[None]:
    """Callers are given up after as long."""
    name = "dialplan set global VOICEFORK_QUEUE_SECONDS"
    await house.stage.asterisk.cli(f"{name} {seconds}")
    try:
        yield
    finally:
        await house.stage.asterisk.cli(f"{name} 600")


async def told(bot: PhoneCall, status: int) -> None:
    """The bot's REFER has come to this."""
    async with asyncio.timeout(SOON):
        while not any(f" {status} " in f"{line} " for line in bot.notified):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def assert_seamless(caller: CarrierCaller, from_ns: int) -> None:
    """Bot, music and agent without silence or nothing in between."""
    assert_never_alone(caller, from_ns, time.time_ns())


def order(caller: CarrierCaller) -> list[set[float]]:
    return [set(each.hz) for each in tone_timeline(caller.heard[-1000:], TONES) if each.hz]
