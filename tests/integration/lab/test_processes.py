"""Programs are waited for, ended in order, and never outlive us."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from voicefork_cli.lab.errors import FailedProgramError, MissingProgramError
from voicefork_cli.lab.processes import Running, open_lab

FAILURE_SECONDS = 40.0  # for what takes a second, unless something is wrong
# A program that does not end when asked, and has a child that does not either.
STUBBORN = """
import os, signal, sys, time
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
child = os.fork()
sys.stdout.write(f"pid {os.getpid()}\\n")
sys.stdout.flush()
time.sleep(600)
"""
# A run of the lab in a process of its own, which says the pids and then waits for its end.
PARENT = """
import asyncio, signal, sys
from voicefork_cli.lab.processes import open_lab

# A job in a script's background is born with SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

async def main():
    async with open_lab() as lab:
        async with lab.program("obedient", ["sleep", "600"]) as one:
            async with lab.program("stubborn", [sys.executable, "-c", sys.argv[1]]) as two:
                async def forked():
                    return two.log_text().count("pid") == 2 or None
                await two.wait_until(forked, 40)
                pids = [line.split()[1] for line in two.log_text().splitlines()]
                print(one.pid, *pids, lab.folder, flush=True)
                await asyncio.sleep(600)

asyncio.run(main())
"""


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # gone before, or while it was read
        return False
    return state != "Z"


def wait_for_end(pids: list[int], seconds: float) -> list[int]:
    """The pids that still run after `seconds`."""
    deadline = time.monotonic() + seconds
    while (left := [pid for pid in pids if is_alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def run_of_the_lab() -> tuple[subprocess.Popen[str], list[int], Path]:
    argv = [sys.executable, "-c", PARENT, STUBBORN]
    # Its own session, as at a terminal: only the lab's process is interrupted.
    parent = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert parent.stdout is not None
    *pids, folder = parent.stdout.readline().split()
    parent.stdout.close()
    return parent, [int(pid) for pid in pids], Path(folder)


def test_a_killed_lab_leaves_no_program_behind() -> None:
    parent, pids, _ = run_of_the_lab()
    assert len(pids) == 3
    assert all(is_alive(pid) for pid in pids)
    parent.kill()
    parent.wait()
    assert wait_for_end(pids, FAILURE_SECONDS) == []


def test_an_interrupted_lab_ends_its_programs_and_leaves_nothing() -> None:
    parent, pids, folder = run_of_the_lab()
    assert folder.is_dir()
    parent.send_signal(signal.SIGINT)
    assert parent.wait(FAILURE_SECONDS) != 0
    assert wait_for_end(pids, seconds=3) == []  # killed; the reaper would have waited for longer
    assert not folder.exists()


async def test_an_ended_block_ends_its_program() -> None:
    async with open_lab() as lab:
        async with lab.program("obedient", ["sleep", "600"]) as program:
            assert is_alive(program.pid)
        assert program.exit_code == -signal.SIGTERM


async def test_a_program_that_does_not_listen_is_killed_with_its_children() -> None:
    async with open_lab() as lab:
        stubborn = [sys.executable, "-c", STUBBORN]
        async with lab.program("stubborn", stubborn, grace_seconds=0.2) as program:
            await program.wait_until(lambda: both_pids(program), FAILURE_SECONDS)
            pids = await both_pids(program) or []
        assert program.exit_code == -signal.SIGKILL
        assert wait_for_end(pids, FAILURE_SECONDS) == []


async def both_pids(program: Running) -> list[int] | None:
    pids = [int(line.split()[1]) for line in program.log_text().splitlines()]
    return pids if len(pids) == 2 else None


async def test_a_cancelled_block_ends_its_program() -> None:
    started: asyncio.Future[Running] = asyncio.get_running_loop().create_future()

    async def run() -> None:
        async with open_lab() as lab, lab.program("obedient", ["sleep", "600"]) as program:
            started.set_result(program)
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(run())
        program = await started
        task.cancel()
    assert program.exit_code == -signal.SIGTERM


async def test_a_program_that_ends_early_shows_the_end_of_its_log() -> None:
    argv = ["sh", "-c", "echo no such device >&2; exit 3"]
    async with open_lab() as lab, lab.program("failing", argv) as program:
        with pytest.raises(FailedProgramError, match=r"(?s)exit code 3.*no such device"):
            await program.wait_until(never, FAILURE_SECONDS)


async def test_a_program_started_again_under_its_name_shows_only_its_own_words() -> None:
    async def spoken(program: Running) -> str:
        await program.wait()
        return program.log_text()

    async with open_lab() as lab:
        for words in ("one\n", "two\n"):
            async with lab.program("again", ["echo", words.strip()]) as program:
                assert await spoken(program) == words
        assert program.log.read_text() == "one\ntwo\n"


async def test_a_program_that_is_never_ready_is_an_error_after_the_limit() -> None:
    async with open_lab() as lab, lab.program("slow", ["sleep", "600"]) as program:
        with pytest.raises(FailedProgramError, match=r"slow was not ready in 0\.1 s"):
            await program.wait_until(never, 0.1)


async def never() -> None:
    return None


async def test_a_missing_program_is_named() -> None:
    async with open_lab() as lab:
        program = lab.program("missing", ["no-such-program"])
        with pytest.raises(MissingProgramError, match="no-such-program"):
            await program.__aenter__()


async def test_the_run_folder_stays_after_an_error_and_the_error_says_where() -> None:
    with pytest.raises(RuntimeError) as caught:
        async with open_lab() as lab:
            raise RuntimeError("boom")
    assert caught.value.__notes__ == [f"logs are in {lab.folder}"]
    assert lab.folder.is_dir()
    os.rmdir(lab.folder)


async def test_the_run_folder_goes_with_a_run_that_went_well() -> None:
    async with open_lab() as lab:
        (lab.folder / "made").touch()
    assert not lab.folder.exists()
