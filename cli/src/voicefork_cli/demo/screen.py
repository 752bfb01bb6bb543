"""The live view: what happens as it happens, and the table at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from voicefork_cli.demo.rows import Figure
from voicefork_cli.demo.timeline import Moment

COLOURS = {
    "lab": "bright_black", "caller": "cyan", "bot": "green", "PBX": "yellow", "agent": "magenta",
    "worker": "blue", "handoff": "bold yellow", "screen": "bright_blue",
}  # fmt: skip


LAG_SECONDS = 0.3  # what happened at once becomes known within this


class Screen:
    """Prints moments one under the other: a terminal's scroll-back is the record.

    A moment is held back until nothing earlier can become known any more.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._began = time.time_ns()
        self._waiting: list[Moment] = []

    def show(self, moment: Moment) -> None:
        self._waiting.append(moment)

    async def run(self) -> None:
        """Prints what is due until it is cancelled, and then the rest."""
        try:
            while True:
                self._print_until(time.time_ns() - int(LAG_SECONDS * 1e9))
                await asyncio.sleep(LAG_SECONDS / 3)
        finally:
            self._print_until(time.time_ns())

    def _print_until(self, until_ns: int) -> None:
        due = sorted((m for m in self._waiting if m.at_ns <= until_ns), key=lambda m: m.at_ns)
        self._waiting = [m for m in self._waiting if m.at_ns > until_ns]
        for moment in due:
            self._print(moment)

    def _print(self, moment: Moment) -> None:
        seconds = (moment.at_ns - self._began) / 1e9
        colour = COLOURS.get(moment.who, "white")
        self._console.print(
            f"{seconds:7.2f} s  [{colour}]{moment.who:>8}[/]  {escape(moment.text)}"
        )

    def step(self, what: str) -> None:
        """Something is being started."""
        self._print_until(time.time_ns())
        self._console.print(f"            [bright_black]starting {what}[/]")

    def table(self, title: str, figures: Sequence[Figure]) -> None:
        table = Table(title=title, title_justify="left", show_header=False, min_width=72)
        table.add_column()
        table.add_column(justify="right")
        for figure in figures:
            colour = {True: "green", False: "bold red", None: ""}[figure.good]
            value = escape(figure.value)
            table.add_row(escape(figure.name), f"[{colour}]{value}[/]" if colour else value)
        self._console.print()
        self._console.print(table)

    def say(self, text: str) -> None:
        """Text with rich's markup: escape what comes from elsewhere."""
        self._console.print(text)
