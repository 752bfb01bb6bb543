"""What a replica that is gone has left on a node goes on, each call by itself."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

from orchestrator.app.heir import Heir
from orchestrator.ari.client import Place
from orchestrator.fleet.book import CallBook, Record
from orchestrator.fleet.states import Talking

from tests.builders.running import running
from tests.unit.orchestrator.app.test_node import APP, CALL, CALLER, Door, Listing
from tests.unit.orchestrator.fleet.surroundings import FORK, open_stage


class OldBook:
    """Of a replica that is gone."""

    def __init__(self, *records: object) -> None:
        self._records = records

    async def of_slot(self, app: str) -> Sequence[object]:
        return self._records


async def test_a_call_that_cannot_be_adopted_costs_no_other() -> None:
    nobodys = SimpleNamespace(node="", call_id="c0", channel_id="ch0")  # and no tenant's
    book = OldBook(SimpleNamespace(call=nobodys), Record(CALL, Talking(FORK)))
    client = Listing([CALLER])
    pbx = Door(client, queue=Place("q", "s"), music_class="", ring_tone="", limit=1.0)
    async with open_stage() as stage, running() as lab:
        heir = Heir(client, pbx, stage.calls, lab.registry, cast(CallBook, cast(Any, book)), "")
        assert await heir.take_over(APP) == 2
        assert stage.calls.knows_channel("ch1")
