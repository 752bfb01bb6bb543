"""Recorded calls on a clock of their own: sockets are real, and 20 ms are over when nothing waits.

So what a machine does besides neither holds up a packet nor leaves out a tick.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.builders.virtual_time import VirtualTimeLoop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], VirtualTimeLoop]]:
    return {"virtual": VirtualTimeLoop}
