"""Handoffs in Redis (implements handoff.ports.Store). All keys live 24 hours after the last write.

    voicefork:v1:<tenant>:handoff:<id>             hash: revision, writer, state, context,
                                                   owed, fingerprint
    voicefork:v1:<tenant>:handoff:<id>:history     stream of views, entry id = <revision>-0
    voicefork:v1:<tenant>:handoff-of:<call>        id of the call's latest handoff
    voicefork:v1:<tenant>:caller-of:<call>         id of the handoff that has the caller now
    voicefork:v1:<tenant>:request:<call>:<request> hash: handoff, fingerprint

`writer` fences: a save passes when it follows on the stored revision, or when this very writer
wrote last (its earlier save may have been done although no answer came back).
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar, cast

from redis.asyncio import Redis

from orchestrator.errors import StoreError
from orchestrator.handoff.codec import UnreadableError, dump, load
from orchestrator.handoff.owed import NOTHING, Owed
from orchestrator.handoff.ports import Created, Fenced, Known, Occupied, Recalled, Record
from orchestrator.handoff.state import State, view
from orchestrator.handoff.tracks import Left
from orchestrator.model import CallId, Context, Handoff, HandoffId
from orchestrator.replies import as_text, within

T = TypeVar("T")

LIFE_SECONDS = 24 * 3600
HISTORY = 512
LIMIT_SECONDS = 0.5

# KEYS: handoff, history, handoff-of, request, caller-of. The last argument is the handoff that
# gives the caller up for this one, or empty.
_CREATE = """
local known = redis.call('HMGET', KEYS[4], 'handoff', 'fingerprint')
if known[1] then return known end
local has = redis.call('GET', KEYS[5])
if has and has ~= ARGV[9] then return {has} end
redis.call('SET', KEYS[5], ARGV[1])
redis.call('HSET', KEYS[4], 'handoff', ARGV[1], 'fingerprint', ARGV[2])
redis.call('HSET', KEYS[1], 'revision', ARGV[3], 'writer', ARGV[4], 'state', ARGV[5],
           'context', ARGV[6], 'fingerprint', ARGV[2])
redis.call('XADD', KEYS[2], ARGV[3] .. '-0', 'view', ARGV[7])
redis.call('SET', KEYS[3], ARGV[1])
for i = 1, 5 do redis.call('EXPIRE', KEYS[i], ARGV[8]) end
return {}
"""

# KEYS: handoff, history, handoff-of, caller-of. ARGV: handoff id, expected, revision, writer,
# state, life, history, context (or empty), owed, 1 when the caller has left, then pairs of revision
# and view.
_SAVE = """
local stored = redis.call('HMGET', KEYS[1], 'revision', 'writer')
if stored[1] and stored[1] ~= ARGV[2] then
  if stored[2] ~= ARGV[4] or tonumber(stored[1]) > tonumber(ARGV[3]) then
    return stored
  end
end
if not stored[1] then redis.call('SET', KEYS[3], ARGV[1]) end
redis.call('HSET', KEYS[1], 'revision', ARGV[3], 'writer', ARGV[4], 'state', ARGV[5],
           'owed', ARGV[9])
if ARGV[8] ~= '' then redis.call('HSET', KEYS[1], 'context', ARGV[8]) end
local last = 0
local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
if newest[1] then last = tonumber(string.match(newest[1][1], '^%d+')) end
for i = 11, #ARGV, 2 do
  if tonumber(ARGV[i]) > last then
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[7], ARGV[i] .. '-0', 'view', ARGV[i + 1])
  end
end
if ARGV[10] == '1' then
  if redis.call('GET', KEYS[4]) == ARGV[1] then redis.call('DEL', KEYS[4]) end
else
  redis.call('SET', KEYS[4], ARGV[1], 'NX')
