"""Forks of other workers that cannot be gone on with: nothing of them stays, and nobody else ends.

The ports have stand-ins here; that forks really move is tests/integration's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import grpc
import pytest
from siprec_worker.errors import NoPorts
from siprec_worker.net.lease import Dead
from siprec_worker.net.receiving import NotAdopted, Receiving, told_by
from siprec_worker.net.rescue import Rescue
from siprec_worker.protocol.sip.events import DialogState
from siprec_worker.session.identity import Identity
from siprec_worker.session.model import CallId, SessionId
from siprec_worker.session.stored_fork import StoredFork
from siprec_worker.telemetry import Metrics
from voicefork.worker.v1 import worker_pb2

FORK = StoredFork(
    DialogState(
        "a@b", "1", "2", "sip:a@b", "sip:a@b", "sip:a@b", (), 1, 1, "v=0\r\n",
        "tcp", "127.0.0.1", 5060,
    ),
    Identity(CallId("a"), "default", "in", "", "", "", {}),
    SessionId("s"), 0.0, "", "", (), (),
)  # fmt: skip
STATE = FORK.encode()


class Around:
    """Pool, lease, store and adoption in one."""

    worker_id = "w2"

    def __init__(self, claimed: list[Any] | None = None, fault: Exception | None = None) -> None:
        self.claimed = claimed or []
        self.fault = fault
        self.told: list[str] = []
        self.over: list[str] = []
        self.ends: list[tuple[str, str, str]] = []
        self.given_up = 0
        self.late_fault: Exception | None = None  # once the call is there
        self.forgotten: list[str] = []
        self.here: object | None = None
        self.leaves_after = 0  # looks at whether it is on its way
        self.since: float | None = None
        self.marked: list[object] = []
        self.begun, self.ended = asyncio.Event(), asyncio.Event()
        self.done: Callable[[int], None] = lambda status: None
        self.sip_call_id = "a@b"

    async def call(self, name: str, *_: object) -> list[Any]:
        self.told.append(name)
        claimed, self.claimed = self.claimed, []
        return [1200, *claimed]

    def healthy_for(self, _: float) -> float:
        return 10.0

    def arrived(self, *_: str) -> None: ...

    def is_over(self, name: str, _: int) -> None:
        self.over.append(name)
        self.ended.set()

    def begin(self, *given: Any) -> Around:
        if self.fault is not None:
            raise self.fault
        _, _, self.since, _, self.done = given
        self.begun.set()
        return self

    def missed(self, fork: StoredFork, reason: str) -> None:
        self.ends.append((fork.identity.call_id, fork.identity.tenant, reason))

    def give_up(self, _: object) -> None:
        self.given_up += 1

    def is_giving(self, _: str) -> bool:
        self.leaves_after -= 1
        if not self.leaves_after:
            self.here = None
        return self.leaves_after > 0

    def live(self, _: object) -> object | None:
        return self.here

    def mark(self, call: object) -> None:
        self.marked.append(call)
        self.ended.set()

    def take(self, *_: object) -> None:
        if self.late_fault is not None:
            raise self.late_fault

    def forget(self, name: str) -> None:
        self.forgotten.append(name)


def receiving(around: Any) -> Receiving:
    return Receiving(around, around, around, around, Metrics(), lambda: "")


async def rescued(around: Any) -> None:
    """A worker has died; until its fork is given up, which the rescue outlives."""
    rescue = Rescue(
        *(around, around, around, around, Metrics(), lambda: True, lambda call, why, now: None),
        grpc.aio.insecure_channel,
    )
    async with asyncio.TaskGroup() as group:
        task = group.create_task(rescue.run())
        rescue.found([Dead("w1", "")])
        await around.ended.wait()
        assert not task.done()
        task.cancel()


async def test_who_asked_and_is_gone_leaves_no_call_behind() -> None:
    around = Around()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(receiving(around).adopt(STATE, 1, "w1"))
        await around.begun.wait()
        task.cancel()
    assert (around.given_up, around.told) == (1, [])


async def test_a_client_that_refuses_leaves_no_call_behind() -> None:
    around = Around()

    async def refuse() -> None:
        await around.begun.wait()
        around.done(488)

    async with asyncio.TaskGroup() as group:
        group.create_task(refuse())
        with pytest.raises(NotAdopted) as refused:
            await receiving(around).adopt(STATE, 1, "w1")
    assert (refused.value.stays, refused.value.unsure) == (True, False)
    assert around.given_up == 1


@pytest.mark.parametrize(
    ("name", "state", "fault"),
    [
        (b"a@b", b"no stored fork", None),
        (b"a@b", None, OverflowError("cannot convert float infinity to integer")),
        (b"\xff@b", None, TypeError("a CSeq that is none")),
    ],
)
async def test_a_fork_that_cannot_be_used_ends_alone(
    name: bytes, state: bytes | None, fault: Exception | None
) -> None:
    around: Any = Around([name, 2, state or STATE], fault)
    await rescued(around)
    assert around.over == [name.decode(errors="replace")]


async def test_who_knows_of_a_fork_that_cannot_be_adopted_is_told_that_it_is_over() -> None:
    around: Any = Around([b"a@b", 2, STATE], NoPorts("no port is free"))
    await rescued(around)
    assert around.ends == [("a", "default", "not adopted: no port is free")]


async def test_who_knows_of_a_fork_that_is_given_up_for_a_fault_of_ours_is_told_too() -> None:
    around: Any = Around([b"a@b", 2, STATE], TypeError("a CSeq that is none"))
    await rescued(around)
    assert around.ends == [("a", "default", "not adopted: TypeError")]


async def test_a_fault_after_the_call_was_begun_leaves_none_behind() -> None:
    around: Any = Around([b"a@b", 2, STATE])
    around.late_fault = KeyError("a leg that nobody knows")
    await rescued(around)
    assert (around.forgotten, around.given_up, around.over) == (["a@b"], 1, ["a@b"])
    assert around.ends == [("a", "default", "not adopted: KeyError")]


def test_a_former_workers_word_without_a_state_that_can_be_read_leaves_what_it_said_at_first() -> (
    None
):
    assert told_by(worker_pb2.CarryOnRequest(call_id="a")).fork is None  # an older worker
    assert told_by(worker_pb2.CarryOnRequest(call_state=b"no stored fork")).fork is None
    newest = told_by(worker_pb2.CarryOnRequest(call_state=STATE)).fork
    assert newest is not None
    assert newest.encode() == STATE


async def test_a_fork_of_a_dead_worker_that_lives_here_already_is_kept_in_redis() -> None:
    around: Any = Around([b"a@b", 2, STATE])
    around.here = object()
    await rescued(around)
    assert (around.marked, around.over) == ([around.here], [])


async def test_a_fork_that_we_were_giving_to_the_dead_worker_is_adopted_once_it_has_left() -> None:
    around: Any = Around([b"a@b", 2, STATE], NoPorts("so that the test ends"))
    around.here, around.leaves_after = object(), 3
    await rescued(around)
    assert (around.marked, around.leaves_after, around.over) == ([], 0, ["a@b"])


async def test_what_a_dead_worker_had_not_said_of_a_fork_that_came_to_it_is_told_as_missing() -> (
    None
):
    around: Any = Around([b"a@b", 2, replace(FORK, unsaid_from=1.5).encode()])
    around.late_fault = KeyError("so that the test ends")
    await rescued(around)
    assert around.since == 1.5
