"""What the fork costs the calls of a real OpenSIPS, and whether any fork is lost.

    added   calls in turn: forked; not forked, past rtpengine; not forked, through rtpengine.
            Time from INVITE to 200 at the caller, without the PBX's own; what the fork adds is the
            difference of the quantiles of "forked" and "plain", rtpengine's share included
    load    100 calls a second, all forked to two real workers: failed calls, set-up, and forks that
            no worker has (OpenSIPS 3.6.8 loses those that are answered at once)
    pick    vf_pick at 1,000 a second, and Redis' own time of it under the load

Needs OpenSIPS (PATH, or OPENSIPS_BIN and OPENSIPS_MODULES); without one it says so and is skipped.

    python -m bench.edge [--pairs 600] [--load-calls 1500] [--rate 100] [--out bench/out/edge.json]
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import numpy as np
from redis.asyncio import Redis as RedisClient
from rich.console import Console
from rich.table import Table
from voicefork_cli.lab.errors import LabError, MissingProgramError
from voicefork_cli.lab.opensips import OpenSips, OpenSipsPlan, find_opensips, open_opensips
from voicefork_cli.lab.ours import Service, WorkerPlan, open_worker
from voicefork_cli.lab.processes import Lab, open_lab
from voicefork_cli.lab.redis import Redis, open_redis
from voicefork_cli.lab.rtpengine import open_rtpengine

from bench.edge_calls import Lane, Pbx, Placed, open_peers, place
from bench.forks import write
from bench.picks import measure_picks

OUT = Path(__file__).parent / "out" / "edge.json"
LANES = ("forked", "plain", "relayed")
ADDED_RATE = 45.0  # calls a second, all lanes together
CALL_SECONDS = 1.5
WARM_CALLS = 60
RTP_PORTS = 4000  # a forked call takes 8
WORKER_RTP_PORTS = 2000
POOL_SECONDS = 1.0  # until both workers' beats are in Redis
FORK_SECONDS = 3.0  # until a worker has the end of the last fork, a rescue of 0.5 s included
REFUSED = re.compile(r'(?m)^voicefork_worker_refused_total\{status="(\d+)"\} (\S+)')
QUANTILES = (0.5, 0.95, 0.99)
MOST_CALLS = 1800  # two workers remember 1,000 each
KEPT = 50  # failures with their reasons
AIMS = {
    "added_ms_p99": 5.0,
    "forks_lost": 0,
    "forks_asked_twice": 0,
    "added_failed": 0,
    "load_failed": 0,
    "pick_ms_p99": 0.5,
}


@dataclass(slots=True)
class Rig:
    lanes: dict[str, Lane]
    workers: list[Service]
    redis: Redis
    edges: list[OpenSips]


@dataclass(slots=True)
class Phase:
    """What became of the calls of one phase, and of their forks."""

    calls: list[Placed]
    recorded: set[str] = field(default_factory=set)
    lost: list[str] = field(default_factory=list)  # with the reason
    asked_twice: int = 0  # the edge took the first worker for silent, and asked the next one

    @property
    def failed(self) -> list[str]:
        return [
            f"{call.lane} {call.sip_call_id}: {call.failure}" for call in self.calls if call.failure
        ]

    def quantiles(self, lane: str) -> dict[str, float]:
        """Milliseconds of set-up: p50, p95, p99, max."""
        times = [c.set_up_ms for c in self.calls if c.lane == lane and c.answered]
        if not times:
            return {}
        found = {f"p{100 * q:g}": round(float(np.quantile(times, q)), 2) for q in QUANTILES}
        return {**found, "max": round(max(times), 2)}


@asynccontextmanager
async def open_rig(lab: Lab) -> AsyncIterator[Rig]:
    """Two edges (one relays all audio), Redis, two workers, rtpengine, and who calls."""
    async with AsyncExitStack() as opened:
        redis = await opened.enter_async_context(open_redis(lab))
        rtpengine = await opened.enter_async_context(open_rtpengine(lab, rtp_ports=RTP_PORTS))
        workers = [
            await opened.enter_async_context(open_worker(lab, _worker(lab, redis, number)))
            for number in (1, 2)
        ]
        pbx, lanes = await opened.enter_async_context(open_peers(*LANES))
        by_name = {lane.name: lane for lane in lanes}
        edges = []
        for name, relay_all in (("edge", False), ("relaying", True)):
            values = _values(pbx, lanes, redis) | {"relay_all": relay_all}
            plan = OpenSipsPlan(
                pbx="{}:{}".format(*pbx.address),
                carrier="127.0.0.1:9",
                rtpengine=f"{rtpengine.host}:{rtpengine.port}",
                workers=[worker.addresses["sip"] for worker in workers],
                name=name,
                values=values,
            )
            edges.append(await opened.enter_async_context(open_opensips(lab, plan)))
        for lane in lanes:
            edge = edges[lane.name == "relayed"]
            lane.edge = _address(edge.sip)
        await asyncio.sleep(POOL_SECONDS)
        yield Rig(by_name, workers, redis, edges)


def _worker(lab: Lab, redis: Redis, number: int) -> WorkerPlan:
    """With ports for 50 calls a second: each has three pairs, which then rest for two seconds."""
    ports = lab.ports.rtp_range(WORKER_RTP_PORTS)
    options = ("--rtp-ports", f"{ports.first}-{ports.last}")
    return WorkerPlan("discard:", redis.url, name=f"worker-{number}", options=options)


def _values(pbx: Pbx, lanes: Sequence[Lane], redis: Redis) -> dict[str, object]:
    """The defaults of production, but for the limits; each lane is a trunk."""
    trunks: list[dict[str, object]] = [
        {
            **{"name": lane.name, "sources": [lane.address[0]], "fork": lane.name == "forked"},
            "calls_per_second": 10000,
        }
        for lane in lanes
    ]
    trunks.append({"name": "lab", "sources": ["127.0.0.1"]})  # asks whether the edge is ready
    limits = {"calls_per_second": 10000, "udp_workers": 8, "tcp_workers": 4}
    return {"trunks": trunks, "redis": redis.url, **limits}


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


async def measure(rig: Rig, lanes: Sequence[str], calls: int, rate: float) -> Phase:
    """The calls, and what the workers say of those that are forked."""
    phase = Phase(await place([rig.lanes[name] for name in lanes], calls, rate, CALL_SECONDS))
    forked = [c for c in phase.calls if c.lane == "forked" and c.answered]
    deadline = asyncio.get_running_loop().time() + FORK_SECONDS
    while True:
        ends = await ended_forks(rig.workers)
        missing = [call for call in forked if None in ends.get(call.call_id, [None])]
        if not missing or asyncio.get_running_loop().time() > deadline:
            break
        await asyncio.sleep(0.2)
    for call in forked:
        told = [end or "has not ended with its call" for end in ends.get(call.call_id, ())]
        phase.asked_twice += len(told) > 1
        if any(map(is_whole, told)):
            phase.recorded.add(call.call_id)
        else:
            phase.lost.append(f"{call.sip_call_id}: {'; '.join(told) or 'no worker has it'}")
    return phase


def is_whole(end: str) -> bool:
    """A worker that gives this as a fork's end has recorded it to its end."""
    return end != "cancelled" and not end.startswith(("not recorded", "has not"))


