"""PBX nodes, trunks and relays that fail, one after the other."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.rtpengine import Rtpengine, open_rtpengine
from voicefork_cli.sim.caller import CarrierCaller, open_caller
from voicefork_cli.sim.errors import CallRefused
from voicefork_cli.sim.phone import AgentPhone, Behaviour, open_phone
from voicefork_cli.sim.source import Tone

from tests.opensips.conftest import Opening, where
from tests.opensips.mi import count
from tests.opensips.recorder import Recorder


@pytest.fixture
async def second() -> AsyncIterator[AgentPhone]:
    async with open_phone("second") as phone:
        yield phone


@pytest.fixture
async def caller() -> AsyncIterator[CarrierCaller]:
    async with open_caller() as caller:
        yield caller


def nodes(*phones: AgentPhone | str) -> list[dict[str, object]]:
    addresses = [phone if isinstance(phone, str) else where(phone) for phone in phones]
    return [{"address": address, "sources": [address]} for address in addresses]


async def dial_some(sip: str, calls: int = 6) -> None:
    for _ in range(calls):
        async with open_caller() as caller:
            await caller.dial(f"sip:901@{sip}", Tone(440))


async def test_calls_are_spread_over_the_pbx_nodes(
    open_edge: Opening, pbx: AgentPhone, second: AgentPhone
) -> None:
    async with open_edge(pbx=nodes(pbx, second)) as edge:
        await dial_some(edge.sip, 16)
    assert len(pbx.calls) + len(second.calls) == 16
    assert pbx.calls
    assert second.calls


@pytest.mark.parametrize("status", [500, 503])
async def test_a_node_that_cannot_is_passed_over_and_the_fork_comes(
    open_edge: Opening, pbx: AgentPhone, second: AgentPhone, recorder: Recorder, status: int
) -> None:
    pbx.behaviour = Behaviour(status=status, ring_seconds=0)
    async with open_edge(pbx=nodes(pbx, second), workers=[recorder.uri]) as edge:
        for _ in range(6):
            async with open_caller() as caller:
                await caller.dial(f"sip:901@{edge.sip}", Tone(440))
                fork = await recorder.fork()
                await fork.audio("customer", 5)
                await fork.audio("pbx", 5)
        assert await count(edge, "voicefork_failovers") == len(pbx.calls) > 0
    assert len(second.calls) == 6


async def test_a_node_that_is_silent_costs_two_seconds_and_then_nothing(
    open_edge: Opening, second: AgentPhone, lab: Lab
) -> None:
    nobody = f"127.0.0.1:{lab.ports.single()}"
    async with open_edge(pbx=nodes(nobody, second)) as edge:
        loop = asyncio.get_running_loop()
        started = loop.time()
        await dial_some(edge.sip, 1)
        assert loop.time() - started < 4
        await asyncio.sleep(4)
        started = loop.time()
        await dial_some(edge.sip, 4)
        assert loop.time() - started < 4
    assert len(second.calls) == 5


async def test_a_busy_node_is_no_reason_to_try_another(
    open_edge: Opening, pbx: AgentPhone, second: AgentPhone, caller: CarrierCaller
) -> None:
    pbx.behaviour = second.behaviour = Behaviour(status=486, ring_seconds=0)
    async with open_edge(pbx=nodes(pbx, second)) as edge:
        with pytest.raises(CallRefused, match="486"):
            await caller.dial(f"sip:901@{edge.sip}", Tone(440))
    assert len(pbx.calls) + len(second.calls) == 1


async def test_a_carrier_hears_503_where_all_nodes_are_silent(
    open_edge: Opening, lab: Lab, caller: CarrierCaller
) -> None:
    async with open_edge(pbx=nodes(f"127.0.0.1:{lab.ports.single()}")) as edge:
        with pytest.raises(CallRefused, match="503"):
            await caller.dial(f"sip:901@{edge.sip}", Tone(440))


async def test_a_call_out_takes_the_next_trunk_where_the_first_cannot(
    open_edge: Opening, pbx: AgentPhone, carrier: AgentPhone, second: AgentPhone, recorder: Recorder
) -> None:
    carrier.behaviour = Behaviour(status=503, ring_seconds=0)
    trunks = [
        {"name": "first", "sources": ["127.0.0.9"], "out": f"sip:{where(carrier)}"},
        {"name": "next", "sources": ["127.0.0.1"], "out": f"sip:{where(second)}"},
    ]
    async with AsyncExitStack() as stack:
        caller = await stack.enter_async_context(open_caller())
        source = f"{caller.endpoint.host}:{caller.endpoint.port}"
        node = [{"address": where(pbx), "sources": [source]}]
        edge = await stack.enter_async_context(open_edge(pbx=node, trunks=trunks))
        await caller.dial(f"sip:+4930123456@{edge.sip}", Tone(440))
        fork = await recorder.fork()
        assert fork.invite.get("X-Voicefork-Direction") == "out"
        await fork.audio("pbx")
        await fork.audio("customer")
    assert (len(carrier.calls), len(second.calls)) == (1, 1)


async def test_the_second_rtpengine_serves_where_the_first_is_gone(
    lab: Lab, open_edge: Opening, rtpengine: Rtpengine, recorder: Recorder
) -> None:
    gone = f"127.0.0.1:{lab.ports.single()}"
    engines = [gone, f"{rtpengine.host}:{rtpengine.port}"]
    async with open_edge(rtpengines=engines) as edge, open_caller() as caller:
        await caller.dial(f"sip:901@{edge.sip}", Tone(440))
        fork = await recorder.fork()
        await fork.audio("customer")


async def test_a_restart_of_rtpengine_costs_the_calls_of_then_and_no_later_one(
    lab: Lab, open_edge: Opening, recorder: Recorder
) -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(open_rtpengine(lab, rtp_ports=200))
        address = f"{first.host}:{first.port}"
        values = {"rtpengines": [address], "workers": [recorder.uri]}
        edge = await stack.enter_async_context(open_edge(**values))
        await dial_some(edge.sip, 1)
        first.program.signal(signal.SIGKILL)
        await first.program.wait()
        # Without a relay there is no fork, but there is a call.
        async with open_caller() as caller:
            await caller.dial(f"sip:901@{edge.sip}", Tone(440))
        await stack.enter_async_context(open_rtpengine(lab, rtp_ports=200, port=first.port))
        await asyncio.sleep(14)
        while not recorder.forks.empty():
            recorder.forks.get_nowait()
        async with open_caller() as caller:
            await caller.dial(f"sip:901@{edge.sip}", Tone(440))
            await (await recorder.fork()).audio("customer")
