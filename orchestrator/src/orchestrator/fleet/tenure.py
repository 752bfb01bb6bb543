"""This replica's slots for as long as it lives: takes one, renews, and sees who has died.

    settle ── free slot ──────────────▶ held ── renewed every 0.3 s ──▶ held
              dead holder's slot ─────▶ held, its calls are ours        │ another fence: `lost`
              living holder, app fixed: wait                            ▼
              Redis away, app fixed: go on without a lease       no request to Asterisk any more

    held ── `hand_over`: offered to the others, our calls go on ── taken by one ──▶ lost

A Redis that does not answer is no lost lease: nobody can have taken it meanwhile. A process that
stood still (longer than a lease) asks first, before it touches a channel: see `permit`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import structlog

from orchestrator.errors import StoreError
from orchestrator.fleet.inheritance import BEAT_SECONDS, Inheritance
from orchestrator.fleet.slots import LEASE_SECONDS, Holder, Lease, Renewed, Slots
from orchestrator.handoff.cancellation import heed_cancellation

log = structlog.stdlib.get_logger(__name__)

SETTLE_SECONDS = 0.3
OFFER_SECONDS = 2.0
_TAKEN_YET_SECONDS = 0.02
_TELL_EVERY = 10  # rounds of waiting

Alive = Callable[[str], Awaitable[bool]]
"""Whether a replica answers at that address."""
Adopt = Callable[[Inheritance], Awaitable[None]]
"""Takes over the calls of a slot that is leased for it; returns when it may be released, and soon
after another replica has got it."""


class Tenure:
    """Call `settle`, then `run` in a task. `fixed` is the one application it may have, or empty."""

    def __init__(self, slots: Slots, alive: Alive, *, fixed: str, count: int) -> None:
        self._slots = slots
        self._alive = alive
        self._fixed = fixed
        self._apps = [fixed] if fixed else [f"voicefork-{number}" for number in range(count)]
        self._beat = asyncio.get_running_loop().time()
        self._healthy_since: float | None = None
        self._adopting: dict[str, asyncio.Task[None]] = {}
        self._others: dict[str, Holder] = {}
        self.app = fixed
        self.lease: Lease | None = None
        self.lost = asyncio.Event()
        self._left = False
        self._offering = False
        self._vanished: dict[str, Holder] = {}
        self.forgotten: Callable[[], None] = lambda: None
        """Called when Redis has lost its memory."""

    @property
    def fence(self) -> int:
        return self.lease.fence if self.lease else 0

    @property
    def others(self) -> Mapping[str, Holder]:
        """The other replicas by their slot, as last seen; also those that may be dead."""
        return self._others

    # --- the beginning ------------------------------------------------------------------------

    async def settle(self) -> None:
        """Returns with a slot; or, when it is fixed and Redis is away, with its name alone."""
        tried = 0
        while self.lease is None:
            heed_cancellation()
            why = ""
            try:
                why = await self._choose()
            except StoreError as error:
                if self._fixed:
                    log.warning("no lease, Redis is away: going on as told", app=self._fixed)
                    return
                why = f"{error}; a fixed slot (--app) would not need it"
            if self.lease is None:
                if tried % _TELL_EVERY == 0:
                    log.warning("waiting for a slot", why=why, slots=len(self._apps))
                tried += 1
                await asyncio.sleep(SETTLE_SECONDS)
        log.info("slot leased", app=self.app, fence=self.fence)

    async def _choose(self) -> str:
        """Tries for a slot; why there is none. A slot nobody died in comes first."""
        holders = {holder.app: holder for holder in await self._slots.holders()}
        free = [app for app in self._apps if app not in holders]
        dead = [app for app in self._apps if app in holders and not holders[app].alive]
        if not self._fixed:
            random.shuffle(free)
        for app in (*sorted(free), *dead):
            if await self._take(app):
                return ""
        if self._fixed and (holder := holders.get(self._fixed)) is not None:
            # Our own predecessor, most likely: no need to wait for the end of its lease.
            if not await self._alive(holder.address) and await self._take(
                self._fixed, holder.fence
            ):
                return ""
            return f"{self._fixed} is held by {holder.replica} at {holder.address}"
        return "all slots are held: raise --slots (and VOICEFORK_SLOTS in the dialplan)"

    async def _take(self, app: str, broken: int = 0) -> bool:
        lease = await self._slots.take(app, broken)
        if lease is None:
            return False
        self.lease, self.app = lease, app
        return True

    # --- from then on -------------------------------------------------------------------------

    async def run(self, adopt: Adopt) -> None:
        """Renews and watches until cancelled, or until the slot is lost."""
        async with asyncio.TaskGroup() as work:
            try:
                while not self.lost.is_set() and not self._left:
                    heed_cancellation()
                    await self._round(work, adopt)
                    await asyncio.sleep(BEAT_SECONDS)
            finally:
                for task in self._adopting.values():
                    task.cancel()

    async def _round(self, work: asyncio.TaskGroup, adopt: Adopt) -> None:
        begun = asyncio.get_running_loop().time()
        try:
            if self.lease is None:
                await self._late_lease()
            elif self._offering:
                return
            else:
                renewed = await self._slots.renew(self.lease)
                if not renewed:
                    self._dispossessed()
                    return
                if renewed is Renewed.FORGOTTEN:
                    self._write_again()
            holders = await self._slots.holders()
        except StoreError as error:
            if self._healthy_since is not None:
                log.warning("leases are not renewed: redis is away", error=str(error))
            self._healthy_since = None
            self._beat = begun
            return
        self._beat = begun  # not now: we may have stood still while it was asked
        if self._healthy_since is None:
            self._healthy_since = begun
        self._others = {holder.app: holder for holder in holders if holder.app != self.app}
        watched = begun - self._healthy_since >= LEASE_SECONDS
        if watched:  # who lives has written itself down again by now
            self._others = {**self._vanished, **self._others}
            self._vanished = {}
        for holder in self._others.values():
            dead = holder.offered or (watched and not holder.alive)
            if dead and holder.app not in self._adopting:
                self._adopting[holder.app] = work.create_task(self._inherit(holder, adopt))

    def _write_again(self) -> None:
        """Redis has lost its memory: who was there may have died with it."""
        log.warning("redis has lost its memory: everything is written again")
        self._healthy_since = None
        self._vanished = {app: replace(it, alive=False) for app, it in self._others.items()}
        self.forgotten()

    async def _late_lease(self) -> None:
        """Redis has come: the slot we were told to have, unless somebody has it."""
        lease = await self._slots.take(self._fixed)
        if lease is not None:
            self.lease = lease
            log.info("slot leased", app=self.app, fence=self.fence)

    async def _inherit(self, holder: Holder, adopt: Adopt) -> None:
        """A replica seems dead: no lease, and no answer. Its slot is ours while we adopt."""
        try:
            if not holder.offered and await self._answers(holder):
                log.warning("a lease ran out, but its holder answers", app=holder.app)
                return
            lease = await self._slots.take(holder.app)
            if lease is None:
                return  # another replica was faster, or it is back
            why = "adopting what a replica gives away" if holder.offered else "adopting the dead"
            log.warning(why, app=holder.app, replica=holder.replica)
            inheritance = Inheritance(self._slots, lease)
            async with asyncio.TaskGroup() as both:
                keeping = both.create_task(inheritance.keep())
                await adopt(inheritance)
                keeping.cancel()
            await self._slots.release(lease)  # of one that was lost this does nothing
        except StoreError as error:
            log.warning("adoption is interrupted", app=holder.app, error=str(error))
        except Exception:
            log.exception("adoption failed", app=holder.app)
            await asyncio.sleep(LEASE_SECONDS)
        finally:
            self._adopting.pop(holder.app, None)

    async def _answers(self, holder: Holder) -> bool:
        """A predecessor that died at our address, or a slot that we could not release, does not."""
        return not self._slots.was_here(holder) and await self._alive(holder.address)

    async def permit(self) -> bool:
        """Whether a channel may be touched: False = we were replaced while we stood still."""
        if self.lost.is_set():
            return False
        if self.lease is not None and self._offering:
            return await self._still_ours(self.lease)
        if self.lease is None or asyncio.get_running_loop().time() - self._beat <= LEASE_SECONDS:
            return True
        begun = asyncio.get_running_loop().time()
        try:
            if not await self._slots.renew(self.lease):
                self._dispossessed()
                return False
        except StoreError:
            return True  # nobody can have replaced us without it
        self._beat = begun
        return True

    async def hand_over(self, seconds: float = OFFER_SECONDS) -> bool:
        """Gives our calls to another replica, which takes them as if we were dead.

        Until then they are ours, and everything goes on. False: there is no other replica, or none
        that takes them; then nothing has changed.
        """
        lease = self.lease
        if lease is None or not any(holder.alive for holder in self._others.values()):
            return False
        self._offering = True
        try:
            async with asyncio.timeout(seconds):
                taken = not await self._slots.offer(lease)
                while not taken and not self.lost.is_set():
                    await asyncio.sleep(_TAKEN_YET_SECONDS)
                    await self._still_ours(lease)
        except (StoreError, TimeoutError) as error:
            log.warning("nobody takes our calls", why=str(error) or "too late")
        else:
            self.lost.set()
        try:
            if not self.lost.is_set() and not await self._slots.renew(lease):
                self.lost.set()  # taken in the last moment
        except StoreError as error:
            log.warning("slot is not taken back yet", error=str(error))
        self._offering = False
        return self.lost.is_set()

    async def _still_ours(self, lease: Lease) -> bool:
        try:
            if not await self._slots.holds(lease):
                self.lost.set()
        except StoreError as error:
            log.debug("whether our calls are taken is not known", error=str(error))
        return not self.lost.is_set()

    def _dispossessed(self) -> None:
        if not self.lost.is_set():
            log.error("replaced by another replica: everything is dropped", app=self.app)
        self.lost.set()

    async def leave(self) -> None:
        """Says goodbye, so that nobody looks for calls of ours."""
        self._left = True
        if self.lease is None or self.lost.is_set():
            return
        try:
            await self._slots.release(self.lease)
        except StoreError as error:
            log.warning("slot is not released", app=self.app, error=str(error))
