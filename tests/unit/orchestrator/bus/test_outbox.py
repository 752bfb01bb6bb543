"""Context on its way out: at once, later in order, or counted as lost."""

from __future__ import annotations

from dataclasses import replace

import pytest
from orchestrator.bus.envelope import Envelope
from orchestrator.bus.outbox import Outbox
from orchestrator.errors import StoreError
from orchestrator.handoff.state import State
from orchestrator.model import Context, HandoffId

from tests.builders.handoffs import started
from tests.builders.virtual_time import LoopClock
from tests.fakes.handoff_ports import Counts


class Sink:
    """Keeps envelopes, or refuses them while `away`."""

    def __init__(self) -> None:
        self.away = False
        self.got: list[tuple[str, int]] = []

    async def append(self, envelope: Envelope) -> None:
        if self.away:
            raise StoreError("away")
        self.got.append((envelope.handoff_id, envelope.revision))


def state(handoff: str = "h1", revision: int = 1) -> State:
    driven = started(handoff_id=HandoffId(handoff)).state
    return replace(driven, context_revision=revision)


async def test_an_open_way_is_used_at_once() -> None:
    sink = Sink()
    await Outbox(sink, LoopClock(), Counts()).publish(state(), Context())
    assert sink.got == [("h1", 1)]


async def test_a_blocked_envelope_is_sent_later() -> None:
    sink, counts = Sink(), Counts()
    outbox = Outbox(sink, LoopClock(), counts)
    sink.away = True
    with pytest.raises(StoreError):
        await outbox.publish(state(), Context())
    sink.away = False
    await outbox.flush()
    assert sink.got == [("h1", 1)]
    assert counts["context_published_late"] == 1


async def test_a_later_revision_never_overtakes_an_earlier_one() -> None:
    sink = Sink()
    outbox = Outbox(sink, LoopClock(), Counts())
    sink.away = True
    with pytest.raises(StoreError):
        await outbox.publish(state(revision=1), Context())
    sink.away = False
    with pytest.raises(StoreError):
        await outbox.publish(state(revision=2), Context())
    await outbox.flush()
    assert sink.got == [("h1", 1), ("h1", 2)]


async def test_another_handoff_is_not_held_up() -> None:
    sink = Sink()
    outbox = Outbox(sink, LoopClock(), Counts())
    sink.away = True
    with pytest.raises(StoreError):
        await outbox.publish(state("h1"), Context())
    sink.away = False
    await outbox.publish(state("h2"), Context())
    assert sink.got == [("h2", 1)]


async def test_a_full_outbox_drops_the_oldest_and_counts_it() -> None:
    sink, counts = Sink(), Counts()
    outbox = Outbox(sink, LoopClock(), counts, capacity=2)
    sink.away = True
    for name in ("h1", "h2", "h3"):
        with pytest.raises(StoreError):
            await outbox.publish(state(name), Context())
    sink.away = False
    await outbox.flush()
    assert sink.got == [("h2", 1), ("h3", 1)]
    assert counts["context_dropped"] == 1
