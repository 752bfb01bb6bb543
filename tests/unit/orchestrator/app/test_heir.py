"""What a replica that is gone has left on a node goes on, each call by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from orchestrator.app.heir import Heir
from orchestrator.ari.client import Place
from orchestrator.ari.events import Channel
from orchestrator.fleet.book import CallBook, Record
from orchestrator.fleet.states import Talking
from orchestrator.handoff.registry import Registry

from tests.builders.running import running
from tests.unit.orchestrator.app.test_node import APP, CALL, CALLER, Door, Listing
from tests.unit.orchestrator.fleet.surroundings import FORK, Stage, open_stage


class OldBook:
    """Of a replica that is gone."""

    def __init__(self, *records: object) -> None:
        self._records = records
        self.forgotten: list[str] = []

    async def of_slot(self, app: str) -> Sequence[object]:
        return self._records

    async def forget(self, app: str, calls: Sequence[str]) -> None:
        self.forgotten.extend(calls)


class Permission:
    """Given a number of times; then another replica has the slot."""

    def __init__(self, times: int) -> None:
        self._left = times

    async def __call__(self) -> bool:
        self._left -= 1
        return self._left >= 0


def heir_of(book: OldBook, stage: Stage, registry: Registry, client: Listing | None = None) -> Heir:
    client = client or Listing([CALLER])
    pbx = Door(client, queue=Place("q", "s"), music_class="", ring_tone="", limit=1.0)
    return Heir(client, pbx, stage.calls, registry, cast(CallBook, cast(Any, book)), "")


async def test_a_call_that_cannot_be_adopted_costs_no_other() -> None:
    nobodys = SimpleNamespace(node="", call_id="c0", channel_id="ch0")  # and no tenant's
    book = OldBook(SimpleNamespace(call=nobodys), Record(CALL, Talking(FORK)))
    async with open_stage() as stage, running() as lab:
        assert await heir_of(book, stage, lab.registry).take_over(APP) == 2
        assert stage.calls.knows_channel("ch1")


async def test_a_call_that_was_adopted_before_goes_on() -> None:
    book = OldBook(Record(CALL, Talking(FORK)))
    async with open_stage() as stage, running() as lab:
        stage.calls.enter(CALL)
        await stage.workers.attached.get()
        await heir_of(book, stage, lab.registry).take_over("voicefork-9")
        for _ in range(20):
            await asyncio.sleep(0)
        assert stage.workers.detached.empty()
        assert stage.calls.knows_channel("ch1")


def theirs(app: str) -> Channel:
    """The caller as a channel in that application."""
    return replace(CALLER, app_data=f"{app},inbound")


async def test_a_call_that_another_heir_has_brought_home_is_left_to_it() -> None:
    book, client = OldBook(Record(CALL, Talking(FORK))), Listing([theirs("voicefork-2")])
    async with open_stage() as stage, running() as lab:
        await heir_of(book, stage, lab.registry, client).take_over("voicefork-9")
        assert not stage.calls.knows_channel("ch1")
        assert client.asked == []


@pytest.mark.parametrize("times", range(8))
async def test_an_heir_that_was_replaced_touches_nothing_more(times: int) -> None:
    book, client = OldBook(Record(CALL, Talking(FORK))), Listing([theirs("voicefork-9")])
    async with open_stage() as stage, running() as lab:
        heir = heir_of(book, stage, lab.registry, client)
        await heir.take_over("voicefork-9", Permission(times))
        for _ in range(20):
            await asyncio.sleep(0)
        brought = "POST channels/ch1/move" in client.asked
        assert stage.calls.knows_channel("ch1") is brought
        assert brought is (times >= 3)
        assert stage.workers.detached.empty()
        assert book.forgotten == ([CALL.call_id] if times >= 7 else [])


class Playing(Listing):
    """The caller hears something: what is set on the channel is answered after that."""

    async def set_variable(
        self, channel_id: str, name: str, value: str, *, aside: bool = False
    ) -> None:
        self.asked.append(f"variable {channel_id} {'aside' if aside else ''}".rstrip())
        await asyncio.sleep(3600)


async def test_a_caller_who_is_told_something_is_adopted_for_all_that() -> None:
    book, client = OldBook(Record(CALL, Talking(FORK))), Playing([theirs("voicefork-9")])
    async with open_stage() as stage, running() as lab:
        heir = heir_of(book, stage, lab.registry, client)
        await heir.take_over("voicefork-9")
        assert client.asked.index("variable ch1 aside") < client.asked.index(
            "POST channels/ch1/move"
        )
        assert stage.calls.knows_channel("ch1")
