"""Calls that the dialplan offers to all replicas: one of them claims each."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
from voicefork_cli.lab.asterisk import open_asterisk
from voicefork_cli.lab.ours import OrchestratorPlan, Service, open_orchestrator
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.redis import open_redis
from voicefork_cli.lab.rtpengine import open_rtpengine
from voicefork_cli.sim.caller import open_caller
from voicefork_cli.sim.source import Tone

from tests.e2e.ears import CALLER, MUSIC, until_hears
from tests.e2e.stage import Stage

CALLS = 8


@asynccontextmanager
async def offering(lab: Lab) -> AsyncIterator[tuple[Stage, list[Service]]]:
    """A node that offers its calls, and two replicas that lease whatever slots are free."""
    async with AsyncExitStack() as opened:
        enter: Any = opened.enter_async_context
        stage = Stage(
            lab,
            await enter(open_redis(lab)),
            await enter(open_rtpengine(lab)),
            await enter(open_asterisk(lab)),
            {},
            {},
            await enter(aiohttp.ClientSession()),
        )
        await stage.asterisk.cli("dialplan set global VOICEFORK_BROADCAST yes")
        options = ("--drain-seconds", "0", "--rendezvous-deadline", "30")
        plans = [
            OrchestratorPlan(stage.redis.url, stage.asterisk, name=name, app="", options=options)
            for name in ("replica-a", "replica-b")
        ]
        yield stage, [await enter(open_orchestrator(lab, plan)) for plan in plans]


async def test_each_call_is_claimed_by_one_replica_and_none_is_left_without(lab: Lab) -> None:
    """Who has fewer calls answers some milliseconds sooner, where nobody waits for a processor."""
    async with (
        offering(lab) as (stage, replicas),
        stage.edge() as edge,  # no worker: callers wait for one
        AsyncExitStack() as opened,
    ):
        for number in range(CALLS):
            caller = await opened.enter_async_context(open_caller())
            await caller.dial(edge.uri.replace("sip:", f"sip:+1415555{number:04}@"), Tone(CALLER))
            await until_hears(caller, MUSIC)
        held = [len(await stage.calls_of_orchestrator(replica)) for replica in replicas]
        assert sum(held) == CALLS
        assert min(held) > 0
        owner_of = {
            str(each["name"]): str(each["channelvars"]["VOICEFORK_APP"])
            for each in await stage.ari("channels")
        }
        owners = set(owner_of.values())
        assert len(owners) == 2, owner_of
        pages = [await stage.listed(f"http://{r.addresses['admin']}/nodes") for r in replicas]
        assert {page["app"] for page in pages} == owners
        assert all(page["nodes"]["asterisk"]["stasis_broadcast"] for page in pages)


async def test_calls_nobody_claims_go_to_the_queue(lab: Lab) -> None:
    async with offering(lab) as (stage, replicas), open_caller() as caller:
        for replica in replicas:
            replica.program.signal(signal.SIGKILL)
            await replica.program.wait()
        await caller.dial(f"sip:+14155550100@{stage.asterisk.sip}", Tone(CALLER))
        await until_hears(caller, MUSIC)
        assert "Queue" in await stage.applications()
