"""Admin HTTP: health, metrics and the calls, as JSON. For the cluster's own network only."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from siprec_worker.config import HostPort
from siprec_worker.errors import SetupError
from siprec_worker.session.call import RecordedCall
from siprec_worker.session.ended import EndedCall
from siprec_worker.session.registry import Calls
from siprec_worker.session.view import summary, view
from siprec_worker.telemetry import Metrics

Ready = Callable[[], Awaitable[str]]
"""Says why the worker should get no calls; empty = it should."""


class AdminPages:
    def __init__(
        self,
        calls: Calls,
        metrics: Metrics,
        ready: Ready,
        refresh: Callable[[], None],
        ask_metadata: Callable[[RecordedCall], bool],
    ) -> None:
        """`ask_metadata`: asks a call's SRC for all it knows; False = it cannot be asked now."""
        self._ask_metadata = ask_metadata
        self._calls = calls
        self._metrics = metrics
        self._ready = ready
        self._refresh = refresh

    def app(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self.healthz),
                web.get("/readyz", self.readyz),
                web.get("/metrics", self.metrics),
                web.get("/calls", self.list_calls),
                web.get("/calls/by-call-id/{sip_call_id:.+}", self.call_by_sip_call_id),
                web.get("/calls/{call_id}", self.call),
                web.post("/calls/{call_id}/metadata-request", self.metadata_request),
            ]
        )
        return app

    async def healthz(self, _: web.Request) -> web.Response:
        return _json({"status": "ok"})

    async def readyz(self, _: web.Request) -> web.Response:
        why = await self._ready()
        return _json({"ready": not why, "why": why}, status=503 if why else 200)

    async def metrics(self, _: web.Request) -> web.Response:
        self._refresh()
        body = generate_latest(self._metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def list_calls(self, _: web.Request) -> web.Response:
        return _json(
            {
                "live": [summary(call) for call in self._calls.live()],
                "ended": [call.line for call in self._calls.ended()],
            }
        )

    async def call(self, request: web.Request) -> web.Response:
        call_id = request.match_info["call_id"]
        calls = self._calls
        return _shown(calls.by_call_id(call_id) or calls.ended_by_call_id(call_id))

    async def metadata_request(self, request: web.Request) -> web.Response:
        """202: the SRC is asked; what it says shows in the call. 409: it cannot be asked now."""
        call = self._calls.by_call_id(request.match_info["call_id"])
        if call is None:
            return _json({"error": "no such call lives here"}, status=404)
        if not self._ask_metadata(call):
            return _json({"error": "the client takes no UPDATE, or one is under way"}, status=409)
        return _json({"asked": True}, status=202)

    async def call_by_sip_call_id(self, request: web.Request) -> web.Response:
        call_id = request.match_info["sip_call_id"]
        calls = self._calls
        return _shown(calls.by_sip_call_id(call_id) or calls.ended_by_sip_call_id(call_id))


def _shown(call: RecordedCall | EndedCall | None) -> web.Response:
    match call:
        case None:
            error = "no such call here, live or among the last that ended"
            return _json({"error": error}, status=404)
        case EndedCall():
            return web.Response(text=call.page, content_type="application/json")
    return _json(view(call))


def _json(content: object, status: int = 200) -> web.Response:
    text = json.dumps(content, ensure_ascii=False, default=str)
    return web.Response(text=text, status=status, content_type="application/json")


@asynccontextmanager
async def open_admin(listen: HostPort, pages: AdminPages) -> AsyncIterator[int]:
    """Serves the pages; gives the port."""
    runner = web.AppRunner(pages.app(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, listen.host, listen.port)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise SetupError(f"--admin {listen}: {error}") from error
    try:
        port: int = runner.addresses[0][1]
        yield port
    finally:
        await runner.cleanup()
