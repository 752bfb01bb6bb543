"""Ends programs whose starter is gone: a small process that outlives us by some seconds.

The kernel's parent-death signal asks a program to end (SIGTERM), but a program may not listen, and
its own children get nothing. So the reaper is told every pid; when our end of its pipe closes, for
whatever reason (end, crash, SIGKILL), it asks once more and after `grace` seconds kills what is
left. It holds a pidfd of each, so a pid used again by another program is never touched.

Run as a script: `python reaper.py GRACE_SECONDS`, pids on stdin, one a line.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import IO


class Reaper:
    """Our end of the reaper's pipe."""

    def __init__(self, pids: IO[bytes]) -> None:
        self._pids = pids

    def watch(self, pid: int) -> None:
        """Makes sure that the process group of `pid` ends soon after us."""
        self._pids.write(b"%d\n" % pid)
        self._pids.flush()


@contextmanager
def open_reaper(grace_seconds: float = 5.0) -> Iterator[Reaper]:
    """Starts the reaper; leaving the block closes its pipe, and it ends once nothing is left."""
    # -I -S: neither the user's site nor its packages are of use here, and each costs start time.
    argv = [sys.executable, "-I", "-S", __file__, str(grace_seconds)]
    # A session of its own: Ctrl-C at the terminal must reach us alone.
    with subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdin is not None
        yield Reaper(process.stdin)


def reap(grace_seconds: float) -> None:
    """Reads pids until the pipe closes, then ends every group that is still there."""
    for interrupt in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(interrupt, signal.SIG_IGN)
    watched: dict[int, int] = {}  # pidfd -> pid
    for line in sys.stdin:
        try:
            watched[os.pidfd_open(int(line))] = int(line)
        except ProcessLookupError:  # ended before we looked
            continue
    living = {pidfd: pid for pidfd, pid in watched.items() if not _has_ended(pidfd)}
    for pidfd in living:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)
    _wait(living, grace_seconds)
    for pid in living.values():
        # The whole group, also where its leader has ended: OpenSIPS' children can outlive it.
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _has_ended(pidfd: int) -> bool:
    return bool(select.select([pidfd], [], [], 0)[0])  # readable: the process has ended


def _wait(living: Iterable[int], seconds: float) -> None:
    """Returns when every process has ended, or after `seconds`."""
    deadline = time.monotonic() + seconds
    left = set(living)
    while left and (remaining := deadline - time.monotonic()) > 0:
        left -= set(select.select(left, [], [], remaining)[0])


if __name__ == "__main__":
    reap(float(sys.argv[1]))
