"""The bot's voice on its way from a pod to an Asterisk outside of the cluster.

`worker.media` says which address the worker's SDP has: the pod's, whose packets leave the node with
the node's address and other ports; the node's; or one that a NAT 1:1 leads to the pod. Asterisk's
strictrtp is on.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass

import aiohttp
import pytest
from rich.console import Console
from voicefork_cli.doctor.command import examine
from voicefork_cli.doctor.first_call import CallPlan
from voicefork_cli.doctor.places import Places
from voicefork_cli.lab.asterisk import AsteriskPlan, open_asterisk
from voicefork_cli.lab.ours import Service, open_agent
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.redis import open_redis
from voicefork_cli.lab.rtpengine import open_rtpengine
from voicefork_cli.sim.caller import open_caller
from voicefork_cli.sim.edge import Edge, open_edge
from voicefork_cli.sim.edge_call import EdgePlan
from voicefork_cli.sim.source import Tone
from voicefork_cli.sim.src import SrcSettings

from tests.e2e.ears import BOT, CALLER, hears_only, share, until_hears
from tests.e2e.namespaces import (
    ADVERTISED,
    EDGE,
    HIDDEN,
    MAPPED,
    NO_MEDIA,
    NODE,
    PBX,
    POD,
    Networks,
    open_networks,
    private_network,
)
from tests.e2e.stage import DEFAULT, TONE_AGENT, Guest, Stage

NUMBER = "+14155550100"


@dataclass(frozen=True, slots=True)
class House:
    """All but Asterisk is in the cluster's network."""

    stage: Stage
    networks: Networks
    orchestrator: Service

    async def returned(self, worker: Service) -> int:
        """Packets that have come back to the worker's voice from Asterisk."""
        (call,) = await self.stage.calls_of_worker(worker)
        url = f"http://{worker.addresses['admin']}/calls/{call['call_id']}"
        return int((await self.stage.listed(url))["talkback"]["counters"]["received"])

    def edge(self, worker: Service) -> AbstractAsyncContextManager[Edge]:
        """An edge on the node's network, as rtpengine is."""

        async def pick() -> list[str]:
            return [f"sip:{worker.addresses['sip']};transport=tcp"]

        stage, src = self.stage, SrcSettings(owner=self.stage.owner)
        plan = EdgePlan(pbx=f"sip:{stage.asterisk.sip}", pick=pick, src=src)
        return open_edge(plan, (stage.rtpengine.host, stage.rtpengine.port), host=EDGE)


@pytest.fixture
def network() -> Iterator[None]:
    with private_network():
        yield


@pytest.fixture
async def house(network: None, lab: Lab) -> AsyncIterator[House]:
    async with AsyncExitStack() as opened:
        networks = await opened.enter_async_context(open_networks(lab))
        redis = await opened.enter_async_context(open_redis(lab))
        rtpengine = await opened.enter_async_context(open_rtpengine(lab, media_host=EDGE))
        plan = AsteriskPlan(host=PBX, carrier_host=f"{EDGE},{NODE}")
        asterisk = await opened.enter_async_context(open_asterisk(networks.pbx, plan))
        agent = await opened.enter_async_context(open_agent(lab, TONE_AGENT, name="agent-tone"))
        session = await opened.enter_async_context(aiohttp.ClientSession())
        agents, guests = {DEFAULT: agent}, {DEFAULT: Guest()}
        stage = Stage(lab, redis, rtpengine, asterisk, agents, guests, session)
        orchestrator = await opened.enter_async_context(stage.orchestrator())
        yield House(stage, networks, orchestrator)


BEHIND = ("--sip", f"{POD}:0", "--control", f"{POD}:0")
# How the node leads packets, what the worker is told, and whether Asterisk reaches it.
MODES = {
    "podIP": (HIDDEN, ("--sip", f"{POD}:0"), False),
    "hostNetwork": (HIDDEN, ("--sip", f"{EDGE}:0"), True),
    "advertised": (MAPPED, (*BEHIND, "--advertise", ADVERTISED), True),
}


@pytest.mark.parametrize("mode", MODES)
async def test_the_caller_hears_the_bot_and_the_bot_hears_the_caller(
    house: House, mode: str
) -> None:
    rules, options, comes_back = MODES[mode]
    house.networks.route(rules)
    diary = house.stage.diary(DEFAULT)
    async with (
        house.stage.worker(house.orchestrator, options=options) as worker,
        house.edge(worker) as edge,
        open_caller() as caller,
    ):
        await caller.dial(edge.uri.replace("sip:", f"sip:{NUMBER}@"), Tone(CALLER))
        bot_from = await until_hears(caller, BOT)
        await diary.wait_for_seconds_of("CUSTOMER", 2.0)
        heard = [packet for packet in caller.heard if packet.arrival_ns >= bot_from]
        assert share(heard, BOT) == 1.0
        assert (await house.returned(worker) > 0) is comes_back
        await caller.hang_up()
        await house.stage.wait_empty(house.orchestrator, worker)
    assert hears_only(diary.tones_of("CUSTOMER"), CALLER)


@pytest.mark.parametrize("passes", [True, False], ids=["passes", "is dropped"])
async def test_the_doctor_tells_whether_the_voice_gets_out(house: House, passes: bool) -> None:
    house.networks.route(HIDDEN if passes else NO_MEDIA)
    options = ("--sip", f"{POD}:0", "--admin", f"{POD}:0")
    async with house.stage.worker(house.orchestrator, options=options) as worker:
        places = Places(
            worker=worker.addresses["sip"],
            worker_admin=int(worker.addresses["admin"].rpartition(":")[2]),
        )
        text = io.StringIO()
        screen = Console(file=text, width=200)
        bad = await examine(places, CallPlan(pbx=house.stage.asterisk.sip), screen)
    assert (bad == 0) is passes, text.getvalue()
    if passes:
        assert "the caller hears the AI" in text.getvalue()
    else:
        assert "and the caller hears silence" in text.getvalue()
        assert f"UDP from the worker ({POD}:" in text.getvalue()
