"""Who a stream tells once it is over: so that it holds its call no more, and is freed at once.

A call and its stream that knew each other for ever would be a cycle, for the collector to find: it
looks seldom, and stops everything when it does.
"""

from __future__ import annotations

from siprec_worker.session.model import FromAgent


def nobody(message: FromAgent) -> None:
    """Takes what a stream says behind its end."""
