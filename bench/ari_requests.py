"""Requests to Asterisk by the events' websocket, beside the same by HTTP.

Both go through `AriRest` to one real Asterisk, in turns of a hundred, so that both meet the same
machine; what is told of them is their ratio.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles

from orchestrator.ari.client import AriClient
from orchestrator.ari.connection import AriConnection
from orchestrator.ari.rest import AriRest, open_rest
from orchestrator.telemetry import Metrics
from rich.console import Console
from rich.table import Table
from voicefork_cli.lab.asterisk import Asterisk, AsteriskPlan, open_asterisk
from voicefork_cli.lab.errors import LabError
from voicefork_cli.lab.processes import open_lab

TURN = 100
WARM_REQUESTS = 20
LIMIT_SECONDS = 10.0
APP = "voicefork-bench"


async def measure(turns: int) -> dict[str, float] | None:
    """p50 and p95 in ms of each way, and HTTP's as a multiple of the websocket's.

    None where the Asterisk is older than requests on a websocket. Raises LabError where there is
    none, or it does not start.
    """
    by_socket: list[float] = []
    by_http: list[float] = []
    async with (
        open_lab() as lab,
        open_asterisk(lab, AsteriskPlan()) as asterisk,
        _connected(asterisk) as rest,
    ):
        if (socket := rest.socket) is None:
            return None
        for way in (socket, None):
            rest.socket = way
            await _spent_ms(rest, WARM_REQUESTS)
        for _ in range(turns):
            rest.socket = socket
            by_socket += await _spent_ms(rest, TURN)
            rest.socket = None
            by_http += await _spent_ms(rest, TURN)
        rest.socket = socket
    return _figures(by_socket, by_http)


@asynccontextmanager
async def _connected(asterisk: Asterisk) -> AsyncIterator[AriRest]:
    """The orchestrator's own connection to that node, ready for requests."""
    metrics, ready = Metrics(), asyncio.Event()

    async def compared() -> None:
        ready.set()

    async with open_rest(
        asterisk.http_url,
        asterisk.ari_user,
        asterisk.ari_password,
        limit_seconds=LIMIT_SECONDS,
        metrics=metrics,
    ) as rest:
        connection = AriConnection(
            rest,
            AriClient(rest, APP),
            on_event=lambda _: None,
            on_connected=compared,
            metrics=metrics,
            requests=True,
        )
        async with asyncio.TaskGroup() as work:
            running = work.create_task(connection.run())
            try:
                async with asyncio.timeout(LIMIT_SECONDS):
                    await ready.wait()
                yield rest
            finally:
                running.cancel()


async def _spent_ms(rest: AriRest, requests: int) -> list[float]:
    spent = []
    for _ in range(requests):
        begun = time.perf_counter()
        await rest.request("GET", "asterisk", "ping")
        spent.append((time.perf_counter() - begun) * 1000)
    return spent


def _figures(by_socket: list[float], by_http: list[float]) -> dict[str, float]:
    tails = [quantiles(spent, n=20)[-1] for spent in (by_socket, by_http)]
    figures = {
        "websocket_ms_p50": median(by_socket),
        "websocket_ms_p95": tails[0],
        "http_ms_p50": median(by_http),
        "http_ms_p95": tails[1],
        "ratio_p50": median(by_http) / median(by_socket),
        "ratio_p95": tails[1] / tails[0],
    }
    return {name: round(value, 3) for name, value in figures.items()}


def _show(figures: dict[str, float]) -> None:
    table = Table("ping", "p50", "p95", title="ARI requests")
    for way, name in (("websocket", "websocket_ms"), ("HTTP", "http_ms")):
        p50, p95 = (figures[f"{name}_{quantile}"] for quantile in ("p50", "p95"))
        table.add_row(way, f"{p50:.2f} ms", f"{p95:.2f} ms")
    table.add_row("ratio", f"{figures['ratio_p50']:.1f}", f"{figures['ratio_p95']:.1f}")
    Console().print(table)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.ari_requests", description=__doc__)
    parser.add_argument("--turns", type=int, default=20, help=f"of {TURN} requests each way")
    parser.add_argument("--out", type=Path, default=Path("bench/out/ari_requests.json"))
    options = parser.parse_args()
    try:
        figures = asyncio.run(measure(options.turns))
    except LabError as error:
        print(f"bench.ari_requests: {error}", file=sys.stderr)
        return 2
    if figures is None:
        print("bench.ari_requests: this Asterisk takes requests by HTTP only", file=sys.stderr)
        return 2
    _show(figures)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
