"""A handoff's inbox: what happens to it, in order, bounded; room is kept for what may not be lost.

    minor: keys, reports                      dropped from half its capacity on
    vital: caller or agent is gone, a         never dropped; beyond its capacity nothing is put in
      deadline, the witness's end               that is waiting already
    answers of effects                        never dropped: there are no more than effects
    everything else                           dropped at its capacity
    questions                                 wait for room

What is dropped the owner counts.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, replace

from orchestrator.handoff.events import (
    AgentKey,
    AgentLost,
    CallerKey,
    CallerLeft,
    ContextAcked,
    DeadlinePassed,
    Event,
    WitnessEnded,
    WitnessReported,
)
from orchestrator.handoff.state import State

CAPACITY = 256


@dataclass(frozen=True, slots=True)
class Question:
    """An event whose asker waits for the state after it."""

    event: Event
    answer: asyncio.Future[State]


@dataclass(frozen=True, slots=True)
class Answer:
    """An event that an effect came to: with it the effect is no longer owed."""

    event: Event
    effect_id: str


Item = Event | Question | Answer | None
"""None: nothing has happened, the handoff looks whether it may leave."""


class Inbox:
    """One consumer takes, anybody puts."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._items: deque[Item] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Event | Answer) -> bool:
        """False: dropped."""
        if not isinstance(item, Answer) and not self._admits(item):
            return False
        self._append(item)
        return True

    def wake(self) -> None:
        """Has the consumer look; it does anyway while anything is waiting."""
        if not self._items:
            self._append(None)

    async def ask(self, question: Question) -> None:
        """Returns when it is put; a question finds room before it is put."""
        while len(self._items) >= self._capacity:
            self._room.clear()
            await self._room.wait()
        self._append(question)

    async def take(self) -> Item:
        while not self._items:
            self._news.clear()
            await self._news.wait()
        self._room.set()
        return self._items.popleft()

    def drain(self) -> list[Item]:
        """Everything that is waiting, taken at once."""
        items, self._items = list(self._items), deque()
        self._room.set()
        return items

    def _append(self, item: Item) -> None:
        self._items.append(item)
        self._news.set()

    def _admits(self, event: Event) -> bool:
        waiting = len(self._items)
        match event:
            case CallerLeft() | AgentLost() | DeadlinePassed() | WitnessEnded():
                return waiting < self._capacity or not self._waits(event)
            case AgentKey() | CallerKey() | ContextAcked() | WitnessReported():
                return waiting < self._capacity // 2
            case _:
                return waiting < self._capacity

    def _waits(self, event: Event) -> bool:
        """Whether the same is waiting already, however late."""
        timeless = replace(event, at=0.0)
        return any(
            type(item) is type(event) and replace(item, at=0.0) == timeless for item in self._items
        )
