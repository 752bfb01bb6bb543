"""Requests to one Asterisk node's REST interface: limits, typed errors, one connection pool."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from urllib.parse import quote

import aiohttp

from orchestrator.ari.socket_rest import SocketBroken, SocketRest
from orchestrator.errors import Conflict, NotFound, PbxError, Unprocessable, Unreachable
from orchestrator.telemetry import Metrics

# Asterisk closes an idle connection after 15 s (http.conf session_keep_alive): leave first.
_KEEPALIVE_SECONDS = 10.0
_CONNECTIONS = 64
_ERRORS: Mapping[int, type[PbxError]] = {404: NotFound, 409: Conflict, 422: Unprocessable}
_LOWEST_ERROR = 400
_UNRESERVED = re.compile(r"[A-Za-z0-9_.~-]*")  # RFC 3986 section 2.3


Permit = Callable[[], Awaitable[bool]]
"""Whether anything may be changed in the PBX: False = another replica has our calls."""


class AriRest:
    """One node's `/ari`. Made by `open_rest`."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        limit_seconds: float,
        metrics: Metrics,
        permit: Permit | None = None,
    ) -> None:
        self._session = session
        self._url = url.rstrip("/") + "/ari"
        self._limit = limit_seconds
        self._metrics = metrics
        self._permit = permit
        self.socket: SocketRest | None = None  # where the node takes requests on a websocket

    async def request(
        self,
        method: str,
        *path: str,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        aside: bool = False,
    ) -> object:
        """Sends a request; returns the decoded JSON, None where there is no body.

        `path` are unquoted segments: ids come from peers. `aside`: not by the websocket, which
        answers one request after the other: a slow one holds up all that follow. Raises PbxError
        by status; Unreachable when nothing came back within the limit.
        """
        where = "/" + "/".join(map(_quoted, path))
        operation = f"{method} {path[0]}/{path[2]}" if len(path) > 2 else f"{method} {path[0]}"  # noqa: PLR2004
        if method != "GET" and self._permit is not None and not await self._permit():
            raise Unreachable(method, where, 0, "another replica has our calls")
        started = time.perf_counter()
        result = "error"
        try:
            async with asyncio.timeout(self._limit):
                socket = None if aside else self.socket
                status, text = await self._exchange(socket, method, where, params, body)
            result = str(status)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unreachable(method, where, 0, type(error).__name__) from error
        finally:
            spent = time.perf_counter() - started
            self._metrics.ari_requests.labels(operation, result).observe(spent)
        if status >= _LOWEST_ERROR:
            raise _ERRORS.get(status, PbxError)(method, where, status, _message(text))
        return _decode(method, where, text)

    async def _exchange(
        self,
        socket: SocketRest | None,
        method: str,
        where: str,
        params: Mapping[str, str] | None,
        body: Mapping[str, object] | None,
    ) -> tuple[int, str]:
        """One attempt, and a second where Asterisk had closed the kept connection meanwhile.

        Repeating is harmless: what we create carries ids of our own.
        """
        if socket is not None and socket.free:
            try:
                return await socket.ask(method, where, params, body)
            except SocketBroken:
                pass  # by HTTP, then: the node may live although its websocket does not
        try:
            return await self._once(method, where, params, body)
        except aiohttp.ServerDisconnectedError:
            return await self._once(method, where, params, body)

    async def _once(
        self,
        method: str,
        where: str,
        params: Mapping[str, str] | None,
        body: Mapping[str, object] | None,
    ) -> tuple[int, str]:
        async with self._session.request(
            method, self._url + where, params=params, json=body
        ) as response:
            return response.status, await response.text(errors="replace")

    async def connect(self, app: str, heartbeat_seconds: float) -> aiohttp.ClientWebSocketResponse:
        """The websocket on which the events of `app` arrive; registers the app.

        Raises Unreachable, or PbxError when Asterisk refuses (wrong user or password).
        """
        path = "/events"
        try:
            async with asyncio.timeout(self._limit):
                return await self._session.ws_connect(
                    self._url.replace("http", "ws", 1) + path,
                    params={"app": app},
                    heartbeat=heartbeat_seconds,
                )
        except aiohttp.WSServerHandshakeError as error:
            raise PbxError("GET", path, error.status, error.message) from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unreachable("GET", path, 0, type(error).__name__) from error

    async def media(self, connection: str) -> aiohttp.ClientWebSocketResponse:
        """The websocket of a media channel. Raises Unreachable, PbxError."""
        path = "/media"
        url = self._url.replace("http", "ws", 1).removesuffix("/ari")
        try:
            async with asyncio.timeout(self._limit):
                return await self._session.ws_connect(
                    f"{url}{path}/{quote(connection, safe='')}", protocols=("media",)
                )
        except aiohttp.WSServerHandshakeError as error:
            raise PbxError("GET", path, error.status, error.message) from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unreachable("GET", path, 0, type(error).__name__) from error


@asynccontextmanager
async def open_rest(  # noqa: PLR0913 - keywords, most of them
    url: str,
    user: str,
    password: str,
    *,
    limit_seconds: float,
    metrics: Metrics,
    permit: Permit | None = None,
) -> AsyncIterator[AriRest]:
    """A node's REST interface with kept connections. Nothing is sent yet."""
    headers = {"Authorization": aiohttp.encode_basic_auth(user, password)}
    connector = aiohttp.TCPConnector(limit=_CONNECTIONS, keepalive_timeout=_KEEPALIVE_SECONDS)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
        yield AriRest(session, url, limit_seconds, metrics, permit)


def _quoted(segment: str) -> str:
    """As it may stand in a path; ids of ours are that already."""
    return segment if _UNRESERVED.fullmatch(segment) else quote(segment, safe="")


def _message(text: str) -> str:
    """Asterisk's own words of an error body {"message": ...}, at most 200 characters."""
    try:
        decoded = json.loads(text)
    except ValueError:
        return text[:200]
    return str(decoded.get("message", text))[:200] if isinstance(decoded, dict) else text[:200]


def _decode(method: str, where: str, text: str) -> object:
    if not text:
        return None
    try:
        decoded: object = json.loads(text)
    except ValueError as error:
        raise PbxError(method, where, 200, "the answer is not JSON") from error
    return decoded
