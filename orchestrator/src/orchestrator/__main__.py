"""Command `voicefork-orchestrator`: settings, signals, and the exit code."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator

import structlog
import uvloop

from orchestrator.app.opening import open_orchestrator
from orchestrator.config import Settings, load
from orchestrator.errors import SetupError
from orchestrator.telemetry import configure_logging

log = structlog.stdlib.get_logger("orchestrator")

EXIT_SETUP = 2
EXIT_REPLACED = 3


def main() -> int:
    """Runs until SIGTERM or SIGINT. Exit code 2: it cannot run as it was told to; 3: another
    replica has taken its slot."""
    exit_code = 0
    try:
        settings = load(sys.argv[1:], os.environ)
        configure_logging(settings.log, settings.log_level)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            exit_code = runner.run(_run(settings))
    except* SetupError as errors:  # alone, or out of a task group
        exit_code = EXIT_SETUP
        for error in _leaves(errors):
            sys.stderr.write(f"voicefork-orchestrator: {error}\n")
    return exit_code


async def _run(settings: Settings) -> int:
    """Returns the exit code: another replica has our slot, or all is well.

    A first signal drains; a second one, or one before we are ready, ends at once."""
    running = asyncio.current_task()
    assert running is not None
    ready, stop = asyncio.Event(), asyncio.Event()

    def asked() -> None:
        if stop.is_set() or not ready.is_set():
            running.cancel()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked)
    try:
        async with open_orchestrator(settings) as orchestrator:
            log.info("ready", grpc=orchestrator.grpc, admin=orchestrator.admin)
            ready.set()
            if await _first(stop, orchestrator.tenure.lost) is not stop:
                await orchestrator.drop()
                return EXIT_REPLACED  # without a farewell: our calls are somebody else's
            log.info("ending", calls=len(orchestrator.calls))
            await orchestrator.drain()
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
        running.uncancel()
    log.info("ended")
    return 0


async def _first(*events: asyncio.Event) -> asyncio.Event:
    """The one that happens first."""
    async with asyncio.TaskGroup() as work:
        waiting = {work.create_task(event.wait()): event for event in events}
        happened, others = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in others:
            task.cancel()
    return waiting[happened.pop()]


def _leaves(group: BaseExceptionGroup[SetupError]) -> Iterator[SetupError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


if __name__ == "__main__":
    sys.exit(main())
