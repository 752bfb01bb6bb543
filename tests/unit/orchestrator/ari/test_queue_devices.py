"""Queues by their device states: only what is sure."""

from __future__ import annotations

import pytest
from orchestrator.ari.queue_devices import state_of
from orchestrator.model import QueueState


@pytest.mark.parametrize(
    ("queue", "available", "state"),
    [
        ("INVALID", "INVALID", QueueState("q")),
        ("INVALID", "INUSE", QueueState("q")),  # nothing has happened yet, or nobody is there
        ("RINGING", "INUSE", QueueState("q", waiting=1)),
        ("NOT_INUSE", "INUSE", QueueState("q", waiting=0)),
        ("NOT_INUSE", "NOT_INUSE", QueueState("q", 1, 1, 0, 0.0)),
        ("RINGING", "NOT_INUSE", QueueState("q", 1, 1, 1)),
    ],
)
def test_what_is_not_sure_is_not_known(queue: str, available: str, state: QueueState) -> None:
    assert state_of("q", queue, available) == state
