"""The websocket on which one application's events arrive: kept up, and watched.

Asterisk delivers an application's events to its newest websocket only, and deactivates the
application while there is none: calls in it live on, new ones fall through the dialplan. What
happened meanwhile is never told, so after each connect the owner gets a chance to compare.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

import aiohttp
import structlog

from orchestrator.ari.client import AriClient
from orchestrator.ari.events import EVENT_TYPES, ApplicationReplaced, AriEvent, parse_event
from orchestrator.ari.rest import AriRest
from orchestrator.ari.socket_rest import SocketBroken, SocketRest
from orchestrator.errors import PbxError
from orchestrator.telemetry import Metrics

log = structlog.stdlib.get_logger(__name__)

_HEARTBEAT_SECONDS = 5.0  # aiohttp's ping; a dead node is noticed within 7.5 s
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_REPLACED_PAUSE = 10.0
_TRY_SECONDS, _OK = 0.5, 200
_ANSWER = "RESTResponse"
OLDEST_VERSION = 18
VOICE_MODULE = "chan_websocket.so"


class AriConnection:
    """Call `run` in a task of the owner. `connected` says whether events arrive right now."""

    def __init__(  # noqa: PLR0913 - keywords, most of them
        self,
        rest: AriRest,
        client: AriClient,
        *,
        on_event: Callable[[AriEvent], None],
        on_connected: Callable[[], Awaitable[None]],
        metrics: Metrics,
        requests: bool = False,
    ) -> None:
        """`requests`: the websocket also carries `rest`'s requests, where the node can do that."""
        self._rest = rest
        self._client = client
        self._on_event = on_event
        self._on_connected = on_connected
        self._metrics = metrics
        self._unknown: set[str] = set()
        self._up = asyncio.Event()
        self._pause = _FIRST_PAUSE
        self._requests = requests
        self._socket_rest: SocketRest | None = None
        self.version = ""

    @property
    def connected(self) -> bool:
        return self._up.is_set()

    async def wait_connected(self) -> None:
        await self._up.wait()

    async def run(self) -> None:
        """Connects, reads events, and connects again with growing pauses; ends by cancellation.

        `on_event` must not wait. `on_connected` runs beside the reading, as its own
        questions to Asterisk cause events.
        """
        while True:
            try:
                await self._connect_and_read()
            except PbxError as error:
                log.warning("ari connect failed", error=str(error))
            # Spread, so that replicas do not come back all at once.
            await asyncio.sleep(self._pause * random.uniform(0.8, 1.2))
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    async def _connect_and_read(self) -> None:
        """One websocket, from its opening to its end. Raises PbxError: it could not be opened."""
        self.version = await self._client.version()
        _warn_of_old(self.version)
        socket = await self._rest.connect(self._client.app, _HEARTBEAT_SECONDS)
        self._up.set()
        self._pause = _FIRST_PAUSE
        self._metrics.ari_connected.inc()
        log.info("ari connected", app=self._client.app, asterisk=self.version)
        try:
            async with asyncio.TaskGroup() as work:
                comparing = work.create_task(self._begin(socket))
                async for message in socket:
                    if message.type is aiohttp.WSMsgType.TEXT:
                        self._received(message.data)
                comparing.cancel()
        finally:
            self._end_requests()
            self._up.clear()
            self._metrics.ari_connected.dec()
            log.warning("ari disconnected", app=self._client.app)
            await socket.close()

    @property
    def takes_requests(self) -> bool:
        """Whether the node answers requests on the websocket."""
        return self._rest.socket is not None and self._rest.socket is self._socket_rest

    async def _begin(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        if self._requests:
            await self._try_requests(socket)
        await self._hear_less()
        await self._warn_of_mute()
        await self._compare()

    async def _hear_less(self) -> None:
        """Five of six events are read by nobody here; each costs both sides. Answers on the
        websocket are events, too."""
        try:
            await self._client.hear_only((*EVENT_TYPES, _ANSWER))
        except PbxError as error:
            log.info("events are not filtered at their source", error=str(error))

    async def _warn_of_mute(self) -> None:
        """Warns of a node on which an agent can only hear the prompt."""
        with suppress(PbxError):  # it does not answer just now
            if not await self._client.has_module(VOICE_MODULE):
                log.warning("agents hear no briefing: the node has no such module", of=VOICE_MODULE)

    async def _try_requests(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Asked, not looked up: an older Asterisk leaves it unanswered."""
        self._socket_rest = tried = SocketRest(socket.send_str)
        try:
            async with asyncio.timeout(_TRY_SECONDS):
                status, _ = await tried.ask("GET", "asterisk/ping")
        except (TimeoutError, SocketBroken):
            log.info("requests go by HTTP alone: no answer on the websocket")
            return
        if status == _OK:
            self._rest.socket = tried

    def _end_requests(self) -> None:
        if self._socket_rest is not None:
            self._socket_rest.close()
            if self._rest.socket is self._socket_rest:
                self._rest.socket = None
            self._socket_rest = None

    async def _compare(self) -> None:
        try:
            await self._on_connected()
        except PbxError as error:
            log.warning("ari comparison failed", error=str(error))
        except Exception:  # our own bug: events go on
            log.exception("ari comparison failed")

    def _received(self, text: str) -> None:
        try:
            message = json.loads(text)
        except ValueError:
            log.warning("ari event is not JSON")
            return
        if self._socket_rest and isinstance(message, dict) and message.get("type") == _ANSWER:
            self._socket_rest.answered(message)
            return
        event = parse_event(message)
        if event is None:
            self._count_unknown(message)
            return
        self._metrics.ari_events.labels(type(event).__name__).inc()
        if isinstance(event, ApplicationReplaced):
            # Two processes share a slot: fighting for it would cost each its events.
            log.error("ari application taken over by another process", app=event.app)
            self._pause = _REPLACED_PAUSE
        try:
            self._on_event(event)
        except Exception:  # our own bug costs this event, never all calls
            log.exception("ari event failed", type=type(event).__name__)

    def _count_unknown(self, message: object) -> None:
        kind = str(message.get("type", "")) if isinstance(message, dict) else ""
        self._metrics.ari_unknown.inc()
        if kind not in self._unknown and len(self._unknown) < 256:  # noqa: PLR2004 - bound
            self._unknown.add(kind)
            log.debug("ari event nobody reads", type=kind)


def _warn_of_old(version: str) -> None:
    """Warns of an Asterisk too old for what we do with it."""
    major = version.partition(".")[0]
    if major.isdigit() and int(major) < OLDEST_VERSION:
        log.warning("asterisk is older than supported", asterisk=version, oldest=OLDEST_VERSION)
