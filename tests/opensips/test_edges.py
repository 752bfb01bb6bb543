"""Two edges at once: one Redis, one PBX, the same workers; each answers for its own calls alone."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
from voicefork_cli.lab.opensips import OpenSips, OpenSipsPlan, open_opensips
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.redis import open_redis
from voicefork_cli.sim.caller import CarrierCaller, open_caller
from voicefork_cli.sim.message import Message
from voicefork_cli.sim.phone import AgentPhone
from voicefork_cli.sim.source import Tone

from tests.opensips.beats import Member, open_beats
from tests.opensips.mi import calls, count
from tests.opensips.recorder import Fork, Recorder

Edges = list[OpenSips]


@pytest.fixture(params=[True, False], ids=["topology hidden", "Record-Route"])
async def edges(
    request: pytest.FixtureRequest,
    lab: Lab,
    edge_plan: Callable[..., OpenSipsPlan],
    recorder: Recorder,
) -> AsyncIterator[Edges]:
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(open_redis(lab))
        await stack.enter_async_context(open_beats(redis, Member("one", recorder.uri)))
        plan = edge_plan(redis=redis.url, hide_topology=request.param)
        yield [
            await stack.enter_async_context(
                open_opensips(lab, dataclasses.replace(plan, name=name))
            )
            for name in ("edge-a", "edge-b")
        ]


@dataclass(frozen=True, slots=True)
class Talk:
    """A call through one edge: who calls, the INVITE that the PBX got, and the fork."""

    edge: OpenSips
    caller: CarrierCaller
    at_pbx: Message
    fork: Fork


@pytest.fixture
async def talks(edges: Edges, pbx: AgentPhone, recorder: Recorder) -> AsyncIterator[list[Talk]]:
    """One call through each."""
    async with AsyncExitStack() as stack:
        talks = []
        for edge in edges:
            caller = await stack.enter_async_context(open_caller())
            await caller.dial(f"sip:+14155550199@{edge.sip}", Tone(440))
            call = await pbx.next_call()
            talks.append(Talk(edge, caller, call.invite, await recorder.fork()))
        yield talks


def way_back(message: Message) -> str:
    """Where requests of the one who got this go: the first Route, else the Contact."""
    return (message.all("Record-Route") or [message.get("Contact")])[0]


async def dialogs(edges: Edges, *wanted: int) -> None:
    """Waits until the edges have so many dialogs each."""
    async with asyncio.timeout(8):
        while [await calls(edge) for edge in edges] != list(wanted):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def test_each_puts_its_own_address_into_its_dialogs(talks: list[Talk]) -> None:
    for talk in talks:
        assert talk.caller.final is not None
        others = [other.edge.sip for other in talks if other is not talk]
        for message in (talk.caller.final, talk.at_pbx):
            assert talk.edge.sip in way_back(message)
        assert talk.edge.sip in talk.fork.invite.get("Contact")
        for message in (talk.caller.final, talk.at_pbx, talk.fork.invite):
            assert not [other for other in others if other in message.encode().decode()]


async def test_what_belongs_to_a_call_reaches_the_edge_that_has_it(
    edges: Edges, talks: list[Talk], pbx: AgentPhone, recorder: Recorder
) -> None:
    recorder.requests.clear()
    for talk in talks:
        await talk.caller.hold()
        await talk.caller.resume()
        await talk.fork.audio("customer")
    assert {one.call_id for one in recorder.requests if one.method == "INVITE"} == {
        talk.fork.invite.call_id for talk in talks
    }
    await dialogs(edges, 1, 1)
    await talks[0].caller.hang_up()
    await dialogs(edges, 0, 1)
    await pbx.calls[-1].hang_up()  # the PBX's own requests find the way, too
    await dialogs(edges, 0, 0)
    async with asyncio.timeout(5):
        await talks[1].caller.ended.wait()
        for talk in talks:
            await talk.fork.ended.wait()
    assert [await count(edge, "voicefork_calls_in") for edge in edges] == [1, 1]


async def test_the_other_goes_on_where_one_is_killed(
    edges: Edges, talks: list[Talk], pbx: AgentPhone, recorder: Recorder
) -> None:
    dead, alive = talks
    os.killpg(dead.edge.program.pid, signal.SIGKILL)  # its children outlive it for a while
    await dead.edge.program.wait()
    await alive.caller.hold()
    await alive.caller.resume()
    for kind in ("customer", "pbx"):
        await alive.fork.audio(kind)
        await dead.fork.audio(kind)  # its audio needs no OpenSIPS
    async with open_caller() as late:
        await late.dial(f"sip:+14155550199@{alive.edge.sip}", Tone(440))
        await (await recorder.fork()).audio("customer")
        await dialogs([alive.edge], 2)
        await late.hang_up()
    await alive.caller.hang_up()
    await dialogs([alive.edge], 0)
    assert not dead.fork.ended.is_set()
