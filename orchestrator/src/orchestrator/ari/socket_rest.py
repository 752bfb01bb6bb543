"""REST requests on the events' own websocket (Asterisk 20.14, 21.9, 22.4 and newer).

A request is answered sooner than by HTTP (bench/ari_requests.py). Asterisk performs those of one
websocket one after the other, so only a few are put on it at a time: the rest goes by HTTP.

    {"type": "RESTRequest", "request_id", "method", "uri", "content_type", "message_body"}
    {"type": "RESTResponse", "request_id", "status_code", "message_body", ...}
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlencode

MOST_IN_FLIGHT = 4

Send = Callable[[str], Awaitable[None]]


class SocketBroken(Exception):  # noqa: N818 - named after what happened
    """The websocket ended before the answer: whether it was done is not known."""


class SocketRest:
    """Requests on one websocket, as long as it lives."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._waiting: dict[str, asyncio.Future[tuple[int, str]]] = {}
        self._number = 0
        self._closed = False

    @property
    def free(self) -> bool:
        """Whether one more may be put on it."""
        return not self._closed and len(self._waiting) < MOST_IN_FLIGHT

    async def ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> tuple[int, str]:
        """Status and body of the answer. `path` is quoted, below `/ari`. Raises SocketBroken.

        The caller sets the limit; an answer that comes too late is dropped.
        """
        self._number += 1
        request_id = str(self._number)
        uri = path.lstrip("/") + (f"?{urlencode(params)}" if params else "")
        request = {
            "type": "RESTRequest",
            "request_id": request_id,
            "method": method,
            "uri": uri,
        }
        if body is not None:
            request |= {"content_type": "application/json", "message_body": json.dumps(body)}
        answer: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = answer
        try:
            if self._closed:
                raise SocketBroken
            await self._send(json.dumps(request))
            return await answer
        except (ConnectionError, RuntimeError) as error:  # aiohttp: closing transport
            raise SocketBroken from error
        finally:
            self._waiting.pop(request_id, None)

    def answered(self, message: Mapping[str, Any]) -> None:
        """A RESTResponse has come."""
        answer = self._waiting.get(str(message.get("request_id", "")))
        if answer is not None and not answer.done():
            status, body = message.get("status_code"), message.get("message_body")
            number = status if isinstance(status, int) else 0
            answer.set_result((number, body if isinstance(body, str) else ""))

    def close(self) -> None:
        """The websocket has ended: nothing more is answered."""
        self._closed = True
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(SocketBroken())
