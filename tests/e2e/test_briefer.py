"""The SDK's example as a route's primary and as its assist, on a real Asterisk.

Caller 440 Hz, music 350, agent 600; the briefing 1600, the advice after the merge 1000.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from voicefork_cli.lab.asterisk import AsteriskPlan, open_asterisk
from voicefork_cli.lab.ours import Service, WorkerPlan, open_agent, open_worker
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.redis import open_redis
from voicefork_cli.lab.rtpengine import open_rtpengine
from voicefork_cli.lab.templates import shipped
from voicefork_cli.measure.packets import Packet
from voicefork_cli.measure.pcm import tone
from voicefork_cli.measure.tones import tones_of
from voicefork_cli.sim.caller import CarrierCaller, open_caller
from voicefork_cli.sim.phone import Behaviour, PhoneCall, open_phone
from voicefork_cli.sim.source import Tone

from tests.e2e.alone import assert_never_alone, unsaid
from tests.e2e.ears import AGENT, CALLER, INTRO, TONES, until_hears
from tests.e2e.ears import BOT as ADVICE
from tests.e2e.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXAMPLE = shipped("sdk/examples") / "briefer.py"
SECONDS = 1.5
SLACK_MS = 60
ADVISED_SECONDS = 20.0
RULES = {"default": {"targets": ["PJSIP/agent-1"], "pattern": "warm_whisper"}}


@dataclass(frozen=True, slots=True)
class Told:
    """Both ends of a call, from its answer to after the advice."""

    caller: CarrierCaller
    agent: PhoneCall
    answered_ns: int
    over_ns: int


def agent_of(lab: Lab, name: str) -> AbstractAsyncContextManager[Service]:
    """The example, as one that says its tones."""
    files: list[str] = []
    for what, hz in (("briefing", INTRO), ("advice", ADVICE)):
        sound = lab.folder / f"{what}.raw"
        sound.write_bytes(tone(hz, round(8000 * SECONDS)).tobytes())
        files += [f"--{what}", str(sound)]
    return open_agent(lab, EXAMPLE, files, name=name)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told(stage_lab: Lab) -> AsyncIterator[Told]:
    async with AsyncExitStack() as opened:
        enter: Callable[[Any], Awaitable[Any]] = opened.enter_async_context
        phone = await enter(open_phone("agent-1"))
        phone.behaviour = Behaviour(ring_seconds=0.3)
        stage = Stage(
            stage_lab,
            await enter(open_redis(stage_lab)),
            await enter(open_rtpengine(stage_lab)),
            await enter(open_asterisk(stage_lab, AsteriskPlan(agents={"agent-1": phone.uri}))),
            {},
            {},
            await enter(aiohttp.ClientSession()),
        )
        routing, routes = stage_lab.folder / "routing.yaml", stage_lab.folder / "worker.yaml"
        routing.write_text(json.dumps(RULES))  # JSON is YAML
        orchestrator = await enter(stage.orchestrator("--routing", str(routing)))
        agents: dict[str, Service] = {
            role: await enter(agent_of(stage_lab, role)) for role in ("primary", "assist")
        }
        urls = {role: f"grpc://{agent.addresses['agent']}" for role, agent in agents.items()}
        chosen = [{"url": url, "role": role} for role, url in urls.items()]
        routes.write_text(json.dumps({"routes": [{"name": "all", "agents": chosen}]}))
        plan = WorkerPlan(
            agent=urls["primary"],
            redis=stage.redis.url,
            orchestrator=orchestrator.addresses["grpc"],
            options=("--config", str(routes)),
        )
        worker = await enter(open_worker(stage_lab, plan))
        edge = await enter(stage.edge(worker))
        caller = await enter(open_caller())
        await caller.dial(edge.uri.replace("sip:", "sip:+14155550100@"), Tone(CALLER))
        await until_hears(caller, AGENT)
        await until_advised(phone.calls[0])
        assert caller.answered_ns is not None
        yield Told(caller, phone.calls[0], caller.answered_ns, time.time_ns())
        await caller.hang_up()
        await stage.wait_empty(orchestrator, worker)


async def until_advised(agent: PhoneCall) -> None:
    async with asyncio.timeout(ADVISED_SECONDS):
        while milliseconds_of(agent.heard, ADVICE) < SECONDS * 1000 - SLACK_MS:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.2)


def milliseconds_of(packets: Sequence[Packet], hz: float) -> int:
    """How long a tone sounds in it, alone or with others."""
    return sum(hz in tones_of(packet, TONES) for packet in packets) * 20


@pytest.mark.parametrize("hz", [INTRO, ADVICE], ids=["briefing", "advice"])
async def test_the_agent_hears_it_all_and_the_caller_not_one_frame(told: Told, hz: float) -> None:
    assert abs(milliseconds_of(told.agent.heard, hz) - SECONDS * 1000) <= SLACK_MS
    assert milliseconds_of(told.caller.heard, hz) == 0


async def test_the_briefing_is_alone_and_the_advice_is_over_the_callers_voice(told: Told) -> None:
    heard = [tones_of(packet, TONES) for packet in told.agent.heard]
    assert {tones for tones in heard if INTRO in tones} == {frozenset({INTRO})}
    over = sum(tones == {ADVICE, CALLER} for tones in heard)
    assert over > sum(tones == {ADVICE} for tones in heard)  # where the caller's voice came late


async def test_the_caller_is_never_alone(told: Told) -> None:
    assert_never_alone(told.caller, told.answered_ns, told.over_ns, [unsaid(told.agent)])
