"""The Manager Interface of a real Asterisk: queues as they are, and the dialplan as it is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from orchestrator.ari.ami import AmiAccount, AmiClient
from orchestrator.ari.client import AriClient
from orchestrator.ari.queue_states import QueueStates, dialplan_has, open_queue_states
from orchestrator.ari.rest import open_rest
from orchestrator.errors import NotFound, PbxError
from orchestrator.model import DialplanEntry, QueueState
from orchestrator.telemetry import Metrics
from voicefork_cli.lab.asterisk import Asterisk, AsteriskPlan, open_asterisk
from voicefork_cli.lab.errors import FailedProgramError
from voicefork_cli.lab.ours import OrchestratorPlan, open_orchestrator
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.redis import open_redis
from voicefork_cli.sim.caller import CarrierCaller, open_caller
from voicefork_cli.sim.phone import AgentPhone, Behaviour, open_phone
from voicefork_cli.sim.source import Silence

from tests.e2e.old_asterisk import GENERATIONS, generation

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOON = 5.0


@dataclass(slots=True)
class Office:
    asterisk: Asterisk
    phone: AgentPhone
    states: QueueStates
    client: AmiClient

    async def until(self, fits: Callable[[QueueState], bool]) -> QueueState:
        async with asyncio.timeout(SOON):
            while not fits(found := self.states.snapshot()["voicefork"]):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=GENERATIONS)
async def office(stage_lab: Lab, request: pytest.FixtureRequest) -> AsyncIterator[Office]:
    installation = generation(request.param)
    async with AsyncExitStack() as opened:
        phone = await opened.enter_async_context(open_phone("agent-1"))
        plan = AsteriskPlan(
            name=request.param,
            installation=installation,
            agents={"agent-1": phone.uri},
            queues={"voicefork": ("agent-1",)},
            ami=True,
        )
        asterisk = await opened.enter_async_context(open_asterisk(stage_lab, plan))
        states = QueueStates()
        client = await opened.enter_async_context(
            open_queue_states(_account(asterisk), states, Metrics())
        )
        async with asyncio.timeout(SOON):
            await client.wait_connected()
            while "voicefork" not in states.snapshot():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        yield Office(asterisk, phone, states, client)


def _account(asterisk: Asterisk) -> AmiAccount:
    return AmiAccount("127.0.0.1", asterisk.ami_port, asterisk.ari_user, asterisk.ari_password)


async def _waits(office: Office, caller: CarrierCaller) -> None:
    await caller.dial(f"sip:+14155550100@{office.asterisk.sip}", Silence())


async def test_a_queue_with_an_idle_phone_has_an_agent_to_spare(office: Office) -> None:
    found = await office.until(lambda state: state.available == 1)
    assert (found.members, found.waiting, found.expected_wait) == (1, 0, 0.0)


async def test_a_caller_is_counted_while_waiting_and_no_longer_when_gone(office: Office) -> None:
    office.phone.behaviour = Behaviour(status=None)
    async with open_caller() as caller:
        await _waits(office, caller)
        await office.until(lambda state: state.waiting == 1)
        await caller.hang_up()
        await office.until(lambda state: state.waiting == 0)


async def test_an_agent_in_a_call_is_not_available(office: Office) -> None:
    office.phone.behaviour = Behaviour(ring_seconds=0.1)
    async with open_caller() as caller:
        await _waits(office, caller)
        await office.until(lambda state: state.available == 0 and state.waiting == 0)
        await caller.hang_up()
        await office.until(lambda state: state.available == 1)


async def test_a_paused_agent_is_not_available(office: Office) -> None:
    pausing = {"Queue": "voicefork", "Interface": "PJSIP/agent-1"}
    await office.client.action("QueuePause", {**pausing, "Paused": "true"})
    assert (await office.until(lambda state: state.available == 0)).members == 1
    await office.client.action("QueuePause", {**pausing, "Paused": "false"})
    await office.until(lambda state: state.available == 1)


@pytest.mark.parametrize(
    ("context", "extension", "there"),
    [
        ("voicefork-queue", "s", True),
        ("voicefork-queue", "support", True),
        ("voicefork-queue", "x", False),
        ("from-carrier", "900", True),
        ("nowhere", "s", False),
    ],
)
async def test_the_dialplan_says_what_it_holds(
    office: Office, context: str, extension: str, there: bool
) -> None:
    assert await dialplan_has(office.client, DialplanEntry(context, extension)) is there


async def test_a_channel_that_is_not_there_is_not_found(office: Office) -> None:
    fields = {"Channel": "PJSIP/nobody-1", "Context": "internal", "Exten": "s", "Priority": "1"}
    with pytest.raises(NotFound):
        await office.client.action("Redirect", fields)


@pytest.mark.parametrize("by_ami", [True, False])
@pytest.mark.parametrize(
    ("rules", "missing"),
    [
        ({"queue_context": "nowhere"}, "s@nowhere"),
        ({"default": {"voicemail": "2001@nowhere"}}, "2001@nowhere"),
        ({"rules": [{"name": "r", "callback": "x@voicefork-agent-leg"}]}, "x@voicefork-agent-leg"),
    ],
)
async def test_an_orchestrator_does_not_start_where_the_dialplan_lacks_a_place(
    office: Office, stage_lab: Lab, rules: dict[str, Any], missing: str, by_ami: bool
) -> None:
    """By ARI alone, too."""
    routing = stage_lab.folder / "routing.yaml"
    routing.write_text(json.dumps(rules))  # JSON is YAML
    options: tuple[str, ...] = ("--routing", str(routing))
    if by_ami:
        options += ("--ami", f"127.0.0.1:{office.asterisk.ami_port}")
    async with open_redis(stage_lab) as redis:
        plan = OrchestratorPlan(redis.url, office.asterisk, options=options)
        with pytest.raises(FailedProgramError, match=f"the dialplan lacks {missing}"):
            async with open_orchestrator(stage_lab, plan):
                pass


async def test_what_device_states_tell_of_a_queue_agrees_with_ami(office: Office) -> None:
    office.phone.behaviour = Behaviour(status=None)
    account = office.asterisk.ari_user, office.asterisk.ari_password
    async with (
        open_rest(office.asterisk.http_url, *account, limit_seconds=2.0, metrics=Metrics()) as rest,
        open_caller() as caller,
    ):
        client = AriClient(rest, "voicefork-9")
        await _waits(office, caller)
        await office.until(lambda state: state.waiting == 1)
        assert await client.device_state("Queue:voicefork") == "RINGING"
        await caller.hang_up()
        await office.until(lambda state: state.waiting == 0 and state.available == 1)
        assert await client.device_state("Queue:voicefork") == "NOT_INUSE"
        assert await client.device_state("Queue:voicefork_avail") == "NOT_INUSE"
        assert await client.device_state("Queue:nowhere_avail") == "INVALID"


async def test_a_wrong_secret_is_refused(office: Office) -> None:
    account = _account(office.asterisk)
    wrong = AmiAccount(account.host, account.port, account.user, "wrong")
    async with open_queue_states(wrong, QueueStates(), Metrics()) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await client.wait_connected()
        with pytest.raises(PbxError):
            await client.action("Ping")
    assert not client.connected


async def test_a_lost_connection_comes_back_and_its_queues_are_known_again(office: Office) -> None:
    await office.client.action("Logoff")
    async with asyncio.timeout(SOON):
        while office.client.connected:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        await office.client.wait_connected()
    await office.until(lambda state: state.members == 1)
