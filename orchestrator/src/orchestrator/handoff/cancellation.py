"""Raises a cancellation again that a library has swallowed.

redis-py returns normally when it is cancelled while it connects (measured: 8.1 on Python 3.11); a
loop that awaits it would then never end. Loops that own a task call this once a round.
"""

from __future__ import annotations

import asyncio


def heed_cancellation() -> None:
    """Outside of any `asyncio.timeout` block. Raises CancelledError."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
