"""What a call's AIs say to its agent alone (Speak with audience AGENT), in whole utterances.

It comes in pieces, from a worker that may die over it: an utterance with a hole is not said.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NewType

from orchestrator.handoff.ports import Sound, Tally

MOST_SECONDS = 30.0  # of all that waits
MOST_BEGUN = 16
STALL_SECONDS = 2.0  # an utterance that does not go on for so long will not
RATES = (8000, 16000)

Spoken = NewType("Spoken", tuple[int, str])
"""The place of an AI among those of the call, and its own id of an utterance."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Mono PCM_S16LE; `position`: samples of the utterance before it."""

    of: Spoken
    pcm: bytes
    rate: int
    position: int
    last: bool


@dataclass(frozen=True, slots=True, eq=False)
class Aside:
    """A whole utterance."""

    of: Spoken
    sound: Sound


@dataclass(slots=True)
class _Begun:
    rate: int
    pcm: bytearray = field(default_factory=bytearray)


class Asides:
    """Of one handoff. What is dropped is counted. One consumer takes what is whole."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._begun: dict[Spoken, _Begun] = {}
        self._whole: deque[Aside] = deque()
        self._told: list[Aside] = []  # to an agent, for the next one
        self._said: Aside | None = None  # now
        self._saying: asyncio.Timeout | None = None
        self._news = asyncio.Event()
        self._ended = False

    def add(self, piece: Piece) -> None:
        """The next piece of an utterance."""
        begun = self._begun.get(piece.of) or _Begun(piece.rate)
        follows = len(begun.pcm) == 2 * piece.position and begun.rate == piece.rate
        if not follows or piece.rate not in RATES or len(piece.pcm) % 2:
            self._begun.pop(piece.of, None)
            self._tally.count("agent_speech_broken")
            return
        self._begun[piece.of] = begun
        begun.pcm += piece.pcm
        if self._seconds > MOST_SECONDS or len(self._begun) > MOST_BEGUN:
            del self._begun[piece.of]
            self._tally.count("agent_speech_dropped")
        elif piece.last:
            del self._begun[piece.of]
            if begun.pcm:
                self._whole.append(Aside(piece.of, Sound(bytes(begun.pcm), begun.rate)))
        self._ended = False
        self._news.set()

    def clear(self, seat: int, utterances: Collection[str]) -> None:
        """Silences these of one AI, none named: all; also what is being said, or would be again."""

        def meant(spoken: Spoken) -> bool:
            return spoken[0] == seat and (not utterances or spoken[1] in utterances)

        self._begun = {of: begun for of, begun in self._begun.items() if not meant(of)}
        self._whole = deque(each for each in self._whole if not meant(each.of))
        self._told = [each for each in self._told if not meant(each.of)]
        if self._saying is not None and self._said is not None and meant(self._said.of):
            self._said = None  # a second clear finds it on its way out
            self._saying.reschedule(asyncio.get_running_loop().time())
        self._news.set()

    def forget(self) -> None:
        """Nobody is there any more to hear what waits."""
        self._begun.clear()
        self._whole.clear()

    def end(self) -> None:
        """The AI says nothing more: it is not waited for."""
        self._ended = True
        self._news.set()

    async def next(self, patience: float | None) -> Sound | None:
        """The next whole utterance. Waits `patience` seconds for one to begin, None = for ever;
        and for the end of one that has, as long as it goes on."""
        while not self._whole:
            if self._ended:
                return None
            self._news.clear()
            limit = STALL_SECONDS if self._begun else patience
            try:
                async with asyncio.timeout(limit):
                    await self._news.wait()
            except TimeoutError:
                if not self._begun:
                    return None
                self._tally.count("agent_speech_broken")
                self._begun.clear()
                patience = 0.0 if patience is not None else None
        self._said = self._whole.popleft()
        return self._said.sound

    def told(self) -> Iterator[Aside]:
        """What an agent was told who is gone, as far as it is not cleared meanwhile."""
        for aside in tuple(self._told):
            if aside in self._told:
                yield aside

    def tell_anew(self) -> None:
        """The next agent is told something else than the last one was."""
        self._told.clear()

    @asynccontextmanager
    async def saying(
        self, aside: Aside | None = None, *, again_to_the_next: bool = False
    ) -> AsyncIterator[None]:
        """Around the saying of `aside`, or of what `next` gave: left at once when it is cleared.

        `again_to_the_next`: it is kept for the next agent, as the first MOST_SECONDS are.
        """
        self._said = aside = aside or self._said
        told = sum(each.sound.seconds for each in self._told)
        if again_to_the_next and aside and told + aside.sound.seconds <= MOST_SECONDS:
            self._told.append(aside)
        scope = asyncio.timeout(None)
        self._saying = scope
        try:
            async with scope:
                yield
        except TimeoutError:
            if not scope.expired():
                raise
        finally:
            self._saying = self._said = None

    @property
    def _seconds(self) -> float:
        begun = sum(len(each.pcm) / 2 / each.rate for each in self._begun.values())
        return begun + sum(each.sound.seconds for each in self._whole)
