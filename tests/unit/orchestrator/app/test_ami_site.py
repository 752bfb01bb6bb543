"""A node without Stasis as its driver sees it: who is listed, what comes meanwhile, who lets go."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from orchestrator.app import ami_site
from orchestrator.app.ami_listing import Listed
from orchestrator.app.dialplan import Dialplan
from orchestrator.ari import ami_pbx
from orchestrator.ari.ami import AmiClient
from orchestrator.ari.ami_pbx import PLACES
from orchestrator.ari.ami_wire import AmiMessage
from orchestrator.errors import PbxError, Unreachable
from orchestrator.fleet.guard import SETTLE_SECONDS
from orchestrator.model import (
    DialplanEntry,
    Outcome,
    Phase,
)
from orchestrator.telemetry import Metrics

from tests.builders.running import CALL
from tests.builders.virtual_time import eventually
from tests.fakes.handoff_ports import FakeStore
from tests.unit.orchestrator.app.ami_house import (
    CALLER,
    QUEUED,
    WITH_BOT,
    Memory,
    driving,
    event,
    gave_up,
)

# --- while callers are listed and adopted ---------------------------------------------------------


@pytest.mark.parametrize(
    ("early", "outcome"),
    [
        (event("Hangup", Uniqueid=CALLER), Outcome.CALLER_HUNG_UP),
        (event("BridgeEnter", Uniqueid=CALLER), Outcome.CONNECTED),
        (gave_up(), Outcome.NO_ANSWER),
    ],
    ids=lambda it: it.event if isinstance(it, AmiMessage) else it.name,
)
async def test_what_is_told_of_a_caller_who_is_just_being_adopted_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, early: AmiMessage, outcome: Outcome
) -> None:
    store = FakeStore()
    async with driving(monkeypatch, store) as dead:
        handoff = await dead.in_queue()
    async with driving(monkeypatch, store) as heir:

        def told_meanwhile() -> list[Listed]:
            heir.site.heard(early)  # the reader is ahead of whoever waits for the list
            return [QUEUED]

        heir.lists.append(told_meanwhile)
        await heir.connect()
        last = await heir.lab.until(handoff, lambda change: change.outcome is outcome)
        assert last.handoff_id == handoff.handoff_id


async def test_a_stranger_whom_a_queue_gives_up_meanwhile_is_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with driving(monkeypatch, FakeStore()) as house:
        sent: list[str] = []

        async def redirect(_: AmiClient, channel: str, __: DialplanEntry) -> None:
            sent.append(channel)

        monkeypatch.setattr(ami_site, "redirect", redirect)

        def told_meanwhile() -> list[Listed]:
            house.site.heard(gave_up("9.9"))
            assert not sent
            return []

        house.lists.append(told_meanwhile)
        await house.connect()
        await eventually(lambda: sent == ["9.9"])


async def test_a_node_that_does_not_list_its_callers_at_once_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with driving(monkeypatch, FakeStore()) as house:

        def busy() -> list[Listed]:
            raise Unreachable("AMI", "Status", 0, "no answer")

        house.lists += [busy, lambda: [WITH_BOT]]
        await house.connect()
        assert house.stage.calls.call_of(CALLER) == CALL


async def test_callers_are_known_although_the_queues_cannot_be_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with driving(monkeypatch, FakeStore()) as house:

        async def refused(_: AmiClient) -> None:
            raise PbxError("AMI", "QueueStatus", 400, "Invalid/unknown command")

        monkeypatch.setattr(house.site.queues, "look", refused)
        house.lists.append(lambda: [WITH_BOT])
        with pytest.raises(PbxError):
            await house.connect()
        assert house.stage.calls.call_of(CALLER) == CALL


async def test_where_callers_go_after_a_queue_is_asked_of_the_node_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with driving(monkeypatch, FakeStore()) as house:
        house.site.dialplan = Dialplan(list, Metrics())

        async def holds(_: AmiClient, places: Sequence[DialplanEntry]) -> Sequence[bool | None]:
            assert places == PLACES
            return (True,) * len(places)

        monkeypatch.setattr(ami_site, "dialplan_holds", holds)
        house.lists.append(list)
        await house.connect()
        assert house.site.dialplan.has("asterisk", ami_pbx.OVER)


async def test_who_hangs_up_while_nobody_drives_the_node_leaves_no_handoff_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, memory = FakeStore(), Memory()
    async with driving(monkeypatch, store, memory) as dead:
        dead.lists.append(lambda: [WITH_BOT])
        await dead.connect()
        handoff = await dead.in_queue()
        dead.site._in_the_dialplan(CALLER)
        await eventually(lambda: memory.callers)
    async with driving(monkeypatch, store, memory) as heir:
        heir.lists.append(list)
        await heir.connect()
        last = await heir.lab.settled(handoff)
        assert last.outcome is Outcome.CALLER_HUNG_UP
        assert not memory.callers


async def test_who_hangs_up_is_no_longer_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory()
    async with driving(monkeypatch, FakeStore(), memory) as house:
        house.lists.append(lambda: [WITH_BOT])
        await house.connect()
        house.site._in_the_dialplan(CALLER)
        await eventually(lambda: memory.callers == {CALLER: ("acme", CALL)})
        house.site.heard(event("Hangup", Uniqueid=CALLER))
        await eventually(lambda: not memory.callers)


# --- what fell between a death and the adoption ---------------------------------------------------

GIVEN_UP = replace(
    QUEUED,
    context="voicefork-queue-ended",
    extension="support",
    application="MusicOnHold",
    status="FULL",
)
OVER = replace(GIVEN_UP, context="voicefork-queue-over", extension="s", application="Playback")


@pytest.mark.parametrize("where", [GIVEN_UP, OVER], ids=lambda it: it.context)
async def test_the_end_of_a_queue_that_nobody_heard_is_read_from_where_the_caller_is(
    monkeypatch: pytest.MonkeyPatch, where: Listed
) -> None:
    store = FakeStore()
    async with driving(monkeypatch, store) as dead:
        handoff = await dead.in_queue()
    async with driving(monkeypatch, store) as heir:
        heir.lists.append(lambda: [where])
        await heir.connect()
        await heir.lab.until(handoff, lambda change: change.outcome is Outcome.QUEUE_FULL)


async def test_an_end_that_is_told_and_listed_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    store = FakeStore()
    async with driving(monkeypatch, store) as dead:
        handoff = await dead.in_queue()
    async with driving(monkeypatch, store) as heir:
        sent: list[str] = []

        async def redirect(_: AmiClient, channel: str, __: DialplanEntry) -> None:
            sent.append(channel)

        monkeypatch.setattr(ami_site, "redirect", redirect)
        heir.lists.append(lambda: [GIVEN_UP])
        await heir.connect()
        heir.lab.pbx.slow["continue"] = asyncio.Event()
        await heir.lab.until(handoff, lambda change: change.outcome is Outcome.QUEUE_FULL)
        heir.site.heard(gave_up(status="FULL"))
        assert heir.lab.registry.in_progress(CALL)
        heir.lab.pbx.slow["continue"].set()
        await heir.lab.settled(handoff)
        assert not sent


async def test_who_is_in_the_dialplans_own_goodbye_is_nobodys_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with driving(monkeypatch, FakeStore()) as house:
        sent: list[str] = []

        async def redirect(_: AmiClient, channel: str, __: DialplanEntry) -> None:
            sent.append(channel)

        monkeypatch.setattr(ami_site, "redirect", redirect)
        house.lists.append(lambda: [OVER])
        await house.connect()
        assert not sent


# --- another replica drives the node --------------------------------------------------------------


@pytest.mark.parametrize("before", [None, 0, 4])
async def test_a_new_driver_looks_at_the_callers_once_its_fence_has_been_written_for_a_while(
    monkeypatch: pytest.MonkeyPatch, before: int | None
) -> None:
    """None: the node did not answer. 0: there is none, of a driver that did not know its own."""
    written: list[int] = []

    async def read(_: AmiClient) -> int | None:
        return before

    async def write(_: AmiClient, fence: int) -> None:
        written.append(fence)

    monkeypatch.setattr(ami_site, "written_fence", read)
    monkeypatch.setattr(ami_site, "write_fence", write)
    async with driving(monkeypatch, FakeStore()) as house:
        house.site._guard.fence = 5
        house.site._guard._confirmed = math.inf
        loop, looked_at = asyncio.get_running_loop(), 0.0

        def look() -> list[Listed]:
            nonlocal looked_at
            looked_at = loop.time()
            return []

        house.lists.append(look)
        begun = loop.time()
        await house.connect()
        assert written == [5]
        assert looked_at - begun > SETTLE_SECONDS / 2


async def test_who_lost_the_node_keeps_neither_its_calls_nor_its_handoffs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with driving(monkeypatch, FakeStore()) as house:
        house.lists.append(lambda: [WITH_BOT])
        await house.connect()
        handoff = await house.in_queue()
        before = list(house.lab.pbx.steps)
        house.site._forget()
        await eventually(lambda: not house.lab.registry.busy)
        assert len(house.stage.calls) == 0
        assert house.lab.pbx.steps == before
        assert house.lab.counts["handoff_fenced"] == 1
        stored, _ = await house.lab.registry.get(handoff.handoff_id, "acme")
        assert stored.phase is Phase.DIALLING
        # It comes back to us, as it would come to anybody.
        house.lists.append(lambda: [QUEUED])
        await house.connect()
        house.site.heard(event("BridgeEnter", Uniqueid=CALLER))
        await house.lab.until(handoff, lambda change: change.phase is Phase.CONNECTED)
