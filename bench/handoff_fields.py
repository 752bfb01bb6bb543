"""What the field asks of handoffs, beside what was measured here."""

from __future__ import annotations

import re
from collections.abc import Mapping

import aiohttp
from rich.console import Console
from rich.table import Table

from bench.handoff_calls import RING_SECONDS
from bench.handoff_figures import Figures, Tally, failure_bound, percentile
from bench.handoff_lanes import Rig
from bench.handoff_ways import OURS, Pattern

HELD_MS, SUCCESS, REPEATED = 250.0, 0.995, 0.05
REPORTED_TOTAL = "voicefork_handoff_reported_total"
REPEATED_TOTAL = "voicefork_handoff_repeated_total"


async def field_targets(tallies: Mapping[Pattern, Tally], rig: Rig) -> list[Figures]:
    """One row a target: name, aim, value, met (None: nothing to judge), note."""
    ours = [tallies[pattern] for pattern in OURS]
    held = [value for tally in ours for value in tally.of("hold_heard_ms")]
    dead = [value for tally in ours for value in tally.of("missing_ms")]
    silent = sum(sum(tally.of("silent_frames")) for tally in ours)
    count, failed = sum(t.count for t in ours), sum(len(t.failures) for t in ours)
    reported, repeated = await _reports(rig)
    held_p99, bound = percentile(held, 99), failure_bound(count, failed)
    waited = tallies[Pattern.ATTENDED].of("handling_ms")
    added = percentile([value - RING_SECONDS * 1000 for value in waited], 50)
    rate = (count - failed) / count if count else 0.0
    return [
        _row("caller held", "< 250 ms", _ms(held_p99), held_p99 is not None and held_p99 < HELD_MS,
             "p99, Escalate to the first packet of music at the caller, every pattern"),
        _row("dead air", "0 ms", f"{sum(dead):.0f} ms", round(sum(dead)) == 0 and silent == 0,
             f"over all {len(dead)} handoffs; {silent:.0f} silent frames"),
        _row("success", "> 99.5 %", f"{100 * rate:.2f} %", rate > SUCCESS,
             f"{count - failed} of {count}; at 95 %: at least {100 * (1 - (bound or 1)):.2f} %"),
        _row("repeats", "< 5 %", f"{100 * repeated / reported:.1f} %" if reported else "-",
             repeated < REPEATED * reported if reported else None,
             f"{repeated:.0f} of {reported:.0f} reported (ReportOutcome): as repeated where the"
             " context was not published before the voice, as there are no people here"),
        _row("handling time", "-30 %", "-", None,
             f"wants people; what a handoff adds between bot and agent: {_ms(added)}"
             " beside the ringing (ATTENDED, p50)"),
    ]  # fmt: skip


def _row(name: str, aim: str, value: str, met: bool | None, note: str) -> Figures:
    return {"target": name, "aim": aim, "value": value, "met": met, "note": note}


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"


async def _reports(rig: Rig) -> tuple[float, float]:
    """(reported, of these repeated), as the orchestrator counts them."""
    url = f"http://{rig.admin}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        text = await response.text()
    return _total(text, REPORTED_TOTAL), _total(text, REPEATED_TOTAL)


def _total(text: str, name: str) -> float:
    found = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.M)
    return sum(map(float, found))


def show_fields(figures: Figures, console: Console) -> None:
    rows = figures["field_targets"]
    assert isinstance(rows, list)
    table = Table(title="What the field asks for", title_justify="left")
    for name in ("target", "aim", "value", "note"):
        table.add_column(name)
    for row in rows:
        colour = {True: "green", False: "bold red", None: ""}[row["met"]]
        value = f"[{colour}]{row['value']}[/]" if colour else row["value"]
        table.add_row(row["target"], row["aim"], value, row["note"])
    console.print(table)
