"""Which pod a scale-down may take first: the annotation pod-deletion-cost, the fewest calls first.

https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#pod-deletion-cost
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

EXACT_CALLS = 10
STEP = 10
PAUSE_SECONDS = 15.0
PER_ROUND = 50


class CostWriter(Protocol):
    """Writes one pod's cost. Raises ClusterError."""

    async def write_cost(self, pod: str, cost: int) -> None: ...


def cost_of(calls: int) -> int:
    """Exact while calls are few, then in tens, rounded up: an idle pod alone costs nothing."""
    return calls if calls < EXACT_CALLS else -(-calls // STEP) * STEP


class Costs:
    """What was written to which pod, and what is to be written next. Times are a clock's."""

    def __init__(self) -> None:
        self._written: dict[str, tuple[int, float]] = {}

    def due(self, calls: Mapping[str, int], now: float) -> Sequence[tuple[str, int]]:
        """(pod, cost), the least busy first, PER_ROUND at most: each pod whose cost has changed,
        and to which nothing was written in PAUSE_SECONDS."""
        changed = [
            (pod, cost)
            for pod, cost in ((pod, cost_of(count)) for pod, count in calls.items())
            if self._may(pod, cost, now)
        ]
        return sorted(changed, key=lambda pair: (pair[1], pair[0]))[:PER_ROUND]

    def _may(self, pod: str, cost: int, now: float) -> bool:
        if pod not in self._written:
            return True
        written, at = self._written[pod]
        return cost != written and now - at >= PAUSE_SECONDS

    def wrote(self, pod: str, cost: int, now: float) -> None:
        self._written[pod] = (cost, now)

    def keep(self, pods: Iterable[str]) -> None:
        """Forgets every other pod."""
        living = set(pods)
        self._written = {pod: told for pod, told in self._written.items() if pod in living}

    def forget(self) -> None:
        """Another replica writes: what is in the cluster is not ours any more."""
        self._written.clear()
