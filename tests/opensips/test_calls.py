"""Calls through the edge: both ways, all that a call can do, and what is not forked."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack

import pytest
from voicefork_cli.lab.opensips import OpenSips
from voicefork_cli.lab.processes import Lab
from voicefork_cli.sim.caller import CarrierCaller, Identity, open_caller
from voicefork_cli.sim.errors import CallRefused
from voicefork_cli.sim.flows import Flow
from voicefork_cli.sim.message import Message
from voicefork_cli.sim.phone import AgentPhone, Behaviour
from voicefork_cli.sim.source import Tone

from tests.opensips.conftest import Opening, where
from tests.opensips.mi import calls, count
from tests.opensips.recorder import Recorder
from tests.opensips.sipp.run import Load, carrier, open_pbx

CUSTOMER = Tone(440)


@pytest.fixture
async def caller() -> AsyncIterator[CarrierCaller]:
    async with open_caller() as caller:
        yield caller


async def dial(
    caller: CarrierCaller,
    edge: OpenSips,
    number: str = "+14155550199",
    headers: Mapping[str, str] | None = None,
) -> None:
    await caller.dial(f"sip:{number}@{edge.sip}", CUSTOMER, headers=headers)


async def all_over(edge: OpenSips) -> None:
    async with asyncio.timeout(8):
        while await calls(edge):  # noqa: ASYNC110 - asked, not told
            await asyncio.sleep(0.1)


async def test_the_pbx_sees_the_edge_and_nothing_of_the_carrier(
    edge: OpenSips, pbx: AgentPhone
) -> None:
    async with open_caller(Identity(host="127.0.0.2")) as caller:
        await dial(caller, edge)
        invite = (await pbx.next_call()).invite
    assert "127.0.0.2" not in "".join(
        value for name in ("Contact", "Via", "Record-Route") for value in invite.all(name)
    )
    assert b"127.0.0.2" not in invite.body


async def test_the_carrier_sees_the_edge_and_nothing_of_the_pbx(
    edge: OpenSips, pbx: AgentPhone, caller: CarrierCaller
) -> None:
    await dial(caller, edge)
    assert caller.final is not None
    assert where(pbx) not in caller.final.get("Contact")
    assert edge.sip in caller.final.get("Contact")


async def test_the_calls_id_is_a_uuid_of_version_7_that_sorts_by_time(
    edge: OpenSips, pbx: AgentPhone
) -> None:
    ids = []
    for _ in range(3):
        async with open_caller() as caller:
            await dial(caller, edge)
            ids.append((await pbx.next_call()).invite.get("X-Voicefork-Call"))
    shape = "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    assert all(re.fullmatch(shape, one) for one in ids)
    assert sorted(ids) == ids
    milliseconds = int(ids[0][:13].replace("-", ""), 16)
    assert 0 <= time.time_ns() // 1_000_000 - milliseconds < 10_000


async def test_hold_and_resume_reach_the_pbx_and_leave_the_fork_alone(
    edge: OpenSips, pbx: AgentPhone, caller: CarrierCaller, recorder: Recorder
) -> None:
    await dial(caller, edge)
    call = await pbx.next_call()
    fork = await recorder.fork()
    await caller.hold()
    await caller.resume()
    await fork.audio("customer")
    await fork.audio("pbx")
    assert [event.text for event in call.events].count("got INVITE") == 2
    assert recorder.forks.empty()
    await caller.hang_up()
    async with asyncio.timeout(5):
        await fork.ended.wait()
    await all_over(edge)


async def test_the_pbx_can_hang_up(
    edge: OpenSips, pbx: AgentPhone, caller: CarrierCaller, recorder: Recorder
) -> None:
    await dial(caller, edge)
    fork = await recorder.fork()
    await (await pbx.next_call()).hang_up()
    async with asyncio.timeout(5):
        await caller.ended.wait()
        await fork.ended.wait()
    await all_over(edge)


async def test_a_caller_who_gives_up_in_early_media_ends_the_fork(
    edge: OpenSips, pbx: AgentPhone, caller: CarrierCaller, recorder: Recorder
) -> None:
    pbx.behaviour = Behaviour(status=None, early_media=True)
    await caller.start(f"sip:+14155550199@{edge.sip}", CUSTOMER)
    fork = await recorder.fork()
    await fork.audio("pbx")
    await caller.cancel()
    assert (await pbx.next_call()).cancelled
    assert 487 in caller.progress
    async with asyncio.timeout(5):
        await fork.ended.wait()
    await all_over(edge)


async def test_an_offer_that_comes_late_is_not_forked_and_is_counted(
    edge: OpenSips, pbx: AgentPhone, recorder: Recorder
) -> None:
    async with open_caller() as caller:
        caller.sdp = lambda direction="sendrecv": b""  # type: ignore[method-assign]
        await dial(caller, edge)
        call = await pbx.next_call()
        assert call.invite.body == b""
        await caller.hang_up()
    assert await count(edge, "voicefork_not_forked_late_offer") == 1
    assert recorder.forks.empty()


async def test_a_busy_pbx_is_busy_and_leaves_nothing(
    edge: OpenSips, pbx: AgentPhone, caller: CarrierCaller
) -> None:
    pbx.behaviour = Behaviour(status=486)
    with pytest.raises(CallRefused, match="486"):
        await dial(caller, edge)
    await all_over(edge)


async def test_sixty_calls_at_once_are_all_forked_with_both_legs(
    edge: OpenSips, pbx: AgentPhone, recorder: Recorder, spare: Recorder
) -> None:
    pbx.behaviour = dataclasses.replace(pbx.behaviour, ring_seconds=0.1)
    async with AsyncExitStack() as stack:
        callers = [await stack.enter_async_context(open_caller()) for _ in range(60)]
        async with asyncio.TaskGroup() as group:
            for index, caller in enumerate(callers):
                await asyncio.sleep(0.05)
                group.create_task(dial(caller, edge, f"+1415555{index:04}"))
        forks = [await one.fork() for one in (recorder, spare) for _ in range(30)]
        for fork in forks:
            await fork.audio("customer", 5)
            await fork.audio("pbx", 5)
        assert await count(edge, "voicefork_forks_started") == 60
    async with asyncio.timeout(10):
        for fork in forks:
            await fork.ended.wait()
    await all_over(edge)


@pytest.mark.parametrize(
    ("trunk", "is_forked"), [({"fork": False}, False), ({"percent": 0}, False), ({}, True)]
)
async def test_a_trunk_says_whether_its_calls_are_forked(
    open_edge: Opening, recorder: Recorder, trunk: Mapping[str, object], is_forked: bool
) -> None:
    acme = {"name": "acme", "sources": ["127.0.0.1"], "tenant": "acme-inc", **trunk}
    async with open_edge(trunks=[acme]) as edge, open_caller() as caller:
        await dial(caller, edge)
        if is_forked:
            fork = await recorder.fork()
            assert fork.invite.get("X-Voicefork-Trunk") == "acme"
            assert fork.invite.get("X-Voicefork-Tenant") == "acme-inc"
        await caller.hang_up()
        assert recorder.forks.empty()
        assert await count(edge, "voicefork_not_forked_by_choice") == (not is_forked)


async def test_a_sample_is_as_large_as_its_percent_says(lab: Lab, open_edge: Opening) -> None:
    """OpenSIPS seeds its dice itself, from /dev/urandom: so the limits are the binomial's.

    Of 200 calls at 30 %, 31 to 89 are forked but for 6 of a million times.
    """
    acme = {"name": "acme", "sources": ["127.0.0.1"], "percent": 30, "calls_per_second": 1000}
    async with (
        open_pbx(lab) as (pbx, _),
        open_edge(trunks=[acme], pbx=[{"address": pbx, "sources": [pbx]}]) as edge,
    ):
        outcome = await carrier(lab, edge.sip, Load(rate=50, calls=200, seconds=0.2))
        assert (outcome.good, outcome.failed) == (200, 0)
        forked = await count(edge, "voicefork_forks_asked")
        assert 31 <= forked <= 89
        assert await count(edge, "voicefork_not_forked_by_choice") == 200 - forked


async def test_a_record_of_each_call_is_kept(
    edge: OpenSips, pbx: AgentPhone, caller: CarrierCaller
) -> None:
    await dial(caller, edge)
    call_id = (await pbx.next_call()).invite.get("X-Voicefork-Call")
    await caller.hang_up()
    await all_over(edge)
    records = [line for line in edge.program.log_text().splitlines() if "ACC: call ended" in line]
    assert len(records) == 1
    assert f"call={call_id};direction=in;tenant=default;trunk=carrier;fork=1" in records[0]


@pytest.mark.parametrize("hide", [True, False])
async def test_a_refer_loses_what_crashes_asterisk(
    open_edge: Opening, pbx: AgentPhone, caller: CarrierCaller, hide: bool
) -> None:
    async with open_edge(hide_topology=hide) as edge:
        await dial(caller, edge)
        call = await pbx.next_call()
        requests: list[Message] = []

        def requested(request: Message, flow: Flow) -> None:
            requests.append(request)
            call.requested(request, flow)

        call.endpoint.calls[call.invite.call_id] = requested
        assert caller.dialog is not None
        extra = [("Refer-To", "<sip:1@x>"), ("Refer-Sub", "false"), ("Supported", "norefersub")]
        refer = caller.dialog.request("REFER", caller.via, headers=extra)
        flow = await caller.endpoint.flow_to(caller.dialog.next_hop)
        await caller.endpoint.begin(refer, flow).final(5)
        seen = next(request for request in requests if request.method == "REFER")
        assert seen.all("Refer-Sub") == []
        assert "norefersub" not in "".join(seen.all("Supported"))
        assert seen.get("Refer-To") == "<sip:1@x>"
