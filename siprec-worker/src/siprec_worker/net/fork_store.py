"""What another worker needs of each fork of ours, in Redis: written when it changes, fenced.

A call is marked, a task writes: never on the packet path, the newest state only, again and again
while Redis is away. A write that is refused says that the fork is another worker's by now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import redis.asyncio as redis
import structlog

from siprec_worker.net.pool import Pool, heed_cancellation
from siprec_worker.protocol.sip.events import DialogId, DialogState
from siprec_worker.session.adoption import stored_fork
from siprec_worker.session.call import RecordedCall
from siprec_worker.session.stored_fork import MAX_BYTES
from siprec_worker.telemetry import Metrics

log = structlog.get_logger(__name__)

RETRY_SECONDS = 0.25
MAX_ENDED = 4096  # forks whose end Redis has not been told; the oldest then wait for their TTL

AWAY = (redis.RedisError, OSError, TimeoutError)


class ForkStore:
    """The forks of this worker, by SIP Call-ID, and the fence of each."""

    def __init__(
        self,
        pool: Pool,
        worker_id: str,
        dialog_state: Callable[[DialogId], DialogState | None],
        metrics: Metrics,
    ) -> None:
        self.on_lost: Callable[[RecordedCall], None] = lambda call: None
        self._pool = pool
        self._worker_id = worker_id
        self._dialog_state = dialog_state
        self._metrics = metrics
        self._fences: dict[str, int] = {}  # of what Redis has
        self._calls: dict[str, RecordedCall] = {}
        self._changed: dict[str, RecordedCall] = {}
        self._ended: dict[str, int] = {}
        self._giving: set[str] = set()  # they are on their way to another worker
        self._news = asyncio.Event()

    def __len__(self) -> int:
        """Forks that Redis has of us."""
        return len(self._fences)

    @property
    def waiting(self) -> int:
        """What Redis has not been told yet."""
        return len(self._changed) + len(self._ended)

    def mark(self, call: RecordedCall) -> None:
        """The call has changed, or ended. One that is not set up yet, or not ours, is left out."""
        key = call.sip_call_id
        if call.ended_reason:
            self._end(key, call)
        elif key in self._giving:
            return  # refused, it would be taken for lost: its sockets closed, and what is in them
        elif call.confirmed and not call.suspended:
            self._calls[key] = self._changed[key] = call
            self._news.set()

    def mark_all(self) -> None:
        """Redis has forgotten them: it gets them all again."""
        self._changed.update(self._calls)
        self._news.set()

    def take(self, call: RecordedCall, fence: int) -> None:
        """The call is ours by now, or again, with this fence."""
        self._giving.discard(call.sip_call_id)
        self._fences[call.sip_call_id] = fence
        self._calls[call.sip_call_id] = call

    def give(self, sip_call_id: str) -> int:
        """Another worker is to get the call: nothing of it is written, whatever becomes of it here,
        until it is taken again or forgotten. Gives its fence.
        """
        fence = self.forget(sip_call_id)
        self._giving.add(sip_call_id)
        return fence

    def is_giving(self, sip_call_id: str) -> bool:
        """It is on its way to another worker."""
        return sip_call_id in self._giving

    def forget(self, sip_call_id: str) -> int:
        """The call is no more ours: nothing of it is written any more. Gives its fence."""
        self._giving.discard(sip_call_id)
        return self._drop(sip_call_id)

    def _drop(self, sip_call_id: str) -> int:
        self._changed.pop(sip_call_id, None)
        self._calls.pop(sip_call_id, None)
        return self._fences.pop(sip_call_id, 0)

    def is_over(self, sip_call_id: str, fence: int) -> None:
        """A fork of ours that never became a call here."""
        self._tell_end(sip_call_id, fence)

    def fence_of(self, sip_call_id: str) -> int:
        """0: Redis has not got it yet."""
        return self._fences.get(sip_call_id, 0)

    def lost(self, sip_call_ids: Iterable[str]) -> None:
        """Others have these by now, as the heartbeat says."""
        for key in sip_call_ids:
            call = self._calls.get(key)
            fence = self._drop(key)  # one on its way stays so: its heir has it by now
            self._ended[key] = fence  # says that we know
            self._news.set()
            if call is not None:
                self.on_lost(call)

    def _end(self, key: str, call: RecordedCall) -> None:
        if self._calls.get(key) is not call:
            return
        self._tell_end(key, self.forget(key))

    def _tell_end(self, key: str, fence: int) -> None:
        if len(self._ended) >= MAX_ENDED:
            del self._ended[next(iter(self._ended))]
        self._ended[key] = fence
        self._news.set()

    async def run(self) -> None:
        """Writes what was marked until cancelled."""
        while True:
            heed_cancellation()
            await self._news.wait()
            self._news.clear()
            try:
                await self.write_all()
            except AWAY as error:
                self._metrics.registry_errors.inc()
                log.warning("forks not stored", why=str(error) or type(error).__name__)
                self._news.set()
                await asyncio.sleep(RETRY_SECONDS)

    async def write_all(self) -> None:
        """What is not told yet. Raises as Pool.call does."""
        while self._ended:
            key, fence = next(iter(self._ended.items()))
            await self._pool.call("vf_end", self._worker_id, key, fence)
            self._ended.pop(key, None)
        while self._changed:
            key, call = next(iter(self._changed.items()))
            del self._changed[key]
            try:
                await self.write(call)
            except AWAY:
                if key in self._calls:
                    self._changed.setdefault(key, call)
                raise

    async def write(self, call: RecordedCall) -> bool:
        """Stores one call now. False: it is another worker's. Raises as Pool.call does."""
        key = call.sip_call_id
        dialog = self._dialog_state(call.dialog_id)
        if dialog is None:
            return True
        state = stored_fork(call, dialog).encode()
        if len(state) > MAX_BYTES:
            log.warning("a large fork", call_id=call.identity.call_id, bytes=len(state))
        before = self._fences.get(key, 0)
        fence = await self._pool.call("vf_put", self._worker_id, key, before, state)
        if self._calls.get(key) is not call:
            # It ended, or moved away, while this was written.
            if not before and fence and call.ended_reason:
                self._ended[key] = fence
                self._news.set()
            return bool(fence)
        if fence:
            self._fences[key] = fence
            return True
        if self._fences.get(key, 0) != before:
            return True  # claimed again meanwhile: what was refused is of before that
        self.lost([key])
        return False
