"""An Asterisk's REST interface as a worker meets it: an HTTP server with channels and bridges."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import encode_basic_auth, web

USER, PASSWORD = "voicefork", "secret"


@dataclass
class FakeAriNode:
    """`requests` is what was asked, "POST channels/c1/moh"; `refuse` answers by its end."""

    channels: dict[str, str] = field(default_factory=dict)  # id -> name
    bridges: dict[str, list[str]] = field(default_factory=dict)
    places: set[str] = field(default_factory=lambda: {"voicefork-queue,s,1"})
    refuse: dict[str, int] = field(default_factory=dict)  # "continue" -> status
    too_early: int = 0
    """Requests to dial that come before a created channel is in Stasis."""
    dialled: set[str] = field(default_factory=set)
    stalls: bool = False
    requests: list[str] = field(default_factory=list)
    url: str = ""
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def asked(self, what: str) -> int:
        """How often a request ended so."""
        return sum(request.endswith(what) for request in self.requests)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix("/ari/")
        self.requests.append(f"{request.method} {path}")
        if request.headers.get("Authorization", "") != basic(USER, PASSWORD):
            return web.json_response({"error": "Unauthorized"}, status=401)
        if self.stalls:
            await self.over.wait()
        for end, status in self.refuse.items():
            if path.endswith(end):
                return web.json_response({"message": "refused"}, status=status)
        return self._do(request, path.split("/"))

    def _do(self, request: web.Request, path: list[str]) -> web.Response:
        match request.method, path:
            case "GET", ["bridges"]:
                found = [{"id": name, "channels": who} for name, who in self.bridges.items()]
                return web.json_response(found)
            case "DELETE", ["bridges", name]:
                return _gone() if self.bridges.pop(name, None) is None else web.Response(status=204)
            case "POST", ["bridges", name]:
                self.bridges[name] = []
                return web.json_response({"id": name})
            case _, ["bridges", name, *_] if name not in self.bridges:
                return _gone()
            case "GET", ["bridges", name]:
                return web.json_response({"id": name, "channels": self.bridges[name]})
            case "POST", ["bridges", name, "addChannel"]:
                self._leave_bridges(request.query["channel"])
                self.bridges[name].append(request.query["channel"])
                return _done()
            case "POST", ["bridges", _, "moh"]:
                return _done()
            case "DELETE", ["channels", name]:
                return _gone() if self.channels.pop(name, None) is None else _done()
            case "POST", ["channels", "create"]:
                self.channels[request.query["channelId"]] = request.query["endpoint"]
                return web.json_response({"id": request.query["channelId"]})
            case _, ["channels", name, *_] if name not in self.channels:
                return _gone()
            case "GET", ["channels", name]:
                return web.json_response({"id": name, "name": self.channels[name]})
            case "GET", ["channels", _, "variable"]:
                asked = request.query["variable"].removeprefix("DIALPLAN_EXISTS(").rstrip(")")
                return web.json_response({"value": "1" if asked in self.places else "0"})
            case "POST", ["channels", name, "continue"]:
                self.requests[-1] += f" {request.query['extension']}@{request.query['context']}"
                self._leave_bridges(name)
                return _done()
            case "POST", ["channels", name, "dial"]:
                return self._dial(name)
            case ("POST", ["channels", _, "moh" | "variable"]) | ("DELETE", ["channels", _, "moh"]):
                return _done()
        return _gone()

    def _leave_bridges(self, channel: str) -> None:
        for who in self.bridges.values():
            if channel in who:
                who.remove(channel)

    def _dial(self, name: str) -> web.Response:
        """As res_ari_channels of Asterisk 22.10 words it."""
        if self.too_early > 0:
            self.too_early -= 1
            return web.json_response({"message": "Channel not in Stasis application"}, status=409)
        if name in self.dialled:
            return web.json_response({"message": "Channel is not in the 'Down' state"}, status=409)
        self.dialled.add(name)
        return _done()


def basic(user: str, password: str) -> str:
    return encode_basic_auth(user, password)


def _done() -> web.Response:
    return web.Response(status=204)


def _gone() -> web.Response:
    return web.json_response({"message": "not found"}, status=404)


@asynccontextmanager
async def open_ari_node() -> AsyncIterator[FakeAriNode]:
    """A node with a caller ("caller") and the bot's leg ("bot") in one bridge ("b1")."""
    node = FakeAriNode(
        channels={"caller": "PJSIP/carrier-1", "bot": "UnicastRTP/127.0.0.1:4000-0x1"},
        bridges={"b1": ["caller", "bot"]},
    )
    app = web.Application()
    app.router.add_route("*", "/ari/{path:.*}", node.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    node.url = f"http://{host}:{port}"
    try:
        yield node
    finally:
        node.over.set()
        await runner.cleanup()
