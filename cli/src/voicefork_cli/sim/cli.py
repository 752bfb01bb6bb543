"""voicefork sim: calls against a running worker, for those who set one up."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, NoReturn

import aiohttp
import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from voicefork_cli.sim.errors import SetupMissing, SimError, WireError
from voicefork_cli.sim.live import LiveView
from voicefork_cli.sim.load import LoadPlan, LoadProgress, run_load
from voicefork_cli.sim.message import parse_uri
from voicefork_cli.sim.sdp import PAYLOAD_TYPES
from voicefork_cli.sim.src import ForkState

LOOK_SECONDS = 1.0
MOST_CALLS = 2000

sim = typer.Typer(help="Simulated SIPREC calls against a running worker.", no_args_is_help=True)

Worker = Annotated[
    str,
    typer.Option(help="SIP address of the worker; add ;transport=udp or ;transport=tcp."),
]
Seconds = Annotated[float, typer.Option(min=0.1, max=86400, help="Length of each call.")]
ToneHz = Annotated[
    int,
    typer.Option("--tone", min=50, max=2600, help="The caller's tone in Hz; the PBX's is x1.5."),
]
Codec = Annotated[str, typer.Option(help=f"One of {', '.join(PAYLOAD_TYPES)}.")]
Tenant = Annotated[str, typer.Option(help="X-Voicefork-Tenant.")]
Did = Annotated[str, typer.Option(help="X-Voicefork-DID: the number that was dialled.")]

Admin = Annotated[
    str,
    typer.Option(help="The worker's admin pages, HOST:PORT: its own figures beside ours."),
]

DEFAULT_WORKER = "sip:127.0.0.1:5080;transport=tcp"
DEFAULT_ADMIN = "127.0.0.1:8090"


@sim.command()
def call(  # noqa: PLR0913, PLR0917 - each is an option
    worker: Worker = DEFAULT_WORKER,
    seconds: Seconds = 10.0,
    tone: ToneHz = 440,
    codec: Codec = "PCMU",
    tenant: Tenant = "",
    did: Did = "+14155550199",
    admin: Admin = DEFAULT_ADMIN,
) -> None:
    """One forked call with a tone on each leg."""
    _run(LoadPlan(worker, 1, 1.0, seconds, tone, codec, tenant=tenant, did=did), admin)


@sim.command()
def load(  # noqa: PLR0913, PLR0917 - each is an option
    worker: Worker = DEFAULT_WORKER,
    calls: Annotated[int, typer.Option(min=1, max=MOST_CALLS, help="Calls in all.")] = 50,
    rate: Annotated[float, typer.Option(min=0.1, max=500, help="New calls a second.")] = 10.0,
    seconds: Seconds = 30.0,
    tone: ToneHz = 440,
    codec: Codec = "PCMU",
    tenant: Tenant = "",
    did: Did = "+14155550199",
    admin: Admin = DEFAULT_ADMIN,
) -> None:
    """Many forked calls: how fast they are taken, how many fail, what they cost the worker."""
    _run(LoadPlan(worker, calls, rate, seconds, tone, codec, tenant=tenant, did=did), admin)


def _run(plan: LoadPlan, admin: str) -> None:
    if plan.codec not in PAYLOAD_TYPES:
        fail(f"no codec {plan.codec}: take one of {', '.join(PAYLOAD_TYPES)}")
    try:
        parse_uri(plan.worker)
    except WireError:
        fail(f"{plan.worker!r} is no SIP address: write it as {DEFAULT_WORKER}")
    progress = LoadProgress()
    try:
        asyncio.run(_shown(plan, progress, admin))
    except KeyboardInterrupt:
        typer.echo("Stopped: the calls that ran were hung up.", err=True)
    except SetupMissing as error:
        fail(str(error))
    if progress.failed:
        reasons = "\n".join(f"  {count} x {why}" for why, count in progress.reasons.most_common(5))
        fail(
            f"{progress.failed} of {progress.begun} calls were not recorded:\n{reasons}\n"
            + _advice(plan, progress)
        )


def _advice(plan: LoadPlan, progress: LoadProgress) -> str:
    if progress.states[ForkState.RECORDING]:
        return "A worker refuses calls (503) that it has no room or no time for: see its lag."
    return (
        f"Does a worker listen at {plan.worker}? Start one with `voicefork-worker`, "
        "or say where it is with --worker."
    )


async def _shown(plan: LoadPlan, progress: LoadProgress, admin: str) -> None:
    """A table that changes on a terminal; else a line a second, and the table at the end."""
    console = Console()
    async with aiohttp.ClientSession() as session:
        view = LiveView(plan, progress, session, admin)
        await view.begin()
        with Live(console=console, auto_refresh=False, transient=True) as live:
            async with asyncio.TaskGroup() as group:
                work = group.create_task(_guarded(run_load(plan, progress)))
                while not work.done():
                    await asyncio.wait([work], timeout=LOOK_SECONDS)
                    await view.look()
                    if console.is_terminal:
                        live.update(table_of(view), refresh=True)
                    else:
                        typer.echo(view.line())
        console.print(table_of(view))


async def _guarded(work: Coroutine[Any, Any, None]) -> None:
    """A group of errors of ours is told as the first of them."""
    try:
        await work
    except* SimError as errors:
        raise errors.exceptions[0] from errors


def table_of(view: LiveView) -> Table:
    """The figures so far."""
    table = Table(title=f"SIPREC calls to {view.plan.worker}", show_header=False)
    for name, value in view.rows().items():
        table.add_row(name, value)
    return table


def fail(text: str) -> NoReturn:
    """Says what is wrong and ends with exit code 1."""
    typer.secho(text, fg=typer.colors.RED, err=True)
    raise typer.Exit(1)
