"""The configuration as it is shipped, in a real OpenSIPS: who is forked, and what the fork says."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack

import aiohttp
import pytest
from lxml import etree
from voicefork_cli.lab.asterisk import Asterisk
from voicefork_cli.lab.opensips import OpenSips
from voicefork_cli.measure.tones import share_of
from voicefork_cli.sim.caller import CarrierCaller, Identity, open_caller
from voicefork_cli.sim.phone import AgentPhone
from voicefork_cli.sim.source import Tone

from tests.opensips.recorder import Fork, Recorder

CUSTOMER, MUSIC = 440, 350
MUSIC_NUMBER = "901"
IN_TIME = 0.85  # seconds for a recorder's answer: two ticks are over after one second at least


@pytest.fixture
async def caller() -> AsyncIterator[CarrierCaller]:
    async with open_caller(Identity(name="A&B <x>")) as caller:
        yield caller


async def dial(
    caller: CarrierCaller,
    opensips: OpenSips,
    number: str = MUSIC_NUMBER,
    headers: Mapping[str, str] | None = None,
) -> None:
    await caller.dial(f"sip:{number}@{opensips.sip}", Tone(CUSTOMER), headers=headers)


async def half_a_second_of(fork: Fork, kind: str) -> list[float]:
    """The share of each tone in the newest half second of a leg."""
    async with asyncio.timeout(10):
        while len(fork.heard(kind)) < 50:  # noqa: ASYNC110 - there is no event for a packet
            await asyncio.sleep(0.05)
    newest = fork.heard(kind)[-25:]
    return [share_of(newest, hz, (CUSTOMER, MUSIC)) for hz in (CUSTOMER, MUSIC)]


async def test_each_legs_audio_is_what_its_metadata_says(
    opensips: OpenSips, caller: CarrierCaller, recorder: Recorder
) -> None:
    await dial(caller, opensips)
    fork = await recorder.fork()
    assert await half_a_second_of(fork, "customer") == [1.0, 0.0]
    assert await half_a_second_of(fork, "pbx") == [0.0, 1.0]


async def test_the_fork_ends_with_the_call(
    opensips: OpenSips, caller: CarrierCaller, recorder: Recorder
) -> None:
    await dial(caller, opensips)
    fork = await recorder.fork()
    await half_a_second_of(fork, "customer")
    await caller.hang_up()
    async with asyncio.timeout(5):
        await fork.ended.wait()


async def test_pbx_and_recorder_are_told_the_same_fresh_id(
    opensips: OpenSips, asterisk: Asterisk, caller: CarrierCaller, recorder: Recorder
) -> None:
    forged = {
        "X-Voicefork-Call": "forged",
        "X-Voicefork-Tenant": "forged",
        "X-Voicefork-Route": "forged",
    }
    await dial(caller, opensips, "+14155550199", forged)
    fork = await recorder.fork()
    call_id = fork.invite.get("X-Voicefork-Call")
    assert uuid.UUID(call_id).version in (4, 7)  # 7 where OpenSIPS' libuuid knows it (2.41)
    assert fork.invite.get("X-Voicefork-Direction") == "in"
    assert fork.invite.get("X-Voicefork-Tenant") == "default"
    assert not fork.invite.get("X-Voicefork-Route")
    assert fork.invite.get("X-Voicefork-DID") == "+14155550199"
    assert await variables_of_the_call(asterisk) == (call_id, "in", "default")


async def variables_of_the_call(asterisk: Asterisk) -> tuple[str, str, str]:
    listed = (await asterisk.cli("core show channels concise")).splitlines()
    # Where there is no Ethernet (a network namespace) the CLI says so first.
    channel = next(line.partition("!")[0] for line in listed if "!" in line)
    shown = await asterisk.cli(f"core show channel {channel}")
    variables = dict(line.strip().split("=", 1) for line in shown.splitlines() if "=" in line)
    names = ("VOICEFORK_CALL", "VOICEFORK_DIRECTION", "VOICEFORK_TENANT")
    call_id, direction, tenant = (variables[name] for name in names)
    return call_id, direction, tenant


async def test_hostile_names_stay_readable_metadata(
    opensips: OpenSips, caller: CarrierCaller, recorder: Recorder
) -> None:
    await dial(caller, opensips)
    fork = await recorder.fork()
    assert etree.fromstring(fork.metadata_xml) is not None
    customer = next(leg for leg in fork.legs if leg.kind == "customer")
    assert "A&B" in customer.name
    assert "<" in customer.name
    assert customer.aor.startswith("sip:+14155550100@")


async def test_a_recorder_that_says_nothing_is_passed_over_within_two_seconds_or_so(
    opensips: OpenSips, caller: CarrierCaller, recorder: Recorder, spare: Recorder
) -> None:
    recorder.is_silent = True
    await dial(caller, opensips)
    answered = asyncio.get_running_loop().time()
    fork = await spare.fork()
    assert asyncio.get_running_loop().time() - answered < 3.5
    assert await half_a_second_of(fork, "customer") == [1.0, 0.0]


async def test_a_recorder_that_is_slow_keeps_its_forks_whenever_they_begin(
    opensips: OpenSips, recorder: Recorder, spare: Recorder
) -> None:
    """OpenSIPS' seconds are ticks: one of them is over at the next tick, 0 to 1 s on.

    One that the recorder itself has answered late, on a machine that stood still, says nothing.
    """
    recorder.answer_seconds = spare.answer_seconds = 0.6
    spare.requests, spare.answered = recorder.requests, recorder.answered
    begun: dict[str, float] = {}
    async with AsyncExitStack() as stack:
        for _ in range(8):
            caller = await stack.enter_async_context(open_caller())
            before = asyncio.get_running_loop().time()
            await dial(caller, opensips)
            async with asyncio.timeout(5):
                while not (new := set(forked(recorder)) - begun.keys()):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            begun |= dict.fromkeys(new, before)
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.7)
    answered = recorder.answered
    in_time = [call for call, at in begun.items() if answered.get(call, at + 1) - at < IN_TIME]
    assert in_time
    assert [forked(recorder).count(call) for call in in_time] == [1] * len(in_time)


def forked(recorder: Recorder) -> list[str]:
    """The call of each INVITE."""
    return [r.get("X-Voicefork-Call") for r in recorder.requests if r.method == "INVITE"]


@pytest.mark.parametrize("number", ["112", "911"])
async def test_an_emergency_call_is_not_forked(
    opensips: OpenSips, caller: CarrierCaller, recorder: Recorder, number: str
) -> None:
    await dial(caller, opensips, number)
    await caller.hang_up()
    assert recorder.forks.empty()


async def place_call(asterisk: Asterisk, opensips: OpenSips, headers: Mapping[str, str]) -> None:
    """The PBX calls a subscriber of the carrier and plays music."""
    variables = {f"PJSIP_HEADER(add,{name})": value for name, value in headers.items()}
    endpoint = f"PJSIP/carrier/sip:+4930123456@{opensips.sip}"
    where = {"endpoint": endpoint, "context": "from-carrier", "extension": "901", "priority": "1"}
    async with (
        aiohttp.ClientSession(headers=asterisk.authorization) as session,
        session.post(
            f"{asterisk.ari_url}/channels", params=where, json={"variables": variables}
        ) as response,
    ):
        assert response.ok, await response.text()


async def test_a_call_the_pbx_places_keeps_its_id_and_has_the_customer_as_callee(
    opensips: OpenSips, asterisk: Asterisk, carrier: AgentPhone, recorder: Recorder
) -> None:
    headers = {
        "X-Voicefork-Call": "placed-1",
        "X-Voicefork-Tenant": "acme",
        "X-Voicefork-Route": "sales",
    }
    await place_call(asterisk, opensips, headers)
    await carrier.next_call()
    fork = await recorder.fork()
    assert fork.invite.get("X-Voicefork-Call") == "placed-1"
    assert fork.invite.get("X-Voicefork-Tenant") == "acme"
    assert fork.invite.get("X-Voicefork-Route") == "sales"
    assert fork.invite.get("X-Voicefork-Direction") == "out"
    assert await half_a_second_of(fork, "pbx") == [0.0, 1.0]
    customer = next(leg for leg in fork.legs if leg.kind == "customer")
    assert customer.aor.startswith("sip:+4930123456@")


async def test_a_leg_of_the_pbx_that_must_not_be_forked_is_not(
    opensips: OpenSips, asterisk: Asterisk, carrier: AgentPhone, recorder: Recorder
) -> None:
    await place_call(asterisk, opensips, {"X-Voicefork-Fork": "no"})
    call = await carrier.next_call()
    async with asyncio.timeout(10):
        while len(call.heard) < 25:  # noqa: ASYNC110 - there is no event for a packet
            await asyncio.sleep(0.05)
    assert recorder.forks.empty()


async def test_a_carrier_cannot_ask_for_no_fork(
    opensips: OpenSips, caller: CarrierCaller, recorder: Recorder
) -> None:
    await dial(caller, opensips, headers={"X-Voicefork-Fork": "no"})
    assert await recorder.fork()
