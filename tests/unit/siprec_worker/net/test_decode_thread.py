"""The decoding thread: in order, bounded, and gone when it is told."""

from __future__ import annotations

import threading
from functools import partial

from siprec_worker.net.decode_thread import DecodeThread

LIMIT = 5.0  # seconds; waits for events, never for time


def nothing() -> None:
    """A job."""


def test_jobs_run_in_order_on_another_thread() -> None:
    done: list[tuple[int, int]] = []
    last = threading.Event()

    def note(number: int) -> None:
        done.append((number, threading.get_ident()))

    with DecodeThread() as lane:
        for number in range(100):
            lane.submit(partial(note, number))
        lane.submit(last.set)
        assert last.wait(LIMIT)
    assert [number for number, _ in done] == list(range(100))
    assert threading.get_ident() not in {thread for _, thread in done}


def test_more_than_may_wait_is_refused_and_counted() -> None:
    begun, go = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        go.wait(LIMIT)

    with DecodeThread(max_waiting=2) as lane:
        lane.submit(wait)
        assert begun.wait(LIMIT)
        assert lane.submit(nothing)
        assert not lane.submit(nothing)
        go.set()
    assert lane.stats.refused == 1


def test_a_job_that_fails_costs_only_itself() -> None:
    last = threading.Event()

    def fail() -> None:
        raise ValueError("a bug")

    with DecodeThread() as lane:
        lane.submit(fail)
        lane.submit(last.set)
        assert last.wait(LIMIT)
    assert lane.stats.failures == 1
