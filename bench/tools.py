"""The bench's own programs: built from C where needed, pinned to a core, asked line by line."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from voicefork_cli.lab.errors import FailedProgramError, MissingProgramError

HERE = Path(__file__).parent
BUILT = HERE / "out" / "bin"
ANSWER_SECONDS = 20.0
LONGEST_LINE = 1 << 20


def build(name: str) -> Path:
    """The program of bench/<name>.c. Raises MissingProgramError, FailedProgramError."""
    source, program = HERE / f"{name}.c", BUILT / name
    newest = max(path.stat().st_mtime for path in (source, HERE / "stamp.h"))
    if program.exists() and program.stat().st_mtime >= newest:
        return program
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise MissingProgramError("cc", "the bench's load and limit are C programs: install gcc")
    BUILT.mkdir(parents=True, exist_ok=True)
    fresh = program.with_suffix(f".{os.getpid()}")
    command = [compiler, "-O2", "-o", str(fresh), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FailedProgramError(name, "does not compile", done.stderr)
    fresh.replace(program)
    return program


class Tool:
    """A program that answers lines with lines. Made by `open_tool`."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, line: str) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(line.encode() + b"\n")

    async def hear(self) -> str:
        """Its next line. Raises FailedProgramError when there is none."""
        if self._process.stdout is None:
            raise FailedProgramError(self.name, "has no output", "")
        async with asyncio.timeout(ANSWER_SECONDS):
            line = await self._process.stdout.readline()
        if not line:
            raise FailedProgramError(self.name, "has ended", "")
        return line.decode().strip()

    async def ask(self, line: str) -> str:
        self.tell(line)
        return await self.hear()

    async def figures(self, line: str) -> dict[str, int]:
        """An answer of names and numbers in turn."""
        words = (await self.ask(line)).split()
        return {name: int(number) for name, number in zip(words[::2], words[1::2], strict=True)}


@asynccontextmanager
async def open_tool(name: str, command: Sequence[object], core: int) -> AsyncIterator[Tool]:
    """Runs a program on one core while the block runs; it also ends with us."""
    argv = [str(word) for word in command]
    process = await asyncio.create_subprocess_exec(
        *("setpriv", "--pdeathsig", "KILL", "--", "taskset", "-c", str(core)),
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LONGEST_LINE,
        cwd=HERE.parent,
        start_new_session=True,
    )
    try:
        yield Tool(name, process)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@dataclass(frozen=True, slots=True)
class Signed:
    certificate: Path
    key: Path


@contextmanager
def self_signed() -> Iterator[Signed]:
    """A certificate for localhost that is its own authority. Raises MissingProgramError."""
    openssl = shutil.which("openssl")
    if openssl is None:
        raise MissingProgramError("openssl", "makes the certificate of the AI with TLS")
    with TemporaryDirectory() as folder:
        signed = Signed(Path(folder, "certificate.pem"), Path(folder, "key.pem"))
        command = [
            openssl,
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost"),
        ]
        command += ["-addext", "subjectAltName=DNS:localhost"]
        command += ["-keyout", str(signed.key), "-out", str(signed.certificate)]
        subprocess.run(command, check=True, capture_output=True)
        yield signed


def python(module: str, *options: object) -> list[object]:
    return [sys.executable, "-m", module, *options]


def pin(pid: int, core: int) -> None:
    """Every thread of a process that runs already."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process so far, to the nanosecond.

    The scheduler's own sums (schedstat), because the ticks of `stat` are 10 ms. Time of threads
    that have ended is missing: a worker's live as long as it does.
    """
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def waited_seconds(pid: int) -> float:
    """For how long the threads of a process could have run and did not get the core, so far."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[1]) for thread in threads) / 1e9


def resident_kb(pid: int) -> int:
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
