"""After a break in the PBX's events: who has gone, who was left behind, who must not be touched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import pytest
from orchestrator.app import node as node_module
from orchestrator.app.callers import Callers
from orchestrator.app.node import Node
from orchestrator.ari.client import AriClient, Place
from orchestrator.ari.events import Bridge, Channel, Dial, PlaybackFinished, StasisStart
from orchestrator.ari.pbx import AriPbx
from orchestrator.fleet.call import EnteredCall, Tenant
from orchestrator.fleet.effects import Farewell
from orchestrator.handoff.registry import Registry
from orchestrator.model import CallId, ChannelId, Handoff, Limits, Phase

from tests.builders.handoffs import ALICE
from tests.builders.running import Lab, running
from tests.builders.virtual_time import eventually
from tests.fakes.telephony import Phone
from tests.unit.orchestrator.fleet.surroundings import Stage, open_stage

APP = "voicefork-0"
CALL = EnteredCall(CallId("c1"), Tenant("default"), "ch1", "ulaw")
CALLER = Channel("ch1", state="Up", app_data=f"{APP},inbound")


class Listing(AriClient):
    """Lists what it is given, says yes to the rest, and remembers what was asked of it."""

    def __init__(self, channels: list[Channel], bridges: list[Bridge] | None = None) -> None:
        super().__init__(cast(Any, self), APP)
        self.listed = channels
        self.standing = bridges or []
        self.asked: list[str] = []
        self.meanwhile: asyncio.Task[None] | None = None

    async def request(self, method: str, *path: str, **_: object) -> object:
        self.asked.append(f"{method} {'/'.join(path)}")
        return None

    async def channels(self) -> list[Channel]:
        await asyncio.sleep(0)
        return self.listed

    async def bridges(self) -> list[Bridge]:
        for _ in range(20):  # long enough for a call to come in
            await asyncio.sleep(0)
        return self.standing


class Door(AriPbx):
    """Nobody asks who a channel is: every caller is the first call's, and so is "bot-1"."""

    def hosted_call(self, channel_id: str) -> str | None:
        return "c1" if channel_id == "bot-1" else None

    def replace_leg(self, old: str, new: str) -> str | None:
        return self.hosted_call(old)

    async def identity(self, channel_id: str, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple("c1" if "CALL" in name.upper() else "" for name in names)


@asynccontextmanager
async def node_of(
    client: Listing, registry: Registry | None = None
) -> AsyncIterator[tuple[Node, Stage]]:
    pbx = Door(client, queue=Place("q", "s"), music_class="", ring_tone="", limit=1.0)
    async with open_stage() as stage, running() as lab:
        yield Node(client, pbx, stage.calls, registry or lab.registry, Callers()), stage


async def test_a_caller_who_is_gone_has_hung_up() -> None:
    async with node_of(Listing([])) as (node, stage):
        stage.calls.enter(CALL)
        await stage.workers.attached.get()
        await node.compare()
        assert await stage.workers.detached.get() is Farewell.CALL_ENDED


async def test_a_caller_who_came_in_while_the_lists_were_made_has_not_hung_up() -> None:
    async with node_of(Listing([])) as (node, stage):
        comparing = asyncio.ensure_future(node.compare())
        await asyncio.sleep(0)
        stage.calls.enter(CALL)
        await comparing
        await stage.workers.attached.get()
        assert stage.workers.detached.empty()
        assert stage.calls.view(CALL.call_id) is not None


async def test_a_caller_who_is_just_being_met_is_no_orphan() -> None:
    async with node_of(Listing([CALLER])) as (node, stage):
        node.heard(StasisStart(CALLER, ("inbound",)))
        await node.compare()
        await stage.workers.attached.get()
        assert "queue ch1" not in stage.pbx.asked


@pytest.mark.parametrize(("owner", "marked"), [("", True), (APP, False)])
async def test_a_claimed_caller_is_marked_as_ours_once_it_is_here(owner: str, marked: bool) -> None:
    client = Listing([CALLER])
    caller = replace(CALLER, variables=(("VOICEFORK_APP", owner),))
    async with node_of(client) as (node, stage):
        node.heard(StasisStart(caller, ("inbound",)))
        await stage.workers.attached.get()
    assert ("POST channels/ch1/variable" in client.asked) is marked


async def test_a_bot_that_has_transferred_the_caller_and_stays_is_hung_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(node_module, "BYE_SECONDS", 0.0)
    client = Listing([])
    async with node_of(client) as (node, _):
        node.heard(StasisStart(Channel("local-1"), replaces="bot-1"))
        await eventually(lambda: "DELETE channels/bot-1" in client.asked)


async def test_the_bridge_of_a_call_that_is_just_being_made_is_kept() -> None:
    client = Listing([CALLER], [Bridge("vf-c1", f"{APP} c1", ())])
    async with node_of(client) as (node, stage):
        stage.calls.enter(CALL)
        await node.compare()
        assert "DELETE bridges/vf-c1" not in client.asked


async def test_a_caller_whom_a_lost_handoff_left_in_the_music_goes_to_the_queue_first() -> None:
    hold = Bridge("vf-h9-hold", f"{APP} vf-h9-hold", ("ch1",))
    client = Listing([CALLER], [hold])
    async with node_of(client) as (node, _):
        await node.compare()
        music, queue, gone = (
            client.asked.index(step)
            for step in (
                "POST channels/ch1/moh",
                "POST channels/ch1/continue",
                "DELETE bridges/vf-h9-hold",
            )
        )
        assert music < queue < gone


async def test_the_end_of_a_phrase_that_the_pbx_plays_is_what_the_agent_waits_for() -> None:
    waits = Limits(phrase=60.0)  # longer than `until` does
    async with running(phrases={"*": "sound:moment"}, limits=waits) as lab:
        handoff = await lab.escalate()
        await lab.until(handoff, lambda change: change.phase is Phase.ACCEPTED)
        async with node_of(Listing([]), lab.registry) as (node, _):
            node.heard(PlaybackFinished("vf-h1-phrase", "channel:ch1"))
            await lab.until(handoff, lambda change: change.phase is Phase.CONNECTED)


@pytest.mark.parametrize("agent_stays", [True, False])
async def test_an_agent_who_left_during_the_break_ends_the_conversation(agent_stays: bool) -> None:
    async with running() as lab:
        handoff = await lab.escalate()
        await lab.until(handoff, lambda change: change.phase is Phase.CONNECTED)
        agent = ChannelId("vf-h1-agent-1")
        client = Listing([Channel(agent)] if agent_stays else [])
        async with node_of(client, lab.registry) as (node, _):
            await node.compare()
            if agent_stays:
                await asyncio.sleep(0.1)
            else:
                await eventually(lambda: f"hang_up {lab.place.caller}" in lab.pbx.steps)
            assert (f"hang_up {lab.place.caller}" in lab.pbx.steps) is not agent_stays


AGENT = ChannelId("vf-h1-agent-1")


async def ringing(lab: Lab) -> Handoff:
    lab.pbx.phones[ALICE] = Phone(answers=False)
    handoff = await lab.escalate()
    return await lab.until(handoff, lambda change: change.phase is Phase.CALLER_HELD)


async def test_an_agents_phone_is_ours_before_it_is_answered() -> None:
    async with running() as lab:
        handoff = await ringing(lab)
        async with node_of(Listing([]), lab.registry) as (node, _):
            node.heard(StasisStart(Channel(AGENT, state="Down"), ("agent",)))
            node.heard(Dial(Channel(AGENT, state="Ringing"), "RINGING"))
            await lab.until(handoff, lambda change: change.phase is Phase.RINGING)
            node.heard(Dial(Channel(AGENT, state="Up"), "ANSWER"))
            await lab.until(handoff, lambda change: change.phase is Phase.ACCEPTED)


async def test_a_phone_that_was_dialled_for_nobody_is_hung_up_before_it_is_answered() -> None:
    client = Listing([])
    async with running() as lab, node_of(client, lab.registry) as (node, _):
        node.heard(StasisStart(Channel("vf-h9-agent-1", state="Down"), ("agent",)))
        await eventually(lambda: "DELETE channels/vf-h9-agent-1" in client.asked)


async def test_an_agent_who_answered_during_the_break_is_heard_of_after_it() -> None:
    async with running() as lab:
        handoff = await ringing(lab)
        async with node_of(Listing([Channel(AGENT, state="Up")]), lab.registry) as (node, _):
            await node.compare()
            await lab.until(handoff, lambda change: change.phase is Phase.ACCEPTED)
