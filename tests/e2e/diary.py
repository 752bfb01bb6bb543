"""What a tone agent wrote about its calls (tests/fakes/tone_agent.py)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from voicefork_cli.lab.ours import Service

from tests.fakes.tone_agent import WINDOW_MS

Line = dict[str, Any]
WAIT_SECONDS = 20.0


class Diary:
    """The lines of one agent; `began` marks where a test comes in."""

    def __init__(self, agent: Service) -> None:
        self._agent = agent
        self._read = len(self._lines())

    def _lines(self) -> list[Line]:
        text = self._agent.program.log_text()
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def of(self, event: str) -> list[Line]:
        """The lines of that kind since the test began."""
        return [line for line in self._lines()[self._read :] if line["event"] == event]

    async def wait_for(self, event: str, check: Callable[[Line], bool] = lambda _: True) -> Line:
        """The first such line; fails with the log's end after WAIT_SECONDS."""

        async def found() -> Line | None:
            return next((line for line in self.of(event) if check(line)), None)

        return await self._agent.program.wait_until(found, WAIT_SECONDS)

    def tones_of(self, leg: str) -> list[frozenset[int]]:
        """Per window, what was heard on a leg."""
        return [frozenset(map(int, line["hz"])) for line in self.of("heard") if line["leg"] == leg]

    async def wait_for_seconds_of(self, leg: str, seconds: float) -> None:
        """Until so much of that leg was heard."""
        wanted = round(seconds * 1000 / WINDOW_MS)

        async def heard() -> bool | None:
            return len(self.tones_of(leg)) >= wanted or None

        await self._agent.program.wait_until(heard, WAIT_SECONDS)
