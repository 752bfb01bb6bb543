"""What should not get in, does not; and those who may call do not notice."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pytest
from voicefork_cli.lab.opensips import OpenSips
from voicefork_cli.sim.caller import Identity, open_caller
from voicefork_cli.sim.errors import CallRefused
from voicefork_cli.sim.phone import AgentPhone
from voicefork_cli.sim.source import Tone

from tests.opensips.conftest import Opening
from tests.opensips.mi import count
from tests.opensips.recorder import Recorder
from tests.opensips.stranger import Stranger, open_stranger

TRUNK = {"name": "carrier", "sources": ["127.0.0.1"], "calls_per_second": 1000}


@pytest.fixture
async def edge(open_edge: Opening) -> AsyncIterator[OpenSips]:
    """It knows 127.0.0.1 alone."""
    async with open_edge(trunks=[TRUNK]) as edge:
        yield edge


@pytest.fixture
def stranger(edge: OpenSips) -> Iterator[Stranger]:
    with open_stranger(edge.sip) as stranger:
        yield stranger


async def call(edge: OpenSips, number: str = "+14155550199") -> None:
    async with open_caller() as caller:
        await caller.dial(f"sip:{number}@{edge.sip}", Tone(440))


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "REGISTER", "MESSAGE"])
async def test_a_stranger_is_refused(edge: OpenSips, stranger: Stranger, method: str) -> None:
    assert await stranger.ask(stranger.request(method)) == "403"
    assert await count(edge, "voicefork_refused_unknown") == 1


@pytest.mark.parametrize("agent", ["friendly-scanner", "sipvicious", "sipcli/v1.8"])
async def test_a_scanner_hears_nothing(edge: OpenSips, stranger: Stranger, agent: str) -> None:
    assert await stranger.ask(stranger.request(headers={"User-Agent": agent})) == ""
    assert await count(edge, "voicefork_dropped_scanner") == 1


async def test_a_flood_is_dropped_and_calls_go_on(
    edge: OpenSips, stranger: Stranger, recorder: Recorder
) -> None:
    for _ in range(10):
        for _ in range(100):
            stranger.send(stranger.request("REGISTER"))
        await asyncio.sleep(0.05)
    assert len(await stranger.answers(1)) < 200
    await call(edge)
    await recorder.fork()
    assert await count(edge, "voicefork_dropped_flood") > 500
    assert await stranger.ask(stranger.request("REGISTER")) == ""


async def test_a_carrier_that_sends_much_is_no_flood(edge: OpenSips) -> None:
    with open_stranger(edge.sip, "127.0.0.1") as carrier:
        for _ in range(300):
            assert await carrier.ask(carrier.request()) == "200"
    assert await count(edge, "voicefork_dropped_flood") == 0


async def test_what_is_too_large_is_refused(edge: OpenSips) -> None:
    with open_stranger(edge.sip, "127.0.0.1") as carrier:
        assert await carrier.ask(carrier.request("INVITE", body="x" * 20_000)) == "513"


@pytest.mark.parametrize(
    "headers",
    [{"Contact": "<<<"}, {"CSeq": "nonsense"}, {"From": "<sip:\x01@>;tag=1"}, {"To": "@@@"}],
    ids=["Contact", "CSeq", "From", "To"],
)
async def test_what_is_not_sip_does_not_pass(
    edge: OpenSips, pbx: AgentPhone, headers: dict[str, str]
) -> None:
    with open_stranger(edge.sip, "127.0.0.1") as carrier:
        assert await carrier.ask(carrier.request("INVITE", headers)) in ("400", "")
    assert pbx.calls == []
    await call(edge)


async def test_too_many_hops_are_refused(edge: OpenSips) -> None:
    with open_stranger(edge.sip, "127.0.0.1") as carrier:
        request = carrier.request("INVITE", {"Max-Forwards": "0"})
        assert await carrier.ask(request) == "483"


@pytest.mark.parametrize("method", ["INVITE", "BYE", "REFER", "MESSAGE"])
async def test_a_request_of_no_call_goes_nowhere_whatever_its_route_says(
    edge: OpenSips, method: str
) -> None:
    with (
        open_stranger(edge.sip) as outsider,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target,
    ):
        target.bind(("127.0.0.1", 0))
        target.settimeout(0.3)
        where = "{}:{}".format(*target.getsockname())
        route = f"<sip:{edge.sip};lr>, <sip:{where};lr>"
        headers = {"To": f"<sip:1@{where}>;tag=x", "Route": route}
        assert await outsider.ask(outsider.request(method, headers)) == "481"
        with pytest.raises(TimeoutError):
            target.recv(100)


@pytest.mark.parametrize("hide", [True, False])
async def test_a_first_request_goes_to_the_pbx_whatever_its_route_says(
    open_edge: Opening, pbx: AgentPhone, hide: bool
) -> None:
    async with open_edge(hide_topology=hide) as edge, open_caller() as caller:
        headers = {"Route": "<sip:127.0.0.1:9;lr>"}
        await caller.dial(f"sip:+14155550199@{edge.sip}", Tone(440), headers=headers)
        assert (await pbx.next_call()).invite.all("Route") == []


async def test_a_trunk_has_its_calls_a_second_and_emergency_calls_are_none_of_them(
    open_edge: Opening, pbx: AgentPhone
) -> None:
    trunk = {**TRUNK, "calls_per_second": 2}
    async with open_edge(trunks=[trunk], emergency=["112"]) as edge:
        refused = 0
        for _ in range(6):
            with suppress(CallRefused):
                await call(edge, "901")
                continue
            refused += 1
        assert refused > 0
        assert await count(edge, "voicefork_refused_limit") == refused
        for _ in range(4):
            await call(edge, "112")
        assert await count(edge, "voicefork_emergency_calls") == 4


async def test_a_call_that_says_it_is_the_pbxs_is_the_carriers(
    edge: OpenSips, pbx: AgentPhone, recorder: Recorder
) -> None:
    forged = {"X-Voicefork-Call": "x", "X-Voicefork-Direction": "out", "X-Voicefork-Fork": "no"}
    async with open_caller(Identity()) as caller:
        await caller.dial(f"sip:901@{edge.sip}", Tone(440), headers=forged)
        invite = (await pbx.next_call()).invite
    fork = await recorder.fork()
    assert len(invite.all("X-Voicefork-Call")) == 1
    assert invite.get("X-Voicefork-Call") == fork.invite.get("X-Voicefork-Call") != "x"
    assert invite.all("X-Voicefork-Direction") == ["in"]
    assert invite.all("X-Voicefork-Fork") == []
