"""What alerts and dashboards ask for is what running services export."""

from __future__ import annotations

import re

import aiohttp
from voicefork_cli.lab.ours import WorkerPlan, open_worker
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.redis import open_redis

from tests.chart.monitored import edge_metrics, metrics_of, queries
from tests.integration.monitoring.unready import open_unready_orchestrator

_TYPE = re.compile(r"^# TYPE (\w+) (\w+)$", re.MULTILINE)


async def exported(admin: str) -> set[str]:
    """The names of all series that /metrics has or would have."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{admin}/metrics") as response,
    ):
        text = await response.text()
    names: set[str] = set()
    for name, kind in _TYPE.findall(text):
        endings = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        names |= {name + ending for ending in endings}
    return names


async def test_every_metric_that_is_asked_for_is_exported(lab: Lab) -> None:
    plan = WorkerPlan(agent="grpc://127.0.0.1:9")
    async with (
        open_redis(lab) as redis,
        open_worker(lab, plan) as worker,
        open_unready_orchestrator(lab, redis.url) as admin,
    ):
        known = await exported(worker.addresses["admin"]) | await exported(admin) | edge_metrics()
    missing = {(where, name) for where, query in queries() for name in metrics_of(query) - known}
    assert not missing
