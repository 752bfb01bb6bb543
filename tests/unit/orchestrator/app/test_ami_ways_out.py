"""What a node without Stasis tells of a caller who is called for, or asked, by its dialplan."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from orchestrator.app.ami_listing import Listed
from orchestrator.handoff.names import agent_channel
from orchestrator.model import (
    DialplanEntry,
    Fallback,
    Handoff,
    HandoffId,
    Menu,
    Outcome,
    Phase,
)
from orchestrator.routing.table import RoutingTable, Treatment

from tests.builders.handoffs import BOB
from tests.builders.running import CALL
from tests.builders.virtual_time import eventually
from tests.fakes.handoff_ports import FakeStore
from tests.fakes.telephony import Phone
from tests.unit.orchestrator.app.ami_house import (
    CALLER,
    QUEUED,
    WITH_BOT,
    House,
    driving,
    event,
    gave_up,
)

WAYS = (Fallback.BACKUP_CENTRE, Fallback.HOLDING_MENU, Fallback.VOICEMAIL)
AWAY = Treatment(
    queue="support",
    backup=BOB,
    menu=Menu("sound:menu", {"2": Fallback.VOICEMAIL}),
    voicemail=DialplanEntry("mail", "2000"),
    fallbacks=WAYS,
)


@asynccontextmanager
async def calling_the_centre(
    monkeypatch: pytest.MonkeyPatch, store: FakeStore | None = None
) -> AsyncIterator[tuple[House, str]]:
    """And the name of who is called."""
    async with driving(monkeypatch, store or FakeStore()) as house:
        house.lab.table = RoutingTable(AWAY)
        house.lab.pbx.phones[BOB] = Phone(answers=False)
        house.lists.append(lambda: [WITH_BOT])
        await house.connect()
        handoff = await house.in_queue()
        house.site.heard(gave_up())
        agent = agent_channel(handoff.handoff_id, 1)
        await eventually(lambda: f"dial {agent}" in " ".join(house.lab.pbx.steps))
        yield house, agent


async def told(house: House, phase: Phase) -> Handoff:
    handoff = HandoffId(house.lab.registry.in_progress(CALL) or "")
    known, _ = await house.lab.registry.get(handoff, "acme")
    return await house.lab.until(known, lambda change: change.phase is phase)


async def test_the_calls_of_the_dialplan_are_those_of_the_handoff(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with calling_the_centre(monkeypatch) as (house, _):
        house.site.heard(event("DialState", Uniqueid=CALLER, DialStatus="RINGING"))
        await told(house, Phase.RINGING)
        house.site.heard(event("BridgeEnter", Uniqueid=CALLER))
        assert (await told(house, Phase.CONNECTED)).outcome is Outcome.BACKUP_CENTRE


async def test_a_phone_that_rings_just_while_its_caller_is_adopted_is_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = FakeStore()
    async with calling_the_centre(monkeypatch, store) as (dead, agent):
        await eventually(lambda: agent in dead.lab.pbx.up)
    async with driving(monkeypatch, store) as heir:

        def told_meanwhile() -> list[Listed]:
            heir.site.heard(event("DialState", Uniqueid=CALLER, DialStatus="RINGING"))
            return [replace(QUEUED, context="voicefork-dial", extension=agent)]

        heir.lists.append(told_meanwhile)
        await heir.connect()
        assert (await told(heir, Phase.RINGING)).target == BOB


async def test_who_was_not_reached_is_followed_by_the_menu_and_its_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with calling_the_centre(monkeypatch) as (house, agent):
        house.site.heard(event("DialState", Uniqueid=CALLER, DialStatus="RINGING"))
        house.site.heard(gave_up(queue=agent, status="CHANUNAVAIL", cause="21"))
        assert (await told(house, Phase.FALLBACK)).outcome is Outcome.DECLINED
        key = {"UserEvent": "VoiceforkKey", "Caller": CALLER, "Key": "2"}
        house.site.heard(event("UserEvent", **key))
        await eventually(lambda: house.lab.pbx.in_dialplan.get(CALLER) == AWAY.voicemail)


async def test_an_end_that_is_told_late_ends_no_menu(monkeypatch: pytest.MonkeyPatch) -> None:
    async with calling_the_centre(monkeypatch) as (house, agent):
        house.site.heard(gave_up(queue=agent, status="BUSY"))
        menu = await told(house, Phase.FALLBACK)
        house.site.heard(gave_up(queue=agent, status="NOANSWER"))
        key = {"UserEvent": "VoiceforkKey", "Caller": CALLER, "Key": "2"}
        house.site.heard(event("UserEvent", **key))
        outcomes = set()
        async for change in house.lab.registry.follow(menu.handoff_id, 0, menu.tenant):
            outcomes.add(change.outcome)
            if change.phase is Phase.QUEUED:
                break
    assert Outcome.VOICEMAIL in outcomes
    assert Outcome.TIMED_OUT not in outcomes


async def test_a_menu_of_which_the_dialplan_has_had_enough_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with calling_the_centre(monkeypatch) as (house, agent):
        house.site.heard(gave_up(queue=agent, status="BUSY"))
        assert (await told(house, Phase.FALLBACK)).outcome is Outcome.BUSY
        house.site.heard(gave_up(queue="menu"))
        await eventually(lambda: house.lab.pbx.in_dialplan.get(CALLER) == AWAY.voicemail)
