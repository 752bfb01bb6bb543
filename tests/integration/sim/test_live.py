"""What a load shows while it runs, with a real worker's own figures."""

from __future__ import annotations

import asyncio
import re

from typer.testing import CliRunner
from voicefork_cli.app import app
from voicefork_cli.sim.live import Moment, Rates, WorkerFigures, read_figures

from tests.integration.interop.worker import running_worker

PAGE = """# HELP x y
voicefork_worker_calls 3.0
voicefork_worker_rtp_packets_total 1200.0
voicefork_worker_rtp_lost_total 2.0
voicefork_worker_refused_total{status="503"} 4.0
voicefork_worker_refused_total{status="488"} 1.0
voicefork_worker_tick_lag_seconds 0.0015
process_cpu_seconds_total 7.5
process_resident_memory_bytes 9.6e+07
"""


def test_a_page_of_metrics_is_read_and_labels_are_summed() -> None:
    assert read_figures(PAGE) == WorkerFigures(
        calls=3, packets=1200, lost=2, refused=5, lag_ms=1.5, cpu_seconds=7.5, memory_mb=96.0
    )


def test_rates_are_of_the_time_between_two_looks() -> None:
    before = Moment(1.0, 100, WorkerFigures(packets=90, cpu_seconds=1.0))
    now = Moment(3.0, 300, WorkerFigures(packets=270, cpu_seconds=1.5))
    assert Rates.between(before, now) == Rates(100.0, 90.0, 0.25)
    assert Rates.between(Moment(1.0, 100, None), now) == Rates(100.0, None, None)


async def test_a_line_a_second_tells_both_sides_and_a_table_the_sums() -> None:
    async with running_worker(agent="discard:", dial="fork") as worker:
        uri = f"sip:{worker.host}:{worker.port};transport=tcp"
        arguments = ["sim", "load", "--worker", uri, "--admin", worker.admin]
        arguments += ["--calls", "4", "--rate", "20", "--seconds", "2.5"]
        result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
    assert result.exit_code == 0, result.output
    lines = [line for line in result.output.splitlines() if " calls up " in line]
    assert len(lines) >= 2
    ours = "calls up 4, begun 4 of 4, failed 0, "
    theirs = r"worker: calls 4, packets/s [1-9]\d*, lost 0, bad 0, refused 0"
    assert any(ours in line and re.search(theirs, line) for line in lines)
    assert re.search(r"recorded +│ +4 ", result.output)
    assert "worker: CPU" in result.output


async def test_without_admin_pages_only_our_own_figures_are_shown() -> None:
    async with running_worker(agent="discard:", dial="fork") as worker:
        uri = f"sip:{worker.host}:{worker.port};transport=tcp"
        arguments = ["sim", "call", "--worker", uri, "--admin", "127.0.0.1:9", "--seconds", "1.2"]
        result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
    assert result.exit_code == 0, result.output
    assert "calls up 1, " in result.output
    assert "worker:" not in result.output
