"""voicefork context: the handed-over contexts, as an agent's screen would show them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.console import Console

from voicefork_cli.operator.context_panel import context_panel
from voicefork_cli.operator.context_stream import ContextsAway, ContextStream, open_contexts

RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0)
DEFAULT_REDIS = "redis://127.0.0.1:6379/0"


@dataclass(frozen=True, slots=True)
class ContextPlan:
    redis: str = DEFAULT_REDIS
    tenant: str = "default"
    follow: bool = False
    from_start: bool = False


def context(
    redis: Annotated[
        str, typer.Option(envvar="VOICEFORK_REDIS", help="Where the orchestrator publishes.")
    ] = DEFAULT_REDIS,
    tenant: Annotated[str, typer.Option(help="Whose contexts.")] = "default",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on, and show each as it is published.")
    ] = False,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="All that are kept, oldest first.")
    ] = False,
) -> None:
    """Shows the newest handed-over context: summary, intent, slots, last turns, customer."""
    plan = ContextPlan(redis, tenant, follow, from_start)
    with suppress(KeyboardInterrupt):
        raise typer.Exit(asyncio.run(run_context(plan, Console(), Console(stderr=True))))


async def run_context(plan: ContextPlan, screen: Console, complaints: Console) -> int:
    """The exit code; with `follow` it ends only when cancelled."""
    try:
        async with open_contexts(plan.redis, plan.tenant) as stream:
            show = _follow if plan.follow else _once
            await show(stream, plan, screen, complaints)
    except ContextsAway as error:
        hint = "say where it is with --redis or VOICEFORK_REDIS"
        complaints.print(f"{_away(plan, error)}: {hint}", style="red", markup=False)
    except ValueError as error:
        complaints.print(f"--redis: {error}", style="red", markup=False)
    else:
        return 0
    return 1


async def _once(
    stream: ContextStream, plan: ContextPlan, screen: Console, complaints: Console
) -> None:
    shown = 0
    if plan.from_start:
        async for published in stream.kept():
            screen.print(context_panel(published))
            shown += 1
    elif (newest := await stream.latest()) is not None:
        screen.print(context_panel(newest))
        shown = 1
    if not shown:
        complaints.print(f"No context of tenant {plan.tenant} is kept.", markup=False)


async def _follow(
    stream: ContextStream, plan: ContextPlan, screen: Console, complaints: Console
) -> None:
    """Never returns. While Redis is away it says so once, and reads on where it was."""
    after = "0" if plan.from_start else ""
    failures = 0
    while True:
        try:
            end = await stream.end()  # asked again after a failure: is Redis there?
            after = after or end
            if failures:
                complaints.print("Redis is back.", style="green")
                failures = 0
            async for published in stream.follow(after):
                after = published.entry
                screen.print(context_panel(published))
        except ContextsAway as error:
            if not failures:
                complaints.print(f"{_away(plan, error)}; trying again", style="red", markup=False)
            await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
            failures += 1


def _away(plan: ContextPlan, error: ContextsAway) -> str:
    """Without what the address may hold of passwords."""
    where = urlsplit(plan.redis).hostname or "it"
    return f"Redis at {where} does not answer ({error})"
