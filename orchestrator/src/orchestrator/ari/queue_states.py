"""The queues of one node as they are now, by AMI: asked for as a whole, then kept by events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import structlog

from orchestrator.ari.ami import AmiAccount, AmiClient
from orchestrator.ari.ami_wire import AmiMessage
from orchestrator.ari.queue_book import QueueBook
from orchestrator.errors import PbxError, PeerError
from orchestrator.model import DialplanEntry, QueueState
from orchestrator.telemetry import Metrics

log = structlog.stdlib.get_logger(__name__)

_LOOK_SECONDS = 15.0
"""Events keep the book; how long callers wait on average comes only by asking."""


class QueueStates:
    """What routing and ListTargets know of the queues."""

    def __init__(self, on_event: Callable[[AmiMessage], None] = lambda _: None) -> None:
        self._book = QueueBook()
        self._on_event = on_event

    def snapshot(self) -> Mapping[str, QueueState]:
        """By name. Without a connection the queues are named and nothing of them is known."""
        return self._book.snapshot()

    def heard(self, event: AmiMessage) -> None:
        self._book.heard(event)
        self._on_event(event)

    async def look(self, client: AmiClient) -> None:
        """Raises PbxError."""
        self._book.replace(await client.listed("QueueStatus"))

    async def keep_up(self, client: AmiClient) -> None:
        """Asks now and then, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if not client.connected:
                self._book.lost()
                continue
            try:
                await self.look(client)
            except PeerError as error:
                log.warning("queues could not be asked", error=str(error))


@asynccontextmanager
async def open_queue_states(
    account: AmiAccount,
    states: QueueStates,
    metrics: Metrics,
    *,
    on_connected: Callable[[AmiClient], Awaitable[None]] | None = None,
) -> AsyncIterator[AmiClient]:
    """Keeps `states` while the block runs; an Asterisk that is away is waited for."""

    async def connected() -> None:
        await states.look(client)
        if on_connected is not None:
            await on_connected(client)

    client = AmiClient(account, on_event=states.heard, on_connected=connected, metrics=metrics)
    async with asyncio.TaskGroup() as work:
        tasks = (work.create_task(client.run()), work.create_task(states.keep_up(client)))
        try:
            yield client
        finally:
            for task in tasks:
                task.cancel()


async def dialplan_holds(
    client: AmiClient, entries: Sequence[DialplanEntry]
) -> Sequence[bool | None]:
    """`dialplan_has` of each."""
    return [await dialplan_has(client, entry) for entry in entries]


async def dialplan_has(client: AmiClient, entry: DialplanEntry) -> bool | None:
    """Whether the node's dialplan holds that place; None = it cannot be asked.

    By ShowDialPlan, which takes a literal extension and says of patterns only that they are
    there: an extension that only a pattern matches is found among the context's patterns.
    """
    try:
        rows = await client.listed("ShowDialPlan", {"Context": entry.context})
    except PbxError as error:
        if "context" in error.text.casefold() or "extension" in error.text.casefold():
            return False  # "Did not find context <name>"
        log.warning("the dialplan cannot be asked", error=str(error))
        return None
    if any(_matches(row.get("Extension"), entry.extension) for row in rows):
        return True
    return None if any(row.get("IncludeContext") for row in rows) else False


def _matches(written: str, extension: str) -> bool:
    if not written.startswith("_"):
        return written == extension
    return pattern_matches(written[1:], extension)


def pattern_matches(pattern: str, extension: str) -> bool:
    """Asterisk's extension patterns: X Z N [..] . ! - and `-`, which counts for nothing."""
    pattern = pattern.replace("-", "") if "[" not in pattern else pattern
    at = index = 0
    while index < len(pattern):
        letter = pattern[index]
        if letter == "!":
            return True
        if letter == ".":
            return at < len(extension)
        if at >= len(extension):
            return False
        allowed, index = _allowed(pattern, index)
        if extension[at] not in allowed:
            return False
        at += 1
    return at == len(extension)


def _allowed(pattern: str, index: int) -> tuple[str, int]:
    """The characters that may stand here, and where the pattern goes on."""
    classes = {"X": "0123456789", "Z": "123456789", "N": "23456789"}
    letter = pattern[index]
    if letter != "[" or "]" not in pattern[index:]:
        return classes.get(letter.upper(), letter), index + 1
    end = pattern.index("]", index)
    inside, letters, position = pattern[index + 1 : end], "", 0
    while position < len(inside):
        if inside[position + 1 : position + 2] == "-" and position + 2 < len(inside):
            first, last = ord(inside[position]), ord(inside[position + 2])
            letters += "".join(map(chr, range(first, last + 1)))
            position += 3
        else:
            letters += inside[position]
            position += 1
    return letters, end + 1
