"""The dialplan include as it is shipped, in a real Asterisk: no way leads to silence."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from voicefork_cli.lab.asterisk import Asterisk, AsteriskPlan, open_asterisk
from voicefork_cli.lab.processes import Lab
from voicefork_cli.measure.tones import share_of
from voicefork_cli.sim.caller import CarrierCaller, open_caller
from voicefork_cli.sim.phone import AgentPhone
from voicefork_cli.sim.source import Tone

CALL = "0192f0c1-7a3b-7c55-8c11-3f1b2a4d5e6f"
HALF_A_SECOND = 8000  # octets at 8 kHz
MUSIC, AGENT = 350, 600
HEARD = (MUSIC, AGENT, 440)


class StasisApp:
    """An ARI application at one Asterisk."""

    def __init__(self, asterisk: Asterisk, session: aiohttp.ClientSession) -> None:
        self._asterisk = asterisk
        self._session = session
        self._events: aiohttp.ClientWebSocketResponse | None = None

    async def connect(self, name: str) -> None:
        url = f"{self._asterisk.ari_url}/events?app={name}"
        self._events = await self._session.ws_connect(url.replace("http", "ws"))

    async def event(self, kind: str) -> dict[str, Any]:
        """The next event of that type; the others are passed over."""
        assert self._events is not None
        async with asyncio.timeout(30):
            while True:
                event: dict[str, Any] = json.loads(await self._events.receive_str())
                if event["type"] == kind:
                    return event

    async def post(self, path: str, **query: str) -> None:
        url = f"{self._asterisk.ari_url}/{path}"
        async with self._session.post(url, params=query) as response:
            assert response.ok, await response.text()


@asynccontextmanager
async def open_app(asterisk: Asterisk, name: str) -> AsyncIterator[StasisApp]:
    async with aiohttp.ClientSession(headers=asterisk.authorization) as session:
        app = StasisApp(asterisk, session)
        await app.connect(name)
        yield app


@pytest.fixture
async def asterisk(lab: Lab, phone: AgentPhone) -> AsyncIterator[Asterisk]:
    plan = AsteriskPlan(
        agents={"agent-1": phone.uri}, queues={"voicefork": (), "billing": ("agent-1",)}
    )
    async with open_asterisk(lab, plan) as asterisk:
        yield asterisk


@pytest.fixture
async def caller() -> AsyncIterator[CarrierCaller]:
    async with open_caller() as caller:
        yield caller


async def ring(
    caller: CarrierCaller, asterisk: Asterisk, headers: Mapping[str, str] | None = None
) -> None:
    """Dials; in Stasis nobody answers yet."""
    await caller.start(f"sip:+14155550199@{asterisk.sip}", Tone(440), headers=headers)


async def until(asterisk: Asterisk, check: Callable[[], Awaitable[bool]]) -> None:
    """Waits until the check holds; fails with the end of Asterisk's log."""

    async def found() -> bool | None:
        return await check() or None

    await asterisk.program.wait_until(found, 30)


async def hears(caller: CarrierCaller, hz: int, asterisk: Asterisk) -> None:
    """Waits until the newest half second of audio is that tone."""

    async def only_the_tone() -> bool:
        newest = list(caller.heard)[-25:]
        return len(newest) == 25 and share_of(newest, hz, HEARD) > 0.9

    await until(asterisk, only_the_tone)


@pytest.mark.parametrize("slot", range(4))
async def test_a_call_reaches_the_app_of_any_slot(
    asterisk: Asterisk, caller: CarrierCaller, slot: int
) -> None:
    async with open_app(asterisk, f"voicefork-{slot}") as app:
        await ring(caller, asterisk)
        started = await app.event("StasisStart")
    assert started["args"] == ["inbound"]


