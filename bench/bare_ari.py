"""What an ARI script costs that does a handoff's steps and nothing else: the yardstick.

No Redis, no state, no context, no witness, no recovery: one process, aiohttp with kept connections
and one websocket. A caller of its app is put into a bridge with an echo in place of a bot. Then

    POST /handoff?call=ID&endpoint=PJSIP/agent-1   answered at once
    GET  /merge?call=ID                            {"merge_ms": agent answered -> caller merged}

    VOICEFORK_ARI_PASSWORD=... python -m bench.bare_ari --ari http://127.0.0.1:8088 --app bare
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web

MIXING = "mixing,dtmf_events,proxy_media"
ECHO = "Local/900@from-carrier/n"
ANSWER_SECONDS = 15.0
INBOUND, AGENT, BOT = "inbound", "agent", "bot"
Params = dict[str, str]


@dataclass(slots=True)
class Handed:
    """One call: its caller's channel, and what came of its handoff."""

    caller: str
    bot_up: asyncio.Event
    agent_up: asyncio.Future[float]
    merge_ms: float | None = None


class BareScript:
    """The whole of it."""

    def __init__(self, session: aiohttp.ClientSession, url: str, app: str) -> None:
        self._session = session
        self._url = url
        self._app = app
        self._calls: dict[str, Handed] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, connected: asyncio.Event) -> None:
        """Until the websocket is closed."""
        url = self._url.replace("http", "ws", 1) + "/events"
        async with self._session.ws_connect(url, params={"app": self._app}) as events:
            connected.set()
            async for message in events:
                self._heard(message.json())

    def _heard(self, event: dict[str, Any]) -> None:
        channel = event.get("channel", {}).get("id", "")
        match event:
            case {"type": "StasisStart", "args": [kind, call_id]} if kind == INBOUND:
                loop = asyncio.get_running_loop()
                self._calls[call_id] = Handed(channel, asyncio.Event(), loop.create_future())
                self._spawn(self._greet(call_id))
            case {"type": "StasisStart", "args": [kind, call_id]} if kind == BOT:
                self._calls[call_id].bot_up.set()
            case {"type": "StasisStart", "args": [kind, call_id]} if kind == AGENT:
                self._calls[call_id].agent_up.set_result(time.perf_counter())
            case {"type": "StasisEnd"}:
                self._over(channel)
            case _:
                pass

    def _over(self, channel: str) -> None:
        for call_id, call in self._calls.items():
            if call.caller == channel:
                self._spawn(self._clean(call_id))

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ari(self, method: str, path: str, **params: str) -> None:
        async with self._session.request(method, self._url + path, params=params) as response:
            await response.read()

    async def _greet(self, call_id: str) -> None:
        """Caller and echo in one bridge."""
        call = self._calls[call_id]
        await self._ari("POST", f"/channels/{call.caller}/answer")
        await self._ari("POST", f"/bridges/{call_id}-bot", type=MIXING)
        await self._dial(call_id, BOT, ECHO)
        await call.bot_up.wait()
        for channel in (f"{call_id}-{BOT}", call.caller):
            await self._add(f"{call_id}-bot", channel)

    async def hand_over(self, call_id: str, endpoint: str) -> None:
        """The steps of an attended handoff, in their order."""
        call = self._calls[call_id]
        hold, mix, agent = f"{call_id}-hold", f"{call_id}-mix", f"{call_id}-{AGENT}"
        await self._ari("POST", f"/bridges/{hold}", type="holding")
        await self._ari("POST", f"/bridges/{hold}/moh", mohClass="default")
        await self._add(hold, call.caller)
        await self._dial(call_id, AGENT, endpoint)
        await self._ari("POST", f"/bridges/{mix}", type=MIXING)
        async with asyncio.timeout(ANSWER_SECONDS):
            answered = await call.agent_up
        await self._add(mix, agent, absorbDTMF="true")
        await self._add(mix, call.caller)
        call.merge_ms = (time.perf_counter() - answered) * 1e3
        await self._ari("DELETE", f"/channels/{call_id}-{BOT}")
        await self._ari("DELETE", f"/bridges/{call_id}-bot")
        await self._ari("DELETE", f"/bridges/{hold}")

    async def _dial(self, call_id: str, kind: str, endpoint: str) -> None:
        where = {"endpoint": endpoint, "channelId": f"{call_id}-{kind}", "app": self._app}
        caller = self._calls[call_id].caller
        await self._ari(
            "POST", "/channels", **where, appArgs=f"{kind},{call_id}", originator=caller
        )

    async def _add(self, bridge: str, channel: str, **options: str) -> None:
        quiet = {"inhibitConnectedLineUpdates": "true", **options}
        await self._ari("POST", f"/bridges/{bridge}/addChannel", channel=channel, **quiet)

    async def _clean(self, call_id: str) -> None:
        for channel in (AGENT, BOT):
            await self._ari("DELETE", f"/channels/{call_id}-{channel}")
        for bridge in ("mix", "hold", "bot"):
            await self._ari("DELETE", f"/bridges/{call_id}-{bridge}")

    # --- what the bench asks ------------------------------------------------------------------

    async def asked(self, request: web.Request) -> web.Response:
        self._spawn(self.hand_over(request.query["call"], request.query["endpoint"]))
        return web.Response()

    async def merged(self, request: web.Request) -> web.Response:
        return web.json_response({"merge_ms": self._calls[request.query["call"]].merge_ms})


async def run(ari: str, user: str, password: str, app: str) -> None:
    """Serves until SIGTERM; says `ready bare=host:port` once its app is registered."""
    loop, stop, connected = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    headers = {"Authorization": aiohttp.encode_basic_auth(user, password)}
    connector = aiohttp.TCPConnector(limit=64, keepalive_timeout=10.0)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
        script = BareScript(session, ari.rstrip("/") + "/ari", app)
        listening = loop.create_task(script.listen(connected))
        asking = web.Application()
        asking.add_routes([web.post("/handoff", script.asked), web.get("/merge", script.merged)])
        runner = web.AppRunner(asking)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        await connected.wait()
        host, port = runner.addresses[0][:2]
        sys.stdout.write(f"ready bare={host}:{port}\n")
        sys.stdout.flush()
        await stop.wait()
        listening.cancel()
        await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--ari", required=True, metavar="URL")
    parser.add_argument("--ari-user", default="voicefork")
    parser.add_argument("--app", default="bare")
    options = parser.parse_args()
    password = os.environ.get("VOICEFORK_ARI_PASSWORD", "")
    asyncio.run(run(options.ari, options.ari_user, password, options.app))


if __name__ == "__main__":
    main()
