"""The lanes of one handoff: in each effects are performed in order; they run side by side."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from orchestrator.errors import PeerError
from orchestrator.handoff.effects import (
    DialAgent,
    DropBot,
    FreezeBot,
    Notify,
    PublishContext,
    TelephonyEffect,
    UnfreezeBot,
    WorkerEffect,
)
from orchestrator.handoff.events import ContextFailed, ContextPublished, Event
from orchestrator.handoff.lane import EffectLane
from orchestrator.handoff.pbx import Pbx
from orchestrator.handoff.ports import Ports
from orchestrator.handoff.state import Request, State
from orchestrator.handoff.telling import tell
from orchestrator.model import Context, Handoff

log = logging.getLogger(__name__)

WORKER_SECONDS = 0.5
LANE_SECONDS = 0.1
PUBLISH_SECONDS = 1.0


class Lanes:
    """Telephony, worker and context. `run` of each is the owner's to call.

    `post` is told what an effect came to, and its id; `performed` afterwards, with the id of one
    that comes to nothing.
    """

    def __init__(
        self,
        ports: Ports,
        request: Request,
        story: Callable[[], tuple[State, Context]],
        post: Callable[[Event, str], None],
        performed: Callable[[str], None],
    ) -> None:
        self._ports = ports
        self._story = story
        self._post = post
        self._performed = performed
        place = request.place
        self._pbx = Pbx(ports.telephony_at(place.node), place, ports.clock, ports.tally)
        self.telephony = EffectLane("telephony", self._on_pbx, ports.tally)
        self.worker = EffectLane("worker", self._on_worker, ports.tally)
        self.bus = EffectLane("context", self._on_bus, ports.tally)

    @property
    def owed(self) -> int:
        """Effects not yet performed."""
        return self.telephony.owed + self.worker.owed + self.bus.owed

    def put(
        self, effect: TelephonyEffect | WorkerEffect | PublishContext, handoff: Handoff
    ) -> None:
        """`handoff` as it is now, for the worker."""
        match effect:
            case FreezeBot() | UnfreezeBot() | DropBot() | Notify():
                self.worker.put((effect, handoff))
            case PublishContext():
                self.bus.put(effect)
            case _:
                self.telephony.put(effect)

    async def _on_pbx(self, effect: TelephonyEffect) -> None:
        if isinstance(effect, DialAgent):  # the agent's screen comes before the agent's phone
            await self.bus.goes_first(LANE_SECONDS)
        if (event := await self._pbx.perform(effect)) is not None:
            self._post(event, effect.id)
            self._performed("")
        else:
            self._performed(effect.id)

    async def _on_worker(self, item: tuple[WorkerEffect, Handoff]) -> None:
        """Best effort: without a worker the handoff goes on."""
        effect, handoff = item
        try:
            async with asyncio.timeout(WORKER_SECONDS):
                await tell(self._ports.worker, effect, handoff)
        except (PeerError, TimeoutError) as error:
            self._ports.tally.count("handoff_worker_failed")
            log.warning("effect %s: %s", effect.id, error or "timed out")
        except Exception:
            self._ports.tally.count("handoff_worker_failed")
            log.exception("effect %s", effect.id)
        self._performed(effect.id)

    async def _on_bus(self, effect: PublishContext) -> None:
        now = self._ports.clock.now
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                await self._ports.bus.publish(*self._story())
            self._post(ContextPublished(now(), effect.revision), effect.id)
        except (PeerError, TimeoutError) as error:
            log.warning("effect %s: %s", effect.id, error or "timed out")
            self._post(ContextFailed(now(), effect.revision), effect.id)
        except Exception:
            log.exception("effect %s", effect.id)
            self._post(ContextFailed(now(), effect.revision), effect.id)
        self._performed("")
