"""Briefs the agent: what is said, by which voice, and that it never holds the handoff up.

The words are taken when the briefing begins, so that what the AI learns while the phone rings is in
them. Speech that is slow, fails or does not exist ends the briefing unsaid: the prompt follows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from orchestrator.errors import PeerError
from orchestrator.handoff import names
from orchestrator.handoff.effects import BriefAgent
from orchestrator.handoff.events import BriefingEnded, BriefingStarted, Event
from orchestrator.handoff.ports import Ports, Sound
from orchestrator.handoff.state import Request
from orchestrator.model import Context

log = logging.getLogger(__name__)

SPEECH_SECONDS = 2.0  # a text has to be speech by then
MARGIN_SECONDS = 5.0  # beyond the sound's own length
BRIEFING_RATE = 8000  # of Context.briefing_audio
WAITING = 8  # one agent at a time is briefed; a handoff dials few


class Narrator:
    """The voice of one handoff. `start` and `stop` come from the table."""

    def __init__(
        self,
        ports: Ports,
        request: Request,
        context: Callable[[], Context],
        post: Callable[[Event, str], None],
    ) -> None:
        self._ports = ports
        self._request = request
        self._context = context
        self._post = post
        self._wanted: asyncio.Queue[BriefAgent] = asyncio.Queue(WAITING)
        self._stopped = asyncio.Event()

    def start(self, effect: BriefAgent) -> None:
        """BriefingEnded follows in every case, BriefingStarted when the agent hears it."""
        self._stopped.clear()
        self._wanted.put_nowait(effect)

    def stop(self) -> None:
        """Silent at once."""
        self._stopped.set()

    async def run(self) -> None:
        while True:
            effect = await self._wanted.get()
            async with asyncio.TaskGroup() as both:
                speaking = both.create_task(self._brief(effect))
                stopping = both.create_task(self._stopped.wait())
                await asyncio.wait({speaking, stopping}, return_when=asyncio.FIRST_COMPLETED)
                speaking.cancel()
                stopping.cancel()
            self._post(BriefingEnded(self._ports.clock.now(), effect.channel), effect.id)

    async def _brief(self, effect: BriefAgent) -> None:
        place, channel = self._request.place, effect.channel
        if (sound := await self._sound()) is None:
            return
        try:
            async with asyncio.timeout(sound.seconds + MARGIN_SECONDS):
                await self._ports.telephony_at(place.node).brief(
                    place.node,
                    channel,
                    names.briefing_bridge(self._request.handoff_id),
                    sound,
                    lambda: self._post(BriefingStarted(self._ports.clock.now(), channel), ""),
                )
        except (PeerError, TimeoutError) as error:
            self._unsaid("handoff_briefings_failed", str(error) or "timed out")
        except Exception:
            self._ports.tally.count("handoff_briefings_failed")
            log.exception("effect %s", effect.id)

    async def _sound(self) -> Sound | None:
        """The AI's own audio, else its text, else the rules'; None: nothing to say."""
        context = self._context()
        if context.briefing_audio:
            return Sound(context.briefing_audio, BRIEFING_RATE)
        if not (text := context.briefing_text or self._request.plan.briefing):
            return None
        try:
            async with asyncio.timeout(SPEECH_SECONDS):
                return await self._ports.speech.render(text)
        except (PeerError, TimeoutError) as error:
            self._unsaid("handoff_briefings_unspoken", str(error) or "timed out")
        except Exception:
            self._ports.tally.count("handoff_briefings_unspoken")
            log.exception("briefing of %s", self._request.handoff_id)
        return None

    def _unsaid(self, count: str, why: str) -> None:
        self._ports.tally.count(count)
        log.warning("briefing of %s: %s", self._request.handoff_id, why)
