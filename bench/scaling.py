"""Autoscaling of workers on a business day and in a flash crowd: `make bench-scaling`.

A discrete-event simulation of one cell. Calls come and go one by one; pods start after the delays
of a real cluster; the autoscaler looks every 15 s. Seeded: the same calls for every policy.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import random
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.scaling_days import DAY, Call, calls_of, diurnal, flash_crowd
from bench.scaling_plot import plot
from bench.scaling_policies import POLICIES, Autoscaler, Policy

OUT = Path(__file__).parent / "out"
PLOT = Path(__file__).parents[1] / "docs" / "scaling.svg"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is the same for all policies. Calls per pod are docs/capacity.md's: 0.6 of a core."""

    max_calls: int = 500
    target: float = 0.6
    least: int = 2
    most: int = 60
    sync_seconds: float = 15.0
    pod_seconds: tuple[float, float] = (4.0, 8.0)  # scheduled, started, probed: docs/scaling.md
    node_seconds: tuple[float, float] = (60.0, 120.0)
    pull_seconds: float = 10.0  # of the image, on a node that is new
    pods_per_node: int = 3
    spare_nodes: int = 1
    moved_per_second: int = 50
    announced_seconds: float = 0.2  # a place is kept for so long before its call counts


@dataclass(slots=True)
class Pod:
    born: float
    calls: set[int] = field(default_factory=set)
    ready: bool = False
    draining: bool = False


@dataclass(slots=True)
class Result:
    """What became of the day's calls. Pods count from their creation to their very end."""

    policy: str
    day: str
    arrived: int = 0
    refused: int = 0
    ended: int = 0
    left: int = 0
    moved: int = 0
    pod_hours: float = 0.0
    most_pods: int = 0
    longest_drain_s: float = 0.0
    worst_minute_refused: int = 0
    curve: list[tuple[float, int, int]] = field(default_factory=list)  # seconds, calls, pods


