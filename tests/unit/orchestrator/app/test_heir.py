"""What a replica that is gone has left on a node goes on, each call by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

from orchestrator.app.heir import Heir
from orchestrator.ari.client import Place
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

    async def of_slot(self, app: str) -> Sequence[object]:
        return self._records

    async def forget(self, app: str, calls: Sequence[str]) -> None: ...


def heir_of(book: OldBook, stage: Stage, registry: Registry) -> Heir:
    client = Listing([CALLER])
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
