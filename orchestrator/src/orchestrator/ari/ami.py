"""One node's Asterisk Manager Interface: logged in, kept up, its events told as they come.

What ARI cannot do or say goes this way: the state of queues, channels that are not in Stasis, the
dialplan itself. Reading is paced by TCP: `on_event` must not wait, so nothing piles up here.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count

import structlog

from orchestrator.ari.ami_wire import AmiMessage, AmiReader, challenge_answer, write_action
from orchestrator.ari.rest import Permit
from orchestrator.errors import NotFound, PbxError, PeerError, Unreachable
from orchestrator.telemetry import Metrics

log = structlog.stdlib.get_logger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_PING_SECONDS = 5.0
_CHUNK = 64 * 1024
_MOST_PENDING = 64
_CHANNEL_GONE = ("no such channel", "channel does not exist", "channel not existent")
_ASKS_NOBODY = frozenset({"Challenge", "Login", "Ping", "Getvar"})
"""Actions that change nothing, and by which it is found out whether others may be made."""

_MOST_ROWS = 10_000  # of one list; more are dropped and counted


@dataclass(frozen=True, slots=True)
class AmiAccount:
    """Of manager.conf."""

    host: str
    port: int
    user: str
    secret: str


@dataclass(slots=True)
class _Pending:
    """An action that waits for its response, or for the end of its list."""

    answer: asyncio.Future[AmiMessage]
    listing: bool = False
    rows: list[AmiMessage] = field(default_factory=list)


class AmiClient:
    """Call `run` in a task of the owner."""

    def __init__(  # noqa: PLR0913 - a connection and whom it tells
        self,
        account: AmiAccount,
        *,
        on_event: Callable[[AmiMessage], None],
        on_connected: Callable[[], Awaitable[None]],
        metrics: Metrics,
        limit_seconds: float = 2.0,
        permit: Permit | None = None,
    ) -> None:
        """`permit`: asked before anything is asked for but variables; False = another replica does
        it."""
        self._permit = permit
        self._account = account
        self._on_event = on_event
        self._on_connected = on_connected
        self._metrics = metrics
        self._limit = limit_seconds
        self._writer: asyncio.StreamWriter | None = None
        self._pending: dict[str, _Pending] = {}
        self._numbers = count(1)
        self._up = asyncio.Event()
        self._pause = _FIRST_PAUSE
        self.greeting = ""

    @property
    def connected(self) -> bool:
        return self._up.is_set()

    async def wait_connected(self) -> None:
        await self._up.wait()

    async def run(self) -> None:
        """Connects, logs in, reads, and connects again with growing pauses, until cancelled.

        `on_connected` runs beside the reading; what it raises of PeerError is logged.
        """
        while True:
            try:
                await self._connect_and_read()
            except (PeerError, OSError, TimeoutError) as error:
                log.warning("ami failed", error=str(error) or type(error).__name__)
            await asyncio.sleep(self._pause * random.uniform(0.8, 1.2))
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    async def action(
        self, name: str, fields: Mapping[str, str] | Sequence[tuple[str, str]] = ()
    ) -> AmiMessage:
        """One action and its response.

        Raises Unreachable (no answer within the limit, no connection), NotFound (no such channel),
        PbxError (refused), ValueError (a field with a line break).
        """
        answer, _ = await self._ask(name, fields, listing=False)
        return answer

    async def listed(
        self, name: str, fields: Mapping[str, str] | Sequence[tuple[str, str]] = ()
    ) -> Sequence[AmiMessage]:
        """The events of a list action (QueueStatus, ...), without the one that ends it."""
        _, rows = await self._ask(name, fields, listing=True)
        return rows

    # --- the connection -----------------------------------------------------------------------

    async def _connect_and_read(self) -> None:
        account = self._account
        async with asyncio.timeout(self._limit):
            reader, writer = await asyncio.open_connection(account.host, account.port)
        self._writer = writer
        wire = AmiReader()
        try:
            async with asyncio.TaskGroup() as work:
                attending = work.create_task(self._attend())
                while data := await reader.read(_CHUNK):
                    for message in wire.feed(data):
                        self._received(message)
                    self.greeting = wire.greeting
                attending.cancel()
        except* PeerError as group:
            raise group.exceptions[0] from None
        except* OSError as group:
            raise group.exceptions[0] from None
        finally:
            self._lost()
            writer.close()
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(self._limit):
                    await writer.wait_closed()

    async def _attend(self) -> None:
        """Logs in, says so, and asks again and again whether the other side is there."""
        await self._login()
        self._up.set()
        self._pause = _FIRST_PAUSE
        log.info("ami connected", greeting=self.greeting)
        try:
            await self._on_connected()
        except PeerError as error:
            log.warning("ami: asking at the start failed", error=str(error))
        while True:
            await asyncio.sleep(_PING_SECONDS)
            await self.action("Ping")

    async def _login(self) -> None:
        """By challenge. Raises PbxError: user or secret are wrong."""
        challenge = (await self.action("Challenge", {"AuthType": "MD5"})).get("Challenge")
        key = challenge_answer(challenge, self._account.secret)
        fields = {"AuthType": "MD5", "Username": self._account.user, "Key": key}
        await self.action("Login", fields)

    def _lost(self) -> None:
        if self._up.is_set():
            log.warning("ami disconnected")
        self._up.clear()
        self._writer = None
        for pending in self._pending.values():
            if not pending.answer.done():
                pending.answer.set_exception(
                    Unreachable("AMI", "connection", 0, "lost before the answer")
                )
        self._pending.clear()

    # --- actions ------------------------------------------------------------------------------

    async def _ask(
        self, name: str, fields: Mapping[str, str] | Sequence[tuple[str, str]], *, listing: bool
    ) -> tuple[AmiMessage, Sequence[AmiMessage]]:
        permit = None if name in _ASKS_NOBODY else self._permit
        if permit is not None and not await permit():
            raise Unreachable("AMI", name, 0, "another replica drives this node, or may")
        if len(self._pending) >= _MOST_PENDING:
            raise Unreachable("AMI", name, 0, "too many actions wait for their answers")
        if (writer := self._writer) is None:  # lost while it was asked
            raise Unreachable("AMI", name, 0, "not connected")
        number = f"vf-{next(self._numbers)}"
        pairs = fields.items() if isinstance(fields, Mapping) else fields
        written = write_action(name, number, pairs)
        pending = _Pending(asyncio.get_running_loop().create_future(), listing)
        self._pending[number] = pending
        try:
            async with asyncio.timeout(self._limit):
                writer.write(written)
                await writer.drain()
                answer = await pending.answer
        except TimeoutError as error:
            raise Unreachable("AMI", name, 0, "no answer") from error
        except OSError as error:
            raise Unreachable("AMI", name, 0, type(error).__name__) from error
        finally:
            self._pending.pop(number, None)
        if answer.get("Response") == "Error":
            text = answer.get("Message")
            gone = text.casefold().startswith(_CHANNEL_GONE)
            kind, status = (NotFound, 404) if gone else (PbxError, 400)
            raise kind("AMI", name, status, text)
        return answer, pending.rows

    def _received(self, message: AmiMessage) -> None:
        pending = self._pending.get(message.action_id)
        if pending is not None:
            self._answered(pending, message)
        elif message.event:
            try:
                self._on_event(message)
            except Exception:  # our own bug costs this event, never all of them
                log.exception("ami event failed", kind=message.event)

    def _answered(self, pending: _Pending, message: AmiMessage) -> None:
        if pending.answer.done():
            return
        if not message.event:
            if not pending.listing or message.get("Response") == "Error":
                pending.answer.set_result(message)
        elif message.get("EventList") == "Complete":
            pending.answer.set_result(message)
        elif len(pending.rows) < _MOST_ROWS:
            pending.rows.append(message)
        else:
            self._metrics.count("ami_rows_dropped")
