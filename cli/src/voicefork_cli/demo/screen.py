"""The live view: what happens as it happens, and the table at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from voicefork_cli.demo.figures import Figure
from voicefork_cli.demo.timeline import Moment

COLOURS = {
    "lab": "bright_black", "caller": "cyan", "bot": "green", "PBX": "yellow", "agent": "magenta",
    "worker": "blue", "handoff": "bold yellow", "screen": "bright_blue",
}  # fmt: skip


class Screen:
    """Prints moments one under the other: a terminal's scroll-back is the record."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._began = time.time_ns()

    def show(self, moment: Moment) -> None:
        seconds = (moment.at_ns - self._began) / 1e9
        colour = COLOURS.get(moment.who, "white")
        self._console.print(f"{seconds:7.2f} s  [{colour}]{moment.who:>8}[/]  {moment.text}")

    def step(self, what: str) -> None:
        """Something is being started."""
        self._console.print(f"            [bright_black]starting {what}[/]")

    def table(self, title: str, figures: Sequence[Figure]) -> None:
        table = Table(title=title, title_justify="left", show_header=False, min_width=72)
        table.add_column()
        table.add_column(justify="right")
        for figure in figures:
            colour = {True: "green", False: "bold red", None: ""}[figure.good]
            table.add_row(figure.name, f"[{colour}]{figure.value}[/]" if colour else figure.value)
        self._console.print()
        self._console.print(table)

    def say(self, text: str) -> None:
        self._console.print(text)
