"""voicefork: the demo, the simulator, the operator's commands."""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import signal
from pathlib import Path
from typing import Annotated

import typer

from voicefork_cli.doctor.command import doctor
from voicefork_cli.operator.context import context
from voicefork_cli.operator.drain import drain
from voicefork_cli.operator.routes import PASSED_ON, routes
from voicefork_cli.operator.whisper import whisper
from voicefork_cli.sim.cli import fail, sim

PARTS = ("cli", "worker", "orchestrator", "sdk", "proto")

app = typer.Typer(
    name="voicefork",
    help="Puts an AI voice agent into live carrier calls; hands callers over without dead air.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # a traceback never shows what a call carried
)
app.add_typer(sim, name="sim")
app.command()(context)
app.command()(doctor)
app.command()(drain)
app.command()(whisper)
app.command(context_settings=PASSED_ON, add_help_option=False)(routes)


@app.callback()
def voicefork(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log in detail.")] = False,
) -> None:
    """Every command has --help."""
    if verbose:
        logging.basicConfig(level=logging.DEBUG)


@app.command()
def version() -> None:
    """Prints the version of every part that is installed here."""
    for part in PARTS:
        try:
            number = importlib.metadata.version(f"voicefork-{part}")
        except importlib.metadata.PackageNotFoundError:
            number = "not installed"
        typer.echo(f"{f'voicefork-{part}':24}{number}")


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option(help="Folder for report.html, call.wav and timeline.json.")
    ] = Path("demo-out"),
    story: Annotated[
        str, typer.Option(help="dispute (ends with a human) or question.")
    ] = "dispute",
    agent: Annotated[
        str, typer.Option(help="What the agent's phone does: answer, busy, decline, noanswer.")
    ] = "answer",
    pattern: Annotated[
        str, typer.Option(help="How the caller is handed over: attended, whisper, dialplan, refer.")
    ] = "attended",
) -> None:
    """One whole call: caller, bot, handoff, agent; shown and measured."""
    # Imported here: the demo needs every part of the checkout, the other commands do not.
    try:
        from voicefork_cli.demo.command import DemoPlan, Story, run_demo  # noqa: PLC0415
        from voicefork_cli.demo.dispute import AgentMood  # noqa: PLC0415
        from voicefork_cli.demo.patterns import Pattern  # noqa: PLC0415
        from voicefork_cli.demo.screen import Screen  # noqa: PLC0415
    except ModuleNotFoundError as error:
        fail(f"The demo cannot start: {error}. Install the whole checkout: make setup")
    try:
        plan = DemoPlan(out, Story(story), AgentMood(agent), Pattern(pattern))
    except ValueError:
        kinds = {"story": Story, "agent": AgentMood, "pattern": Pattern}
        allowed = {name: ", ".join(each.value for each in kind) for name, kind in kinds.items()}
        fail("; ".join(f"--{name} is one of {values}" for name, values in allowed.items()))
    try:
        raise typer.Exit(asyncio.run(run_demo(plan, Screen())))
    except asyncio.CancelledError:
        raise typer.Exit(128 + signal.SIGTERM) from None
