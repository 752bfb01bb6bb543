"""How the compared autoscalers decide: Kubernetes' HPA, with the settings of each."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

TOLERANCE = 0.1  # of the HPA: no change within it
QUIET_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Policy:
    """Settings. `lag`: age of the figure; `noise`: its relative error; `down`: pods at a time and
    seconds between, None: as many as there are too many. `moves`: draining workers give calls
    away. `fewest_first`: pod-deletion-cost; else the youngest pods go."""

    name: str
    lag: float = 0.0
    noise: float = 0.0
    reserved: bool = False
    down: tuple[int, float] | None = None
    moves: bool = False
    fewest_first: bool = False


OURS = Policy("voicefork", reserved=True, down=(1, 60.0), moves=True, fewest_first=True)
KEDA = Policy("KEDA defaults")
KEDA_MOVING = Policy("KEDA defaults, calls move", moves=True)
CPU = Policy("CPU HPA", lag=30.0, noise=0.05)
POLICIES = (OURS, KEDA_MOVING, KEDA, CPU)


@dataclass(slots=True)
class Autoscaler:
    """One HPA: what it recommended lately, and when it last took pods away."""

    policy: Policy
    per_pod: float  # calls a pod should have
    least: int
    most: int
    _recommended: deque[tuple[float, int]] = field(default_factory=deque)
    _grown: deque[tuple[float, int]] = field(default_factory=deque)
    _shrunk_at: float = -math.inf

    def decide(self, now: float, demand: float, pods: int) -> int:
        """How many pods there should be, of `pods` that are wanted now."""
        wanted = pods
        if abs(demand / (self.per_pod * pods) - 1) > TOLERANCE:
            wanted = math.ceil(demand / self.per_pod)
        wanted = min(max(wanted, self.least), self.most)
        self._recommended.append((now, wanted))
        while self._recommended[0][0] < now - QUIET_SECONDS:
            self._recommended.popleft()
        if wanted > pods:
            return self._up(now, wanted, pods)
        return self._down(now, max(each for _, each in self._recommended), pods)

    def _up(self, now: float, wanted: int, pods: int) -> int:
        """At most twice as many, or four more, as 15 seconds ago: HPA's default and our chart's."""
        while self._grown and self._grown[0][0] <= now - 15.0:
            self._grown.popleft()
        before = pods - sum(more for _, more in self._grown)
        allowed = min(wanted, max(2 * before, before + 4))
        if allowed <= pods:
            return pods
        self._grown.append((now, allowed - pods))
        return allowed

    def _down(self, now: float, wanted: int, pods: int) -> int:
        if wanted >= pods:
            return pods
        if self.policy.down is None:
            return wanted
        step, pause = self.policy.down
        if now - self._shrunk_at < pause:
            return pods
        self._shrunk_at = now
        return max(wanted, pods - step)
