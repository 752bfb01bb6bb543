"""The witness of one handoff: follows the worker's reports, and makes sure they end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from orchestrator.errors import PeerError
from orchestrator.handoff.events import Event, WitnessEnded, WitnessReported
from orchestrator.handoff.ports import Clock, WorkerLink
from orchestrator.handoff.state import Request

log = logging.getLogger(__name__)

STOP_SECONDS = 1.0


class Watcher:
    """`start` and `stop` come from the table; WitnessEnded follows in every case."""

    def __init__(
        self, worker: WorkerLink, clock: Clock, request: Request, post: Callable[[Event], None]
    ) -> None:
        self._worker = worker
        self._clock = clock
        self._request = request
        self._post = post
        self._started = asyncio.Event()
        self._stopped = asyncio.Event()
        self._started_at = 0.0

    def start(self) -> None:
        self._started.set()

    def stop(self) -> None:
        self._stopped.set()

    async def run(self) -> None:
        await self._started.wait()
        try:
            async with asyncio.TaskGroup() as both:
                following = both.create_task(self._follow())
                stopping = both.create_task(self._stopped.wait())
                await asyncio.wait({following, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if self._stopped.is_set():  # before the stream is given up: that ends the witness
                    await self._last_words()
                following.cancel()
                stopping.cancel()
        finally:
            self._post(WitnessEnded(self._clock.now()))

    async def _follow(self) -> None:
        started_at = self._started_at = self._clock.now()
        call, handoff = self._request.call_id, self._request.handoff_id
        try:
            async for report in self._worker.watch(call, handoff):
                self._post(WitnessReported(self._clock.now(), started_at, report))
        except PeerError as error:
            log.warning("witness of %s: %s", handoff, error)
        except Exception:
            log.exception("witness of %s", handoff)

    async def _last_words(self) -> None:
        call, handoff = self._request.call_id, self._request.handoff_id
        try:
            async with asyncio.timeout(STOP_SECONDS):
                report = await self._worker.stop_watching(call, handoff)
        except (PeerError, TimeoutError) as error:
            log.warning("witness of %s: no final report: %s", handoff, error or "timed out")
        except Exception:
            log.exception("witness of %s", handoff)
        else:
            self._post(WitnessReported(self._clock.now(), self._started_at, report))
