"""What is written of a fork while it is on its way to another worker: nothing."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from siprec_worker.net import fork_store
from siprec_worker.net.fork_store import ForkStore
from siprec_worker.telemetry import Metrics

KEY = "a@b"


class Refusing:
    """A pool in which every fork is another worker's."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.meanwhile: Callable[[], None] = lambda: None

    async def call(self, name: str, *_: object) -> int:
        self.told.append(name)
        self.meanwhile()
        return 0


class Store:
    """A store with one fork of ours, and which of its forks it takes for lost."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        state = SimpleNamespace(encode=bytes)
        monkeypatch.setattr(fork_store, "stored_fork", lambda call, dialog: state)
        pool: Any = Refusing()
        call: Any = SimpleNamespace(
            sip_call_id=KEY, confirmed=True, suspended=False, ended_reason="", dialog_id="d"
        )
        dialog: Any = object()
        self.pool, self.call = pool, call
        self.lost: list[Any] = []
        self.store = ForkStore(pool, "w1", lambda _: dialog, Metrics())
        self.store.on_lost = self.lost.append
        self.store.take(call, 1)


@pytest.fixture
def one(monkeypatch: pytest.MonkeyPatch) -> Store:
    return Store(monkeypatch)


async def test_a_change_of_a_fork_on_its_way_is_not_written_nor_the_fork_taken_for_lost(
    one: Store,
) -> None:
    assert one.store.give(KEY) == 1
    one.store.mark(one.call)
    await one.store.write_all()
    assert (one.pool.told, one.lost) == ([], [])


async def test_nor_when_a_beat_has_said_that_its_heir_has_it(one: Store) -> None:
    one.store.give(KEY)
    one.store.lost([KEY])
    one.store.mark(one.call)
    await one.store.write_all()
    assert (one.pool.told, one.lost) == (["vf_end"], [])  # says that we know


async def test_a_fork_that_is_taken_back_is_written_again(one: Store) -> None:
    one.store.take(one.call, one.store.give(KEY))
    one.store.mark(one.call)
    await one.store.write_all()
    assert one.pool.told[0] == "vf_put"
    assert one.lost == [one.call]


async def test_a_fork_that_is_claimed_while_an_older_write_of_it_is_refused_is_not_lost(
    one: Store,
) -> None:
    one.pool.meanwhile = lambda: one.store.take(one.call, 3)
    assert await one.store.write(one.call)
    await one.store.write_all()
    assert (one.pool.told, one.lost, one.store.fence_of(KEY)) == (["vf_put"], [], 3)
