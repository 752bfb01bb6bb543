"""The one thread of a worker on which costly codecs are decoded (media.deferred.Lane).

Jobs come from the tick and are looked for by the next one: nothing wakes the loop. libopus and
G.722 leave the interpreter free only in part, so one thread is what pays.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType
from typing import Self

log = logging.getLogger(__name__)

Job = Callable[[], None]
MAX_WAITING = 512
"""Jobs: a tick of 512 legs, about 40 ms of decoding Opus."""


@dataclass(slots=True)
class LaneStats:
    jobs: int = 0
    refused: int = 0  # there was too much to do
    failures: int = 0


class DecodeThread:
    """Runs jobs in order. `submit` never waits; jobs that wait at the end are dropped."""

    def __init__(self, max_waiting: int = MAX_WAITING) -> None:
        self.stats = LaneStats()
        self._max_waiting = max_waiting
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._unfinished: deque[None] = deque()  # one for each: its ends are safe on two threads
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="decode", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after the job it is at."""
        self._stopping = True
        self._queue.put(None)
        self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def submit(self, job: Job) -> bool:
        if len(self._unfinished) >= self._max_waiting:
            self.stats.refused += 1
            return False
        self.stats.jobs += 1
        self._unfinished.append(None)
        self._queue.put(job)
        return True

    def _run(self) -> None:
        while (job := self._queue.get()) is not None and not self._stopping:
            try:
                job()
            except Exception:
                self.stats.failures += 1
                log.exception("decoding failed")
            finally:
                self._unfinished.popleft()
