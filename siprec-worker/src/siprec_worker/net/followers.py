"""Which recording clients follow a re-INVITE: learned from their answers, shared by all workers."""

from __future__ import annotations

import time
from contextlib import suppress

import structlog

from siprec_worker.net.fork_store import AWAY
from siprec_worker.net.pool import Pool

log = structlog.get_logger(__name__)

REMEMBERED_SECONDS = 24 * 3600.0
MAX_PEERS = 1000
MAX_REFUSED = 10_000


class Followers:
    """By peer; a call of one that has followed, and that refused itself, is such a call alone."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._stay: dict[str, float] = {}  # peers that follow no re-INVITE, until when
        self._follow: set[str] = set()  # peers that have followed one
        self._refused: set[str] = set()  # Call-IDs of forks that did not

    def may_follow(self, sip_call_id: str, peer: str) -> bool:
        """Nothing is known against it."""
        if sip_call_id in self._refused:
            return False
        return time.monotonic() >= self._stay.get(peer, 0.0)

    async def refused(self, sip_call_id: str, peer: str) -> None:
        """The call stays; so do the others of its peer, unless one of them has followed."""
        if len(self._refused) >= MAX_REFUSED:
            self._refused.clear()
        self._refused.add(sip_call_id)
        if peer in self._follow or time.monotonic() < self._stay.get(peer, 0.0):
            return
        self._remember(peer)
        log.info("follows no re-INVITE: its calls stay", peer=peer)
        await self.learn(peer)

    async def followed(self, peer: str) -> None:
        """A call of it did."""
        if peer in self._follow:
            return
        if len(self._follow) >= MAX_PEERS:
            self._follow.clear()
        self._follow.add(peer)
        if self._stay.pop(peer, None) is not None:
            with suppress(*AWAY):
                await self._pool.call("vf_stays", peer, 0)  # for no time: forgotten by all

    async def learn(self, peer: str = "") -> None:
        """What the others know, and, with `peer`, that it follows none. Redis may be away."""
        with suppress(*AWAY):
            told = await self._pool.call("vf_stays", peer or "-", int(REMEMBERED_SECONDS))
            for known in {name.decode() for name in told} - self._follow:
                self._remember(known)

    def _remember(self, peer: str) -> None:
        if len(self._stay) >= MAX_PEERS:
            del self._stay[next(iter(self._stay))]
        self._stay[peer] = time.monotonic() + REMEMBERED_SECONDS