class Cell:
    """One day under one policy. `run()` once."""

    def __init__(self, plan: Plan, policy: Policy, calls: Sequence[Call], seed: int) -> None:
        self.plan, self.policy = plan, policy
        self.result = Result(policy.name, "")
        self.pods: list[Pod] = []
        self._calls = calls
        self._chance = random.Random(seed)
        self._where: dict[int, Pod] = {}
        self._events: list[tuple[float, int, str, object]] = []
        self._numbers = itertools.count()
        self._nodes = self.plan.spare_nodes + -(-plan.least // plan.pods_per_node)
        self._ordered: list[float] = []  # nodes on their way: when each is there
        self._past: deque[tuple[float, float]] = deque()
        self._drains: dict[int, float] = {}
        self._refused_at: deque[float] = deque()
        self._scaler = Autoscaler(policy, plan.max_calls * plan.target, plan.least, plan.most)

    def run(self) -> Result:
        for _ in range(self.plan.least):
            pod = Pod(0.0, ready=True)
            self.pods.append(pod)
        self._at(0.0, "sync", None)
        self._at(0.0, "sample", None)
        coming = iter(enumerate(self._calls))
        following = next(coming, None)
        while self._events and self._events[0][0] < DAY:
            if following is not None and following[1].at <= self._events[0][0]:
                self._arrive(*following)
                following = next(coming, None)
                continue
            now, _, what, thing = heapq.heappop(self._events)
            self._happens(now, what, thing)
        for pod in self.pods:
            self._gone(pod, DAY)
        self.result.left = len(self._where)
        return self.result

    def _at(self, when: float, what: str, thing: object) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), what, thing))

    def _happens(self, now: float, what: str, thing: object) -> None:
        match what, thing:
            case "end", int(number):
                self._end(number, now)
            case "ready", Pod() as pod:
                pod.ready = not pod.draining
            case "move", Pod() as pod:
                self._move(pod, now)
            case "sync", _:
                self._sync(now)
                self._at(now + self.plan.sync_seconds, "sync", None)
            case "sample", _:
                self.result.curve.append((now, len(self._where), len(self.pods)))
                self._at(now + 60.0, "sample", None)
            case _:
                raise AssertionError(what)

    # --- calls

    def _best(self, *, but: Pod | None = None) -> Pod | None:
        """The emptiest that takes calls, as the pool picks it."""
        able = [p for p in self.pods if p.ready and not p.draining and p is not but]
        best = min(able, key=lambda pod: len(pod.calls), default=None)
        return best if best is not None and len(best.calls) < self.plan.max_calls else None

    def _arrive(self, number: int, call: Call) -> None:
        self.result.arrived += 1
        pod = self._best()
        if pod is None:
            self._refuse(call.at)
            return
        pod.calls.add(number)
        self._where[number] = pod
        self._at(call.at + call.seconds, "end", number)

    def _refuse(self, now: float) -> None:
        self.result.refused += 1
        self._refused_at.append(now)
        while self._refused_at[0] < now - 60.0:
            self._refused_at.popleft()
        worst = max(self.result.worst_minute_refused, len(self._refused_at))
        self.result.worst_minute_refused = worst

    def _end(self, number: int, now: float) -> None:
        pod = self._where.pop(number)
        pod.calls.discard(number)
        self.result.ended += 1
        if pod.draining and not pod.calls and pod in self.pods:
            self._gone(pod, now)
            self.pods.remove(pod)

    # --- pods

    def _gone(self, pod: Pod, now: float) -> None:
        self.result.pod_hours += (now - pod.born) / 3600
        if id(pod) in self._drains:
            drained = now - self._drains.pop(id(pod))
            self.result.longest_drain_s = max(self.result.longest_drain_s, drained)

    def _sync(self, now: float) -> None:
        wanted = [pod for pod in self.pods if not pod.draining]
        decided = self._scaler.decide(now, self._demand(now, wanted), len(wanted))
        for _ in range(decided - len(wanted)):
            self._start(now)
        if decided < len(wanted):
            self._shrink(wanted, len(wanted) - decided, now)
        self.result.most_pods = max(self.result.most_pods, len(self.pods))

    def _demand(self, now: float, wanted: Sequence[Pod]) -> float:
        """Calls as the policy's figure shows them: perhaps late, perhaps wrong."""
        calls = float(sum(len(pod.calls) for pod in wanted))
        if self.policy.reserved:
            calls += self.plan.announced_seconds * self._rate(now)
        self._past.append((now, calls))
        while len(self._past) > 1 and self._past[1][0] <= now - self.policy.lag:
            self._past.popleft()
        return self._past[0][1] * self._chance.gauss(1.0, self.policy.noise)

    def _rate(self, now: float) -> float:
        """Calls a second that came lately."""
        return self.result.curve[-1][1] / 240.0 if self.result.curve and now else 0.0

    def _start(self, now: float) -> None:
        pod = Pod(now)
        self.pods.append(pod)
        self._ordered = [there for there in self._ordered if there > now]
        begins = now
        if len(self.pods) > self._nodes * self.plan.pods_per_node:
            self._nodes += 1
            begins = now + self._chance.uniform(*self.plan.node_seconds) + self.plan.pull_seconds
            self._ordered.append(begins)
        elif self._ordered and len(self.pods) > self._standing() * self.plan.pods_per_node:
            begins = max(self._ordered)
        self._at(begins + self._chance.uniform(*self.plan.pod_seconds), "ready", pod)

    def _standing(self) -> int:
        return self._nodes - len(self._ordered)

    def _shrink(self, wanted: Sequence[Pod], count: int, now: float) -> None:
        """Those that are not ready first; then by deletion cost, or the youngest."""

        def rank(pod: Pod) -> tuple[bool, float]:
            return pod.ready, len(pod.calls) if self.policy.fewest_first else -pod.born

        for pod in sorted(wanted, key=rank)[:count]:
            pod.draining = True
            self._drains[id(pod)] = now
            if not pod.calls:
                self._gone(pod, now)
                self.pods.remove(pod)
            elif self.policy.moves:
                self._at(now + 1.0, "move", pod)
        used = -(-len(self.pods) // self.plan.pods_per_node) + self.plan.spare_nodes
        self._nodes = max(min(self._nodes, used), len(self._ordered) + 1)

    def _move(self, pod: Pod, now: float) -> None:
        """A second's worth of calls to other workers; the rest as soon as they have room."""
        for number in list(itertools.islice(pod.calls, self.plan.moved_per_second)):
            heir = self._best(but=pod)
            if heir is None:
                break
            pod.calls.discard(number)
            heir.calls.add(number)
            self._where[number] = heir
            self.result.moved += 1
        if pod.calls:
            self._at(now + 1.0, "move", pod)
        elif pod in self.pods:
            self._gone(pod, now)
            self.pods.remove(pod)


def simulate(peak_calls: float, seed: int, plan: Plan) -> list[Result]:
    results = []
    for day in (diurnal(peak_calls), flash_crowd(peak_calls)):
        calls = calls_of(day, seed)
        for policy in POLICIES:
            result = Cell(plan, policy, calls, seed).run()
            result.day = day.name
            results.append(result)
    return results


def table(results: Sequence[Result]) -> str:
    head = (
        "| day | policy | calls | refused | share | worst minute | pod-hours | most pods "
        "| moved | longest drain |"
    )
    rows = [head, "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|"]
    rows += [
        f"| {r.day} | {r.policy} | {r.arrived:,} | {r.refused:,} | {r.refused / r.arrived:.2%} | "
        f"{r.worst_minute_refused:,} | {r.pod_hours:.0f} | {r.most_pods} | {r.moved:,} | "
        f"{r.longest_drain_s:.0f} s |"
        for r in results
    ]
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=__doc__)
    parser.add_argument("--peak-calls", type=float, default=6000.0, help="calls at a time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--spare-nodes", type=int, default=1, help="nodes that stand empty")
    parser.add_argument("--least", type=int, default=2, help="pods at any time")
    parser.add_argument("--plot", type=Path, default=PLOT)
    given = parser.parse_args()
    plan = Plan(spare_nodes=given.spare_nodes, least=given.least)
    began = time.perf_counter()
    results = simulate(given.peak_calls, given.seed, plan)
    print(table(results))
    print(f"\nseed {given.seed}, {time.perf_counter() - began:.0f} s, {asdict(plan)}")
    OUT.mkdir(exist_ok=True)
    (OUT / "scaling.json").write_text(json.dumps([asdict(r) for r in results]))
    given.plot.write_text(plot(results, plan.max_calls * plan.target))


if __name__ == "__main__":
    main()
