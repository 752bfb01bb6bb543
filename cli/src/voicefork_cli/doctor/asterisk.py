"""Asterisk as ARI shows it: version, whether the orchestrator's apps are there, what it can do."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from voicefork_cli.doctor.finding import Finding, found
from voicefork_cli.doctor.places import Places

OLDEST = 20
PROBE_APP = "voicefork-doctor"
APPS = "voicefork-"
BROADCAST = "app_stasis_broadcast.so"
VOICE = "chan_websocket.so"
SOCKET_SECONDS = 1.0
OK, UNAUTHORIZED = 200, 401


async def look_at_asterisk(places: Places) -> list[Finding]:
    if not places.ari:
        return []
    where = urlsplit(places.ari)
    advice = (
        f"no ARI is reached at {where.netloc}: http.conf (enabled, bindaddr: loopback is the "
        "default) and ari.conf, as deploy/asterisk/README.md says"
    )
    return await found("ari", advice, lambda: _asterisk(places))


async def _asterisk(places: Places) -> list[Finding]:
    """Raises aiohttp.ClientError."""
    account = base64.b64encode(f"{places.ari_user}:{places.ari_password}".encode()).decode()
    headers = {"Authorization": f"Basic {account}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        base = f"{places.ari.rstrip('/')}/ari"
        async with session.get(f"{base}/asterisk/info") as response:
            if response.status == UNAUTHORIZED:
                advice = "the user and password of ari.conf, in VOICEFORK_ARI_PASSWORD"
                return [Finding("ari: account", f"{places.ari_user!r} is refused", advice)]
            response.raise_for_status()
            told = await response.json()
        return [
            _version(told),
            await _apps(session, base),
            await _broadcast(session, base),
            await _briefings(session, base),
            await _socket_rest(session, base),
        ]


def _version(told: Mapping[str, Any]) -> Finding:
    version = str(told.get("system", {}).get("version", "unknown"))
    major = version.split(".", maxsplit=1)[0]
    if major.isdigit() and int(major) < OLDEST:
        return Finding("ari: Asterisk", version, "20 or newer is needed")
    return Finding("ari: Asterisk", version)


async def _apps(session: aiohttp.ClientSession, base: str) -> Finding:
    async with session.get(f"{base}/applications") as response:
        names = sorted(app["name"] for app in await response.json())
    ours = [name for name in names if name.startswith(APPS) and name != PROBE_APP]
    what = "ari: orchestrator's apps"
    if not ours:
        return Finding(what, "none", "no orchestrator is connected: see its /readyz and its --ari")
    return Finding(what, ", ".join(ours))


async def _broadcast(session: aiohttp.ClientSession, base: str) -> Finding:
    """Not needed: without it the dialplan tries one slot after the other."""
    async with session.get(f"{base}/asterisk/modules/{BROADCAST}") as response:
        there = response.status == OK
    said = "there (VOICEFORK_BROADCAST=yes may use it)" if there else "not there, slots do instead"
    return Finding("ari: StasisBroadcast", said)


async def _briefings(session: aiohttp.ClientSession, base: str) -> Finding:
    """Not needed by who whispers nothing: a handoff without it is as an attended one."""
    async with session.get(f"{base}/asterisk/modules/{VOICE}") as response:
        there = response.status == OK
    missing = "not heard without chan_websocket (20.16, 21.11, 22.6): agents read the context"
    return Finding("ari: briefings and whispers", "heard by agents" if there else missing)


async def _socket_rest(session: aiohttp.ClientSession, base: str) -> Finding:
    """Whether requests may go on the websocket (22.4); else they go by HTTP."""
    what = "ari: websocket"
    query = {"app": PROBE_APP, "subscribeAll": "false"}
    async with session.ws_connect(f"{base}/events", params=query) as socket:
        ask = {"type": "RESTRequest", "request_id": "1", "method": "GET", "uri": "asterisk/ping"}
        await socket.send_str(json.dumps(ask))
        try:
            async with asyncio.timeout(SOCKET_SECONDS):
                async for message in socket:
                    if json.loads(message.data).get("type") == "RESTResponse":
                        return Finding(what, "events and requests")
        except TimeoutError:
            return Finding(what, "events; requests go by HTTP")
    return Finding(what, "closed at once", "res_http_websocket and res_ari_events must be loaded")