async def test_the_edges_headers_arrive_as_variables_with_every_event(
    asterisk: Asterisk, caller: CarrierCaller
) -> None:
    headers = {
        "X-Voicefork-Call": CALL,
        "X-Voicefork-Tenant": "tenant_42",
        "X-Voicefork-Direction": "in",
    }
    async with open_app(asterisk, "voicefork-0") as app:
        await ring(caller, asterisk, headers)
        started = await app.event("StasisStart")
    assert started["channel"]["channelvars"] == {
        "VOICEFORK_CALL": CALL,
        "VOICEFORK_TENANT": "tenant_42",
        "VOICEFORK_DIRECTION": "in",
        "VOICEFORK_DIALLED": "+14155550199",
        "VOICEFORK_APP": "voicefork-0",
        "VOICEFORK_HOSTED": "",
        "TRANSFERSTATUS": "",
        "TRANSFERSTATUSPROTOCOL": "",
    }


async def test_a_header_cannot_smuggle_dialplan_in(
    asterisk: Asterisk, caller: CarrierCaller
) -> None:
    hostile = '../../x${SHELL(id)}"],Hangup()'
    async with open_app(asterisk, "voicefork-0") as app:
        await ring(caller, asterisk, {"X-Voicefork-Call": hostile})
        started = await app.event("StasisStart")
    assert started["channel"]["channelvars"]["VOICEFORK_CALL"] == "....xSHELLidHangup"


async def test_a_tenant_is_taken_as_the_edge_lets_it_pass(
    asterisk: Asterisk, caller: CarrierCaller
) -> None:
    async with open_app(asterisk, "voicefork-0") as app:
        await ring(caller, asterisk, {"X-Voicefork-Tenant": "acme.example_1-b"})
        started = await app.event("StasisStart")
    assert started["channel"]["channelvars"]["VOICEFORK_TENANT"] == "acme.example_1-b"


async def test_without_an_orchestrator_the_caller_waits_in_the_queue_with_music(
    asterisk: Asterisk, caller: CarrierCaller
) -> None:
    await ring(caller, asterisk)
    await caller.until_answered(10)
    await hears(caller, MUSIC, asterisk)
    assert "voicefork has 1 calls" in await asterisk.cli("queue show voicefork")


async def test_a_caller_the_app_lets_go_of_waits_in_the_queue(
    asterisk: Asterisk, caller: CarrierCaller
) -> None:
    async with open_app(asterisk, "voicefork-0") as app:
        await ring(caller, asterisk)
        channel = (await app.event("StasisStart"))["channel"]["id"]
        await app.post(f"channels/{channel}/continue")
        await caller.until_answered(10)
        await hears(caller, MUSIC, asterisk)


async def test_a_named_queue_rings_its_agent_who_is_not_forked_again(
    asterisk: Asterisk, caller: CarrierCaller, phone: AgentPhone
) -> None:
    async with open_app(asterisk, "voicefork-0") as app:
        await ring(caller, asterisk, {"X-Voicefork-Call": CALL})
        channel = (await app.event("StasisStart"))["channel"]["id"]
        where = {"context": "voicefork-queue", "extension": "billing", "priority": "1"}
        await app.post(f"channels/{channel}/continue", **where)
        answered = await phone.next_call(10)
        await hears(caller, AGENT, asterisk)
    assert answered.invite.get("X-Voicefork-Fork") == "no"
    assert answered.invite.get("X-Voicefork-Call") == CALL


async def test_an_unknown_queue_means_the_usual_one(
    asterisk: Asterisk, caller: CarrierCaller
) -> None:
    async with open_app(asterisk, "voicefork-0") as app:
        await ring(caller, asterisk)
        channel = (await app.event("StasisStart"))["channel"]["id"]
        where = {"context": "voicefork-queue", "extension": "nosuchqueue", "priority": "1"}
        await app.post(f"channels/{channel}/continue", **where)
        await hears(caller, MUSIC, asterisk)


async def test_a_queue_that_gives_up_hands_the_caller_back_to_the_app(
    asterisk: Asterisk, caller: CarrierCaller
) -> None:
    async with open_app(asterisk, "voicefork-0") as app:
        await ring(caller, asterisk)
        channel = (await app.event("StasisStart"))["channel"]["id"]
        await app.post(
            f"channels/{channel}/variable", variable="VOICEFORK_QUEUE_SECONDS", value="1"
        )
        await app.post(f"channels/{channel}/continue")
        back = await app.event("StasisStart")
    assert back["args"] == ["queue-ended", "voicefork", "TIMEOUT"]
    assert back["channel"]["id"] == channel


