"""The operator's HTTP: /healthz, /readyz, /metrics, /nodes, /calls, /routes, /autoscale."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

from orchestrator.errors import SetupError, StoreError

_FAREWELL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class AdminSources:
    """Where the answers come from."""

    registry: CollectorRegistry
    missing: Callable[[], Awaitable[Sequence[str]]]  # what keeps us from taking calls
    calls: Callable[[], Sequence[Mapping[str, object]]]
    routes: Callable[[], Mapping[str, object]]
    nodes: Callable[[], Awaitable[Mapping[str, object]]]  # our slot, the nodes, what they can do
    demand: Callable[[], Awaitable[Mapping[str, object]]]  # of workers; raises StoreError


@asynccontextmanager
async def open_admin(host: str, port: int, sources: AdminSources) -> AsyncIterator[int]:
    """Serves until the block is left; yields the port it got. Raises SetupError."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        missing = await sources.missing()
        status = 503 if missing else 200
        return web.json_response({"ready": not missing, "missing": list(missing)}, status=status)

    async def metrics(_: web.Request) -> web.Response:
        with suppress(StoreError):  # then what is known of the pool is left out
            await sources.demand()
        body = generate_latest(sources.registry)
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4"})

    async def calls(_: web.Request) -> web.Response:
        return web.json_response({"calls": list(sources.calls())})

    async def routes(_: web.Request) -> web.Response:
        return web.json_response(sources.routes())

    async def nodes(_: web.Request) -> web.Response:
        return web.json_response(await sources.nodes())

    async def autoscale(_: web.Request) -> web.Response:
        try:
            return web.json_response(await sources.demand())
        except StoreError as error:  # an autoscaler must not take it for a demand of 0
            return web.json_response({"error": str(error)}, status=503)

    app = web.Application()
    app.add_routes(
        [
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/metrics", metrics),
            web.get("/calls", calls),
            web.get("/routes", routes),
            web.get("/nodes", nodes),
            web.get("/autoscale", autoscale),
        ]
    )
    runner = web.AppRunner(app, shutdown_timeout=_FAREWELL_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise SetupError(f"--admin {host}:{port}: cannot listen ({error})") from error
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
