"""voicefork sim: calls against a running worker, for those who set one up."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from voicefork_cli.sim.errors import SetupMissing, SimError, WireError
from voicefork_cli.sim.load import LoadPlan, LoadProgress, run_load
from voicefork_cli.sim.message import parse_uri
from voicefork_cli.sim.sdp import PAYLOAD_TYPES
from voicefork_cli.sim.src import ForkState

REFRESH_SECONDS = 0.25
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

DEFAULT_WORKER = "sip:127.0.0.1:5080;transport=tcp"


@sim.command()
def call(  # noqa: PLR0913, PLR0917 - each is an option
    worker: Worker = DEFAULT_WORKER,
    seconds: Seconds = 10.0,
    tone: ToneHz = 440,
    codec: Codec = "PCMU",
    tenant: Tenant = "",
    did: Did = "+14155550199",
) -> None:
    """One forked call with a tone on each leg."""
    _run(LoadPlan(worker, 1, 1.0, seconds, tone, codec, tenant=tenant, did=did))


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
) -> None:
    """Many forked calls: how fast they are taken, how many fail."""
    _run(LoadPlan(worker, calls, rate, seconds, tone, codec, tenant=tenant, did=did))


def _run(plan: LoadPlan) -> None:
    if plan.codec not in PAYLOAD_TYPES:
        fail(f"no codec {plan.codec}: take one of {', '.join(PAYLOAD_TYPES)}")
    try:
        parse_uri(plan.worker)
    except WireError:
        fail(f"{plan.worker!r} is no SIP address: write it as {DEFAULT_WORKER}")
    progress = LoadProgress()
    try:
        asyncio.run(_shown(plan, progress))
    except KeyboardInterrupt:
        typer.echo("Stopped: the calls that ran were hung up.", err=True)
    except SetupMissing as error:
        fail(str(error))
    if progress.failed:
        reasons = "\n".join(f"  {count} x {why}" for why, count in progress.reasons.most_common(5))
        fail(
            f"{progress.failed} of {progress.begun} calls were not recorded:\n{reasons}\n"
            f"Does a worker listen at {plan.worker}? Start one with `voicefork-worker`, "
            "or say where it is with --worker."
        )


async def _shown(plan: LoadPlan, progress: LoadProgress) -> None:
    console = Console(stderr=True)
    with Live(console=console, auto_refresh=False, transient=not console.is_terminal) as live:
        async with asyncio.TaskGroup() as group:
            work = group.create_task(_guarded(run_load(plan, progress)))
            while not work.done():
                live.update(table_of(plan, progress), refresh=True)
                await asyncio.wait([work], timeout=REFRESH_SECONDS)
        live.update(table_of(plan, progress), refresh=True)
    if not console.is_terminal:
        Console().print(table_of(plan, progress))


async def _guarded(work: Coroutine[Any, Any, None]) -> None:
    """A group of errors of ours is told as the first of them."""
    try:
        await work
    except* SimError as errors:
        raise errors.exceptions[0] from errors


def table_of(plan: LoadPlan, progress: LoadProgress) -> Table:
    """The figures so far."""
    table = Table(title=f"SIPREC calls to {plan.worker}", show_header=False)
    rows = {
        "begun": f"{progress.begun} of {plan.calls}",
        "running": str(progress.running),
        "recorded": str(progress.states[ForkState.RECORDING]),
        "failed": str(progress.failed),
        "INVITE to ACK, p50 / p99": _setup(progress),
        "RTP packets of ended calls": f"{progress.packets} ({progress.unsent} not sent)",
        "sender fell behind": f"{progress.stalls} times",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _setup(progress: LoadProgress) -> str:
    if not progress.setup_ms:
        return "-"
    return f"{progress.setup_quantile_ms(0.5):.1f} / {progress.setup_quantile_ms(0.99):.1f} ms"


def fail(text: str) -> NoReturn:
    """Says what is wrong and ends with exit code 1."""
    typer.secho(text, fg=typer.colors.RED, err=True)
    raise typer.Exit(1)
