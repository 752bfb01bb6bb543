"""Starts real programs, waits until they are ready, and ends them: nothing survives us."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from voicefork_cli.lab.errors import FailedProgramError, MissingProgramError
from voicefork_cli.lab.ports import Ports, open_ports
from voicefork_cli.lab.reaper import Reaper, open_reaper

T = TypeVar("T")
POLL_SECONDS = 0.02
LOG_TAIL_LINES = 25


class Running:
    """A program that was started: its pid, its log, and whether it still runs."""

    def __init__(
        self, name: str, process: asyncio.subprocess.Process, log: Path, log_from: int = 0
    ) -> None:
        self.name = name
        self.log = log
        self._log_from = log_from  # earlier lines are of another program of this name
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative is the signal that ended it."""
        return self._process.returncode

    def log_text(self) -> str:
        """Everything it has written so far, stdout and stderr together."""
        return self.log.read_bytes()[self._log_from :].decode(errors="replace")

    def log_tail(self) -> str:
        return "\n".join(self.log_text().splitlines()[-LOG_TAIL_LINES:])

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the program itself; one that has ended is no error."""
        if self.exit_code is None:
            self._process.send_signal(number)

    async def wait(self) -> int:
        """Waits for its end; returns the exit code."""
        return await self._process.wait()

    async def wait_until(self, check: Callable[[], Awaitable[T | None]], seconds: float) -> T:
        """Asks `check` again and again until it gives something; OSError means "not yet".

        Raises:
            FailedProgramError: the program ended meanwhile, or `seconds` have passed.
        """
        deadline = time.monotonic() + seconds
        while True:
            if self.exit_code is not None:
                what = f"ended with exit code {self.exit_code} before it was ready"
                raise FailedProgramError(self.name, what, self.log_tail())
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(max(deadline - time.monotonic(), POLL_SECONDS)):
                    if (found := await check()) is not None:
                        return found
            if time.monotonic() >= deadline:
                raise FailedProgramError(
                    self.name, f"was not ready in {seconds:g} s", self.log_tail()
                )
            await asyncio.sleep(POLL_SECONDS)

    async def end(self, grace_seconds: float) -> None:
        """Asks it to end, and kills it where it has not done so after `grace_seconds`."""
        try:
            if self.exit_code is None:
                self.signal(signal.SIGTERM)
                with suppress(TimeoutError):
                    async with asyncio.timeout(grace_seconds):
                        await self.wait()
        finally:
            # The whole group, also where its leader has ended: OpenSIPS' children can outlive it.
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            await self.wait()


@dataclass(frozen=True, slots=True)
class Lab:
    """One run: the folder that holds all it makes, its ports, and what looks after its programs."""

    folder: Path
    ports: Ports
    reaper: Reaper

    @asynccontextmanager
    async def program(
        self,
        name: str,
        argv: Sequence[object],
        *,
        env: Mapping[str, str] | None = None,
        grace_seconds: float = 3.0,
    ) -> AsyncIterator[Running]:
        """Runs a program while the block runs; its output goes to `<folder>/<name>.log`.

        `env` is added to ours. The program is the leader of its own session: Ctrl-C at the terminal
        reaches only us, and we end programs in order. Arguments are made strings.

        Raises:
            MissingProgramError: there is no such program.
        """
        log = self.folder / f"{name}.log"
        command = [str(argument) for argument in argv]
        if shutil.which(command[0]) is None:
            raise MissingProgramError(command[0], "see `make setup`")
        with log.open("ab") as output:
            log_from = output.tell()
            process = await asyncio.create_subprocess_exec(
                *_parent_death_signal(),
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                cwd=self.folder,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        self.reaper.watch(process.pid)
        running = Running(name, process, log, log_from)
        try:
            yield running
        finally:
            await running.end(grace_seconds)


@asynccontextmanager
async def open_lab(*, keep: bool = False) -> AsyncIterator[Lab]:
    """A fresh run folder with ports and a reaper.

    The folder is removed at the end; it is kept, and the error's notes say where, when the block
    raises or `keep` is set.
    """
    # Short, as it holds Asterisk's control socket: a unix socket's path has at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="voicefork-"))
    with ExitStack() as resources:
        ports = resources.enter_context(open_ports())
        reaper = resources.enter_context(open_reaper())
        failed = False
        try:
            yield Lab(folder, ports, reaper)
        except Exception as error:  # not BaseException: after Ctrl-C nobody asks for the logs
            failed = True
            error.add_note(f"logs are in {folder}")
            raise
        finally:
            if not (keep or failed):
                shutil.rmtree(folder, ignore_errors=True)


def find_program(name: str, remedy: str) -> str:
    """Path of an installed program.

    Raises:
        MissingProgramError: it is not on PATH, nor in the folders of system programs.
    """
    system = "/usr/local/sbin:/usr/sbin:/sbin"  # often missing from a user's PATH
    found = shutil.which(name) or shutil.which(name, path=system)
    if found is None:
        raise MissingProgramError(name, remedy)
    return found


def _parent_death_signal() -> list[str]:
    """What to put before a command so that the kernel ends it with us (PR_SET_PDEATHSIG).

    `setpriv` sets it in the child itself, after the fork: Python code between fork and exec
    (`preexec_fn`) can deadlock where threads run, and gRPC has threads.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []
