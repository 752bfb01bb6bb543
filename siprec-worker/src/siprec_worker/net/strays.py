"""Finds the owners of dialogs that this worker is asked for and has not got (any more)."""

from __future__ import annotations

import asyncio

import structlog

from siprec_worker.net.fork_store import AWAY
from siprec_worker.net.pool import Pool, heed_cancellation
from siprec_worker.net.sip_endpoint import SipEndpoint
from siprec_worker.protocol.sip.events import Strayed
from siprec_worker.telemetry import Metrics

log = structlog.get_logger(__name__)

QUEUE = 256  # more at once are answered without asking
MAX_MOVED = 4096  # dialogs whose new owner is remembered, for when Redis is away
MOVES_MEDIA = frozenset({"INVITE", "UPDATE"})


class StrayRequests:
    """One task asks Redis, one request after the other; each is answered or passed on.

    A re-INVITE of another's fork gets 488: a 200 with our SDP would pull the RTP here, and 481
    would end the recording.
    """

    def __init__(self, pool: Pool, endpoint: SipEndpoint, sip_uri: str, metrics: Metrics) -> None:
        self._pool = pool
        self._endpoint = endpoint
        self._sip_uri = sip_uri
        self._metrics = metrics
        self._waiting: asyncio.Queue[Strayed] = asyncio.Queue(QUEUE)
        self._moved: dict[str, str] = {}
        endpoint.uas.passes_on = True

    def moved(self, sip_call_id: str, owner: str) -> None:
        """The dialog was ours; `owner` is the SIP URI of the worker that has it now."""
        self._moved.pop(sip_call_id, None)
        if len(self._moved) >= MAX_MOVED:
            del self._moved[next(iter(self._moved))]
        self._moved[sip_call_id] = owner

    def came(self, stray: Strayed) -> None:
        try:
            self._waiting.put_nowait(stray)
        except asyncio.QueueFull:
            self._answer(stray, known=True)

    async def run(self) -> None:
        while True:
            heed_cancellation()
            stray = await self._waiting.get()
            call_id = stray.request.call_id
            try:
                found: bytes = await self._pool.call("vf_owner", call_id)
                owner = found.decode()
            except AWAY:
                owner = self._moved.get(call_id, "")
                if not owner:
                    self._answer(stray, known=True)
                    continue
            elsewhere = bool(owner) and owner != self._sip_uri
            if elsewhere and stray.request.method not in MOVES_MEDIA:
                self._metrics.strays.labels(result="passed on").inc()
                self._endpoint.pass_on(stray, owner)
            else:
                self._answer(stray, known=elsewhere)

    def _answer(self, stray: Strayed, *, known: bool) -> None:
        """`known`: somebody has, or may have, the dialog."""
        kept = known and stray.request.method in MOVES_MEDIA
        self._metrics.strays.labels(result="488" if kept else "481").inc()
        self._endpoint.answer_stray(stray, 488 if kept else 481)