async def ended_forks(workers: Sequence[Service]) -> dict[str, list[str | None]]:
    """Why each fork has ended at each worker that knows it, by X-Voicefork-Call; None: it lives."""
    found: dict[str, list[str | None]] = {}
    async with aiohttp.ClientSession() as session:
        for worker in workers:
            async with session.get(f"http://{worker.addresses['admin']}/calls") as answer:
                shown = await answer.json()
            for call in (*shown["ended"], *shown["live"]):
                found.setdefault(call["call_id"], []).append(call["ended_reason"])
    return found


async def refusals(workers: Sequence[Service]) -> dict[str, float]:
    """INVITEs that the workers refused, by status: 503 where they are late or full."""
    found: Counter[str] = Counter()
    async with aiohttp.ClientSession() as session:
        for worker in workers:
            async with session.get(f"http://{worker.addresses['admin']}/metrics") as answer:
                text = await answer.text()
            for status, times in REFUSED.findall(text):
                found[f"refused_by_workers_{status}"] += int(float(times))
    return dict(found)


async def fcall_p99(redis: Redis) -> float:
    """Milliseconds that Redis itself took for a function, beats included."""
    client = RedisClient.from_url(redis.url)
    try:
        told = await client.info("latencystats")
    finally:
        await client.aclose()
    return round(float(told["latency_percentiles_usec_fcall"]["p99"]) / 1000, 3)