end
for i = 1, 4 do redis.call('EXPIRE', KEYS[i], ARGV[6]) end
return {}
"""


class RedisHandoffStore:
    """One replica's view of the stored handoffs. `writer` is unique to this process."""

    def __init__(self, redis: Redis, writer: str) -> None:
        self._redis = redis
        self._writer = writer
        self._create = redis.register_script(_CREATE)
        self._save = redis.register_script(_SAVE)

    async def create(self, record: Record) -> Created | Known | Occupied:
        state = record.state
        request = state.request
        tenant = request.place.tenant
        keys = [
            *_handoff_keys(tenant, request.handoff_id),
            _call_key(tenant, request.call_id),
            _request_key(tenant, request.call_id, request.request_id),
            _caller_key(tenant, request.call_id),
        ]
        arguments: list[str | int] = [
            request.handoff_id,
            record.fingerprint,
            state.revision,
            self._writer,
            dump(state),
            dump(record.context),
            dump(view(state)),
            LIFE_SECONDS,
            record.after or "",
        ]
        known = await within(LIMIT_SECONDS, self._create(keys, arguments))
        if len(known) == 1:
            return Occupied(HandoffId(as_text(known[0])))
        if known:
            return Known(HandoffId(as_text(known[0])), as_text(known[1]))
        return Created()

    async def save(
        self,
        state: State,
        history: Sequence[Handoff],
        expected: int,
        context: Context | None,
        owed: Owed = NOTHING,
    ) -> None:
        request = state.request
        tenant = request.place.tenant
        keys = [
            *_handoff_keys(tenant, request.handoff_id),
            _call_key(tenant, request.call_id),
            _caller_key(tenant, request.call_id),
        ]
        arguments: list[str | int] = [
            request.handoff_id,
            expected,
            state.revision,
            self._writer,
            dump(state),
            LIFE_SECONDS,
            HISTORY,
            "" if context is None else dump(context),
            dump(owed),
            int(isinstance(state.caller, Left)),
        ]
        for past in history:
            arguments += [past.revision, dump(past)]
        stored = await within(LIMIT_SECONDS, self._save(keys, arguments))
        if stored:
            raise Fenced(f"revision {as_text(stored[0])} of {as_text(stored[1])} is stored")

    async def load(self, tenant: str, handoff: HandoffId) -> tuple[State, Context] | None:
        key, _ = _handoff_keys(tenant, handoff)
        reading = cast(Awaitable[Any], self._redis.hmget(key, ["state", "context"]))
        state, context = await within(LIMIT_SECONDS, reading)
        if state is None:
            return None
        return _read(State, state), _read(Context, context) if context else Context()

    async def recall(self, tenant: str, handoff: HandoffId) -> Recalled | None:
        key, _ = _handoff_keys(tenant, handoff)
        fields = ["state", "context", "owed", "fingerprint"]
        reading = cast(Awaitable[Any], self._redis.hmget(key, fields))
        state, context, owed, fingerprint = await within(LIMIT_SECONDS, reading)
        if state is None:
            return None
        return Recalled(
            _read(State, state),
            _read(Context, context) if context else Context(),
            _read(Owed, owed) if owed else NOTHING,
            as_text(fingerprint or b""),
        )

    async def latest_of_call(self, tenant: str, call: CallId) -> HandoffId | None:
        found = await within(LIMIT_SECONDS, self._redis.get(_call_key(tenant, call)))
        return None if found is None else HandoffId(as_text(found))

    async def history(
        self, tenant: str, handoff: HandoffId, after: int, wait_seconds: float
    ) -> Sequence[Handoff]:
        _, key = _handoff_keys(tenant, handoff)
        reading = self._redis.xread({key: f"{after}-0"}, HISTORY, round(wait_seconds * 1000))
        found = await within(LIMIT_SECONDS + wait_seconds, reading)
        return [
            _read(Handoff, fields[b"view"]) for _, entries in found or [] for _, fields in entries
        ]


def _handoff_keys(tenant: str, handoff: HandoffId) -> tuple[str, str]:
    key = f"voicefork:v1:{tenant}:handoff:{handoff}"
    return key, f"{key}:history"


def _call_key(tenant: str, call: CallId) -> str:
    return f"voicefork:v1:{tenant}:handoff-of:{call}"


def _caller_key(tenant: str, call: CallId) -> str:
    return f"voicefork:v1:{tenant}:caller-of:{call}"


def _request_key(tenant: str, call: CallId, request_id: str) -> str:
    return f"voicefork:v1:{tenant}:request:{call}:{request_id}"


def _read(kind: type[T], text: bytes) -> T:
    try:
        return load(kind, text)
    except UnreadableError as error:
        raise StoreError(str(error)) from error
