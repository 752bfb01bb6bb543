"""The calls of each slot as Redis knows them: what a successor needs to go on.

    voicefork:v1:calls:<app>     hash: call id -> Record as JSON
    voicefork:v1:owner:<call>    the app whose replica has the call

Written behind the calls' back, the newest state of each; a Redis that is away is written to later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import structlog
from redis.asyncio import Redis

from orchestrator.errors import StoreError
from orchestrator.fleet.call import EnteredCall
from orchestrator.fleet.states import Closed, State
from orchestrator.handoff.cancellation import heed_cancellation
from orchestrator.handoff.codec import UnreadableError, dump, load
from orchestrator.model import CallId
from orchestrator.replies import within

log = structlog.stdlib.get_logger(__name__)

LIFE_SECONDS = 6 * 3600
LIMIT_SECONDS = 0.5
RETRY_SECONDS = 0.5

# KEYS: fence of the slot, calls of the slot. ARGV: fence, app, life, then pairs of call and record,
# empty = gone. Answers 0 when another replica has the slot.
_WRITE = """
local fence = redis.call('GET', KEYS[1])
if fence and ARGV[1] ~= '0' and fence ~= ARGV[1] then return 0 end
for i = 4, #ARGV, 2 do
  local owner = 'voicefork:v1:owner:' .. ARGV[i]
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[2], ARGV[i])
    if redis.call('GET', owner) == ARGV[2] then redis.call('DEL', owner) end
  else
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
    redis.call('SET', owner, ARGV[2], 'EX', ARGV[3])
  end
end
redis.call('EXPIRE', KEYS[2], ARGV[3])
return 1
"""


@dataclass(frozen=True, slots=True)
class Record:
    """One call as its replica last wrote it. Deadlines in `state` are of that replica's clock."""

    call: EnteredCall
    state: State


class CallBook:
    """Writes the calls of our slot and reads those of any. `run` belongs in a task."""

    def __init__(self, redis: Redis, app: str, fence: Callable[[], int]) -> None:
        self._redis = redis
        self._write = redis.register_script(_WRITE)
        self._app = app
        self._unwritten: dict[CallId, str] = {}  # bounded by the calls there are
        self._news = asyncio.Event()
        self._fence = fence
        self._writing = asyncio.Lock()

    def note(self, call: EnteredCall, state: State) -> None:
        """What is to be written. A closed call is forgotten."""
        if call.minted:
            return  # nobody could meet it again
        gone = isinstance(state, Closed)
        self._unwritten[call.call_id] = "" if gone else dump(Record(call, state))
        self._news.set()

    async def run(self) -> None:
        while True:
            heed_cancellation()
            await self._news.wait()
            try:
                await self._flush()
            except StoreError as error:
                log.warning("calls are not written", calls=len(self._unwritten), error=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _flush(self) -> None:
        async with self._writing:  # an older state must not come after a newer one
            await self._flush_now()

    async def _flush_now(self) -> None:
        self._news.clear()
        taken, self._unwritten = self._unwritten, {}
        arguments: list[str | int] = [self._fence(), self._app, LIFE_SECONDS]
        for call_id, record in taken.items():
            arguments += [call_id, record]
        try:
            await within(LIMIT_SECONDS, self._write(_keys(self._app), arguments))
        except BaseException:
            self._unwritten = {**taken, **self._unwritten}  # what came meanwhile is newer
            self._news.set()
            raise

    async def written(self) -> bool:
        """Whether a successor finds everything as it is now; tries once."""
        try:
            await self._flush()
        except StoreError as error:
            log.warning("calls are not written", calls=len(self._unwritten), error=str(error))
        return not self._unwritten

    async def of_slot(self, app: str) -> Sequence[Record]:
        """The calls that the holder of a slot had. Raises StoreError."""
        reading = cast(Awaitable[Any], self._redis.hvals(_keys(app)[1]))
        records = []
        for text in await within(LIMIT_SECONDS, reading):
            try:
                records.append(load(Record, text))
            except UnreadableError as error:  # of another version: the PBX knows its channel
                log.warning("a call's record is unreadable", app=app, error=str(error))
        return records

    async def forget(self, app: str, calls: Sequence[CallId]) -> None:
        """Of another slot: taken over, or gone. Raises StoreError."""
        if calls:
            removing = cast(Awaitable[Any], self._redis.hdel(_keys(app)[1], *calls))
            await within(LIMIT_SECONDS, removing)

    async def owner(self, call_id: CallId) -> str | None:
        """The slot whose replica has the call. Raises StoreError."""
        found = await within(LIMIT_SECONDS, cast(Awaitable[Any], self._redis.get(_owner(call_id))))
        return None if found is None else found.decode(errors="replace")


class NoBook:
    """Nothing is written: a call ends with this process."""

    def note(self, call: EnteredCall, state: State) -> None: ...


def _owner(call_id: CallId) -> str:
    return f"voicefork:v1:owner:{call_id}"


def _keys(app: str) -> list[str]:
    return [f"voicefork:v1:slot:{app}:fence", f"voicefork:v1:calls:{app}"]