def summarize(rig: Rig, added: Phase, load: Phase) -> dict[str, float]:
    lanes = {name: added.quantiles(name) for name in LANES}
    result: dict[str, float] = {"added_calls": len(added.calls), "added_failed": len(added.failed)}
    for name, quantiles in lanes.items():
        result |= {f"{name}_ms_{key}": value for key, value in quantiles.items()}
    if lanes["forked"] and lanes["plain"] and lanes["relayed"]:
        for key in ("p50", "p95", "p99"):
            forked = lanes["forked"][key]
            result[f"added_ms_{key}"] = round(forked - lanes["plain"][key], 2)
            result[f"added_beyond_relay_ms_{key}"] = round(forked - lanes["relayed"][key], 2)
    result |= {"load_calls": len(load.calls), "load_failed": len(load.failed)}
    result["load_calls_per_second"] = round(rate_of(load.calls), 1)
    result |= {f"load_ms_{key}": value for key, value in load.quantiles("forked").items()}
    result["forks"] = len(added.recorded) + len(load.recorded) + len(added.lost) + len(load.lost)
    result["forks_lost"] = len(added.lost) + len(load.lost)
    result["forks_asked_twice"] = added.asked_twice + load.asked_twice
    logs = [worker.program.log_text() for worker in rig.workers]
    result["forks_rescued"] = sum(log.count("no ACK yet") for log in logs)
    return result


def rate_of(calls: Sequence[Placed]) -> float:
    """Calls a second as they were really placed."""
    times = [call.invited for call in calls]
    return (len(times) - 1) / max(max(times) - min(times), 1e-9) if len(times) > 1 else 0.0


def versions() -> str:
    binary, _ = find_opensips()
    argv = [str(binary), "-V"]
    shown = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=10)
    return shown.stdout.partition("\n")[0]


async def run(pairs: int, load_calls: int, rate: float, out: Path) -> int:
    console = Console()
    async with open_lab() as lab, open_redis(lab) as alone:
        picks = await asyncio.to_thread(measure_picks, alone.port)
    async with open_lab() as lab, open_rig(lab) as rig:
        await measure(rig, LANES, WARM_CALLS, ADDED_RATE)
        added = await measure(rig, LANES, pairs * len(LANES), ADDED_RATE)
        console.print(f"added: {len(added.calls)} calls, {len(added.failed)} failed")
        load = await measure(rig, ("forked",), load_calls, rate)
        console.print(f"load: {len(load.calls)} calls, {len(load.failed)} failed")
        summary = summarize(rig, added, load)
        summary |= await refusals(rig.workers) | picks
        summary["fcall_in_redis_ms_p99"] = await fcall_p99(rig.redis)
    reasons = [*added.failed, *load.failed, *added.lost, *load.lost]
    missed = [name for name, aim in AIMS.items() if summary.get(name, float("inf")) > aim]
    show(console, summary, reasons)
    told = {"opensips": versions(), "rate": rate, **summary, "missed": missed}
    write(out, {**told, "failures": reasons[:KEPT]})
    return 1 if missed else 0


def show(console: Console, summary: dict[str, float], reasons: Sequence[str]) -> None:
    table = Table("figure", "value", "aim")
    for name, value in summary.items():
        table.add_row(name, f"{value:g}", f"<= {AIMS[name]:g}" if name in AIMS else "")
    console.print(table)
    for reason, times in Counter(text.partition(": ")[2] for text in reasons).most_common():
        console.print(f"{times} times: {reason}", markup=False)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=600, help="calls of each lane")
    parser.add_argument("--load-calls", type=int, default=1500)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args(argv)
    if not (0 < given.pairs <= MOST_CALLS and 0 < given.load_calls <= MOST_CALLS):
        parser.error(f"1 to {MOST_CALLS} calls: workers remember no more of those that ended")
    try:
        find_opensips()
    except MissingProgramError as error:
        sys.stdout.write(f"bench.edge: skipped: {error}\n")
        return 0
    try:
        return asyncio.run(run(given.pairs, given.load_calls, given.rate, given.out))
    except LabError as error:
        sys.stderr.write(f"bench.edge: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