async def test_a_caller_the_app_does_not_want_back_hears_a_goodbye(
    asterisk: Asterisk, caller: CarrierCaller
) -> None:
    await asterisk.cli("dialplan set global VOICEFORK_QUEUE_SECONDS 1")
    async with open_app(asterisk, "voicefork-0") as app:
        await ring(caller, asterisk)
        channel = (await app.event("StasisStart"))["channel"]["id"]
        await app.post(f"channels/{channel}/continue")
        await app.event("StasisStart")
        await app.post(f"channels/{channel}/continue")

        async def it_is_sorry() -> bool:
            return "Playing 'im-sorry" in asterisk.program.log_text()

        await until(asterisk, it_is_sorry)


async def test_a_queue_that_gives_up_without_an_app_says_goodbye(
    asterisk: Asterisk, caller: CarrierCaller
) -> None:
    await asterisk.cli("dialplan set global VOICEFORK_QUEUE_SECONDS 1")
    await ring(caller, asterisk)
    await caller.until_answered(10)
    async with asyncio.timeout(45):
        await caller.ended.wait()
    log = asterisk.program.log_text()
    assert "Playing 'im-sorry" in log
    assert "Playing 'please-try-call-later" in log


async def test_a_caller_who_hangs_up_in_the_queue_is_gone(
    asterisk: Asterisk, caller: CarrierCaller
) -> None:
    await ring(caller, asterisk)
    await caller.until_answered(10)
    await hears(caller, MUSIC, asterisk)
    await caller.hang_up()

    async def nobody_is_left() -> bool:
        return "0 active channels" in await asterisk.cli("core show channels")

    await until(asterisk, nobody_is_left)


async def test_the_recording_lasts_from_the_app_into_the_queue(
    lab: Lab, caller: CarrierCaller
) -> None:
    async with open_asterisk(lab, AsteriskPlan(record=True)) as asterisk:
        async with open_app(asterisk, "voicefork-0") as app:
            await ring(caller, asterisk, {"X-Voicefork-Call": CALL})
            channel = (await app.event("StasisStart"))["channel"]["id"]
            await app.post(f"channels/{channel}/continue")
            await hears(caller, MUSIC, asterisk)
        await caller.hang_up()

        async def half_a_second_is_in_it() -> bool:
            files = (asterisk.spool / "monitor").glob(f"voicefork-{CALL}.wav*")
            return any(file.stat().st_size > HALF_A_SECOND for file in files)

        await until(asterisk, half_a_second_is_in_it)


async def test_a_broadcast_call_goes_to_the_app_that_claims_it(
    asterisk: Asterisk, caller: CarrierCaller
) -> None:
    await asterisk.cli("dialplan set global VOICEFORK_BROADCAST yes")
    async with open_app(asterisk, "voicefork-3") as app:
        await ring(caller, asterisk)
        channel = (await app.event("CallBroadcast"))["channel"]["id"]
        await app.post("events/claim", channelId=channel, application="voicefork-3")
        started = await app.event("StasisStart")
        assert started["args"] == ["inbound"]
        await app.post(f"channels/{channel}/continue")
        await hears(caller, MUSIC, asterisk)


async def test_a_broadcast_nobody_claims_goes_to_a_slot(
    asterisk: Asterisk, caller: CarrierCaller
) -> None:
    await asterisk.cli("dialplan set global VOICEFORK_BROADCAST yes")
    async with open_app(asterisk, "voicefork-3") as app:
        await ring(caller, asterisk)
        assert (await app.event("StasisStart"))["args"] == ["inbound"]


async def test_voicemail_takes_the_caller_after_the_queue_where_there_is_a_box(
    asterisk: Asterisk, caller: CarrierCaller
) -> None:
    await asterisk.cli("dialplan set global VOICEFORK_QUEUE_SECONDS 1")
    await asterisk.cli("dialplan set global VOICEFORK_VOICEMAIL 2000@default")
    await ring(caller, asterisk)

    async def it_greets() -> bool:
        return "Playing 'vm-theperson" in asterisk.program.log_text()

    await until(asterisk, it_greets)
