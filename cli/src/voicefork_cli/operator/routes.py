"""`voicefork routes`: the orchestrator's own check of its routes, run as a program of its own."""

from __future__ import annotations

import subprocess
import sys

import typer

PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


def routes(context: typer.Context) -> None:
    """Checks the rules of handoffs (check, test, keys); tells which rule wins, and why."""
    # A process, not an import: what decides is the orchestrator's code, which shares none with us.
    program = [sys.executable, "-m", "orchestrator.app.routes", *(context.args or ["--help"])]
    raise typer.Exit(subprocess.run(program, check=False).returncode)
