"""One thread that sends every port's packet at its own deadline, 20 ms after the last.

A thread of its own, so that an event loop busy with something else does not show as jitter in
the measurement. Deadlines are absolute: lateness of one packet does not move the next. Nor does a
stall of this process: a phone's clock goes on meanwhile, so what was missed is sent in a burst, as
from a network that stood still. Were it left out, the stream would be behind its own clock from
then on, and a recorder that puts it right would seem to lose what was never sent.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from voicefork_cli.measure.packets import PACKET_MS

PERIOD_NS = PACKET_MS * 1_000_000
GRID_NS = 2_000_000  # deadlines meet on it: one waking sends for many ports
STALL_NS = 10 * PERIOD_NS
GIVE_UP_LATE_NS = 50 * PERIOD_NS  # behind by more than this second a recorder has told the hole


class Paced(Protocol):
    def send_due(self) -> None:
        """Sends the packet that is due. Called in the pacing thread; must not block."""


class Pacer:
    """Made by `open_pacer`."""

    def __init__(self) -> None:
        self.stalls = 0  # packets that were more than 200 ms late
        self.left_out = 0  # times that a port's clock was set anew, a second late
        self._changed = threading.Condition()
        self._due: list[tuple[int, int, Paced]] = []
        self._numbers: dict[int, int] = {}  # id of the port -> its live entry in the heap
        self._entries = 0
        self._running = True

    def add(self, port: Paced) -> None:
        """From now on `port` is asked for a packet every 20 ms."""
        with self._changed:
            self._entries += 1
            self._numbers[id(port)] = self._entries
            now = time.monotonic_ns()
            heapq.heappush(self._due, (now + -now % GRID_NS, self._entries, port))
            self._changed.notify()

    def remove(self, port: Paced) -> None:
        """After this returns `port` is not asked again."""
        with self._changed:
            self._numbers.pop(id(port), None)

    def run(self) -> None:
        with self._changed:
            while self._running:
                left = self.step(time.monotonic_ns())
                if left is None or left > 0:
                    self._changed.wait(left)

    def step(self, now: int) -> float | None:
        """Sends a packet if one is due; else gives the seconds until one is, None: none ever."""
        if not self._due:
            return None
        left = self._due[0][0] - now
        if left <= 0:
            self._send_first(now)
        return max(0, left) / 1e9

    def stop(self) -> None:
        with self._changed:
            self._running = False
            self._changed.notify()

    def _send_first(self, now: int) -> None:
        due, number, port = heapq.heappop(self._due)
        if self._numbers.get(id(port)) != number:
            return  # removed, or added anew
        port.send_due()
        due += PERIOD_NS
        self.stalls += now - due > STALL_NS
        if now - due > GIVE_UP_LATE_NS:
            self.left_out += 1
            due += -(-(now - due) // PERIOD_NS) * PERIOD_NS
        heapq.heappush(self._due, (due, number, port))


@contextmanager
def open_pacer() -> Iterator[Pacer]:
    """A running pacer; one is enough for hundreds of ports."""
    pacer = Pacer()
    thread = threading.Thread(target=pacer.run, name="rtp-pacer", daemon=True)
    thread.start()
    try:
        yield pacer
    finally:
        pacer.stop()
        thread.join(timeout=2)
